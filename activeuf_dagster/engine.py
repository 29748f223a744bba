"""The engine: an event-driven scheduler over (asset, partition).

In: the nodes to bring up to date. It adopts what is complete in the store, waits for what another
process makes, submits what is ready, and yields an event the moment a node is complete, has failed
or is blocked. There is no barrier between stages and no contagion between partitions: a failed node
blocks only what reads it.

It knows nothing of Dagster: `materialization.py` turns its events into Dagster's.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from activeuf_core.artifacts import ArtifactStore, Manifest, read_json
from activeuf_core.errors import LaunchError
from activeuf_core.jobs import Job, Unit
from activeuf_core.launchers.base import Launcher
from activeuf_core.paths import Layout, RunFolder
from activeuf_core.recipes import Node, Recipe, RecipeBook
from activeuf_core.stages import Stage, stage_of

POLL_S = 0.2
TAIL_LINES = 40
PROGRESS_EVERY_S = 5.0


@dataclass(frozen=True)
class Failure:
    """Why a node is not complete, for people: the class, the message, the end of the log, and what
    to do next.
    """

    kind: str
    message: str
    log_path: str = ""
    log_tail: str = ""
    job_id: str = ""


@dataclass(frozen=True)
class Submitted:
    """A job with these nodes was given to a launcher."""

    job_id: str
    nodes: tuple[Node, ...]
    launcher: str
    log_path: str


@dataclass(frozen=True)
class Progressed:
    """A running node says how far it is."""

    node: Node
    done: int
    total: int
    unit: str
    eta_s: float | None


@dataclass(frozen=True)
class Completed:
    """A node is complete: made now, or adopted because its artifact was there."""

    recipe: Recipe
    manifest: Manifest
    is_adopted: bool
    job_id: str = ""


@dataclass(frozen=True)
class Failed:
    """A node's work ended without an artifact."""

    node: Node
    failure: Failure


@dataclass(frozen=True)
class Blocked:
    """A node was not tried, because what it reads failed, is missing, or did not pass a blocking
    check.
    """

    node: Node
    reason: str


@dataclass(frozen=True)
class Attached:
    """A node is being made by another process, whose lock stands at `claim`; it is waited for."""

    node: Node
    claim: str


Event = Attached | Submitted | Progressed | Completed | Failed | Blocked


@dataclass
class _Tracked:
    """What the engine remembers of a node."""

    state: str = "waiting"
    recipe: Recipe | None = None
    job_id: str = ""
    launcher: Launcher | None = None
    progress_shown: float = field(default_factory=time.monotonic)


class Engine:
    """Brings nodes up to date. One object serves one call of `run`."""

    def __init__(
        self,
        book: RecipeBook,
        cluster: Launcher,
        orchestrator: Launcher,
        runtime: Mapping[str, Any] | None = None,
        poll_s: float = POLL_S,
    ) -> None:
        self.book = book
        self.store: ArtifactStore = book.store
        self.layout: Layout = book.store.layout
        self.launchers = {"cluster": cluster, "orchestrator": orchestrator}
        self.runtime = dict(runtime or {})
        self.poll_s = poll_s
        self._nodes: dict[Node, _Tracked] = {}
        self._failures: dict[str, Failure] = {}

    def run(self, nodes: Sequence[Node], *, force: bool = False) -> Generator[Event, None, None]:
        """Bring nodes up to date, upstream first, yielding what happens.

        Args: force: make every node again, as a new generation, even if it is complete.
        """
        self._nodes = {node: _Tracked() for node in nodes}
        if force:
            for asset, partition in nodes:
                recipe = self.book.recipe(asset, partition)
                self.store.next_generation(asset, recipe.base)
                self.book.forget_all()
        finished = False
        try:
            while self._open_nodes():
                events = [*self._advance(), *self._watch()]
                yield from events
                if not events:
                    time.sleep(self.poll_s)
            finished = True
        finally:
            if not finished:
                self._let_go()

    def _open_nodes(self) -> list[Node]:
        return [
            node for node, t in self._nodes.items() if t.state in ("waiting", "attached", "running")
        ]

    def _advance(self) -> list[Event]:
        """Decide on every waiting node; submit those that are ready."""
        events: list[Event] = []
        ready: list[tuple[Node, Recipe]] = []
        for node, tracked in self._nodes.items():
            if tracked.state not in ("waiting", "attached"):
                continue
            verdict = self._inputs_verdict(node)
            if verdict == "wait":
                continue
            if verdict:
                tracked.state = "blocked"
                events.append(Blocked(node, verdict))
                continue
            found = self._look_up(node, tracked)
            if isinstance(found, Recipe):
                ready.append((node, found))
            elif found is not None:
                events.append(found)
        return events + self._submit(ready)

    def _inputs_verdict(self, node: Node) -> str:
        """Return '' when a node's inputs are there, 'wait', or why the node is blocked.

        Of optional inputs at least one must be there: a table of nothing says nothing.
        """
        optional = {item.asset for item in stage_of(node[0]).inputs if item.optional}
        for above in self.book.upstream(*node):
            tracked = self._nodes.get(above)
            if tracked and tracked.state in ("waiting", "attached", "running"):
                return "wait"
            if above[0] in optional:
                continue
            if tracked and tracked.state != "complete":
                return f"{label(above)} {tracked.state}"
            found = self.store.inspect(above[0], self.book.recipe(*above).fingerprint)
            if found.manifest is None:
                return (
                    f"{label(above)} is {found.reason}: materialize it first, or select it too "
                    f"(`+{node[0]}`)"
                )
            if found.manifest.failed_blocking_checks:
                return (
                    f"{label(above)} failed its blocking checks: "
                    f"{', '.join(found.manifest.failed_blocking_checks)}"
                )
        return "" if not optional or self._has_an_input(node) else "none of what it reads is there"

    def _has_an_input(self, node: Node) -> bool:
        """Whether at least one artifact that a node reads is complete."""
        self.book.forget(*node)
        return any(self.book.recipe(*node).inputs.values())

    def _look_up(self, node: Node, tracked: _Tracked) -> Event | Recipe | None:
        """Return what became of a node whose inputs are there: complete, failed like its twin,
        being made elsewhere (None once that was said), or else its recipe, to be submitted.
        """
        if any(item.optional for item in stage_of(node[0]).inputs):
            self.book.forget(*node)
        recipe = tracked.recipe = self.book.recipe(*node)
        found = self.store.inspect(recipe.asset, recipe.fingerprint)
        if found.manifest is not None:
            tracked.state = "complete"
            return Completed(recipe, found.manifest, is_adopted=True)
        if recipe.fingerprint in self._failures:
            return self._fail(node, self._failures[recipe.fingerprint])
        if self._twin_runs(recipe):
            return None
        if self.store.is_claimed(recipe.asset, recipe.fingerprint):
            said, tracked.state = tracked.state == "attached", "attached"
            claim = self.layout.claim(recipe.asset, recipe.fingerprint)
            return None if said else Attached(node, str(claim))
        return recipe

    def _twin_runs(self, recipe: Recipe) -> bool:
        """Whether this engine already makes the same artifact for another partition."""
        return any(
            t.state == "running" and t.recipe and t.recipe.fingerprint == recipe.fingerprint
            for t in self._nodes.values()
        )

    def _submit(self, ready: Sequence[tuple[Node, Recipe]]) -> list[Event]:
        """Give all ready nodes to their launchers, each launcher's jobs in one call."""
        light = {recipe.node for _, recipe in ready if self._is_light(recipe)}
        jobs: dict[str, list[tuple[Job, tuple[Node, ...]]]] = {}
        for group in group_for_jobs(ready, light):
            stage = stage_of(group[0][1].asset)
            nodes = tuple(node for node, _ in group)
            jobs.setdefault(stage.placement, []).append((self._job(stage, group), nodes))
        return [event for place, given in jobs.items() for event in self._give(place, given)]

    def _give(self, place: str, given: Sequence[tuple[Job, tuple[Node, ...]]]) -> list[Event]:
        """Submit jobs to one launcher; return what became of each."""
        launcher = self.launchers[place]
        try:
            launcher.submit([job for job, _ in given])
        except (LaunchError, OSError) as error:
            kind, text = type(error).__name__, str(error)
            return [
                self._fail(n, Failure(kind, text, job_id=j.job_id)) for j, ns in given for n in ns
            ]
        events: list[Event] = []
        for job, nodes in given:
            for node in nodes:
                tracked = self._nodes[node]
                tracked.state, tracked.job_id, tracked.launcher = "running", job.job_id, launcher
            path = launcher.log_path(job.job_id)
            events.append(Submitted(job.job_id, nodes, launcher.name, path))
        return events

    def _fail(self, node: Node, failure: Failure) -> Failed:
        tracked = self._nodes[node]
        tracked.state = "failed"
        if tracked.recipe is not None:
            self._failures[tracked.recipe.fingerprint] = failure  # for twins: not tried twice
        return Failed(node, failure)

    def _is_light(self, recipe: Recipe) -> bool:
        """Whether a node only moves rows, by its stage's config."""
        stage = stage_of(recipe.asset)
        full = self.book.catalog.resolved(recipe.asset, recipe.partition).full
        return stage.dimension != "none" and stage.config.model_validate(full).is_light

    def _job(self, stage: Stage, group: Sequence[tuple[Node, Recipe]]) -> Job:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        return Job(
            job_id=f"{stamp}-{stage.asset}-{secrets.token_hex(3)}",
            module=stage.module,
            units=tuple(self._unit(recipe) for _, recipe in group),
            home=str(self.layout.home),
            weight=0 if self._is_light(group[0][1]) else stage.weight,
        )

    def _unit(self, recipe: Recipe) -> Unit:
        resolved = self.book.catalog.resolved(recipe.asset, recipe.partition)
        folders = {
            asset: {key: str(self.layout.artifact(asset, found)) for key, found in prints.items()}
            for asset, prints in recipe.inputs.items()
        }
        has_own_config = stage_of(recipe.asset).dimension != "none"
        return Unit(
            asset=recipe.asset,
            partition=recipe.partition,
            fingerprint=recipe.fingerprint,
            version=recipe.version,
            generation=recipe.generation,
            config=resolved.full if has_own_config else recipe.config,
            inputs=folders,
            input_fingerprints=recipe.inputs,
            locations=resolved.locations,
            runtime=self.runtime,
            checkpoints=str(self.layout.checkpoints(recipe.asset, recipe.fingerprint)),
        )

    def _watch(self) -> list[Event]:
        """Look at the running nodes: what was published, what failed, how far the rest is."""
        states = {name: launcher.poll() for name, launcher in self.launchers.items()}
        merged = {job_id: state for found in states.values() for job_id, state in found.items()}
        events: list[Event] = []
        for node, tracked in self._nodes.items():
            if tracked.state != "running" or tracked.recipe is None:
                continue
            recipe = tracked.recipe
            found = self.store.inspect(recipe.asset, recipe.fingerprint)
            if found.manifest is not None:
                tracked.state = "complete"
                events.append(
                    Completed(recipe, found.manifest, is_adopted=False, job_id=tracked.job_id)
                )
                continue
            state = merged[tracked.job_id]
            failure = self._failure(tracked, ended=state.phase == "ended", detail=state.detail)
            if failure is not None:
                events.append(self._fail(node, failure))
            elif time.monotonic() - tracked.progress_shown > PROGRESS_EVERY_S:
                events.extend(self._progress(node, tracked))
        return events

    def _failure(self, tracked: _Tracked, *, ended: bool, detail: str) -> Failure | None:
        """Return why a running node failed, None while it has not."""
        assert tracked.launcher is not None and tracked.recipe is not None
        folder = RunFolder(self.layout.run(tracked.job_id)).unit(unit_name(tracked.recipe))
        log = tracked.launcher.log_path(tracked.job_id)
        if folder.failure.exists():
            record = read_json(folder.failure)
            tail = tracked.launcher.tail(tracked.job_id, TAIL_LINES)
            return Failure(record["kind"], record["message"], log, tail, tracked.job_id)
        if (
            not ended
            or self.store.inspect(tracked.recipe.asset, tracked.recipe.fingerprint).is_complete
        ):
            return None
        message = (
            f"the job ended ({detail}) without publishing {label(tracked.recipe.node)}. Look at "
            f"{log}."
        )
        return Failure(
            "NoArtifact",
            message,
            log,
            tracked.launcher.tail(tracked.job_id, TAIL_LINES),
            tracked.job_id,
        )

    def _progress(self, node: Node, tracked: _Tracked) -> list[Event]:
        assert tracked.recipe is not None
        tracked.progress_shown = time.monotonic()
        path = RunFolder(self.layout.run(tracked.job_id)).unit(unit_name(tracked.recipe)).progress
        try:
            record = read_json(path)
        except FileNotFoundError:
            return []
        return [Progressed(node, record["done"], record["total"], record["unit"], record["eta_s"])]

    def _let_go(self) -> None:
        """After an interruption: cancel the jobs that nobody would watch, leave the others."""
        for launcher in set(self.launchers.values()):
            mine = [
                t.job_id
                for t in self._nodes.values()
                if t.state == "running" and t.launcher is launcher
            ]
            if mine and not launcher.outlives_orchestrator:
                launcher.cancel(sorted(set(mine)))


def group_for_jobs(
    ready: Sequence[tuple[Node, Recipe]], light: Collection[Node] = ()
) -> list[list[tuple[Node, Recipe]]]:
    """Put ready nodes into jobs: one each, but one together where a stage shares its process or
    units are light.

    Two nodes with the same fingerprint make one unit; the second is left for the next round, which
    finds it made.
    """
    groups: dict[tuple[Any, ...], list[tuple[Node, Recipe]]] = {}
    seen: set[str] = set()
    for node, recipe in ready:
        if recipe.fingerprint in seen:
            continue
        seen.add(recipe.fingerprint)
        groups.setdefault(_job_key(recipe, recipe.node in light), []).append((node, recipe))
    return list(groups.values())


def _job_key(recipe: Recipe, is_light: bool) -> tuple[Any, ...]:
    """Return what nodes of one job have in common."""
    stage = stage_of(recipe.asset)
    if is_light:
        return (stage.module, "light")
    if stage.shares_process:
        read = tuple(
            sorted(found for prints in recipe.inputs.values() for found in prints.values())
        )
        return (stage.module, *read)
    return recipe.node


def unit_name(recipe: Recipe) -> str:
    """Return the folder name of a recipe's unit inside its run."""
    return f"{recipe.asset}-{recipe.fingerprint[:12]}"


def label(node: Node) -> str:
    """Return a node as people write it: `asset[partition]`."""
    return f"{node[0]}[{node[1]}]"
