"""The engine: an event-driven scheduler over (asset, partition).

In: the nodes to bring up to date. It adopts what is complete in the store, waits for what another
process makes, submits what is ready, and yields an event the moment a node is complete, has failed
or is blocked. There is no barrier between stages and no contagion between partitions: a failed node
blocks only what reads it.

It knows nothing of Dagster: `materialization.py` turns its events into Dagster's.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from activeuf_core.artifacts import ArtifactStore, Inspection
from activeuf_core.catalog import Resolved
from activeuf_core.crash_points import reach
from activeuf_core.errors import ActiveUFError
from activeuf_core.jobs import Job, Unit, new_job_id
from activeuf_core.launchers.base import UNDECIDED, JobState, Launcher, Target
from activeuf_core.paths import Layout
from activeuf_core.recipes import Node, Recipe, RecipeBook
from activeuf_core.stages import Stage, stage_of
from activeuf_dagster.events import (
    Attached,
    Blocked,
    Completed,
    Event,
    Failed,
    Failure,
    Retried,
    Submitted,
    label,
)
from activeuf_dagster.grouping import Ready, group_for_jobs, in_flow_order, packed
from activeuf_dagster.outcomes import failure_of, has_given_up, progress_of, unit_name

POLL_S = 0.2
LEFT_TO_ANOTHER = "another run of the same backfill submits its job"
PROGRESS_EVERY_S = 5.0


@dataclass
class _Tracked:
    """What the engine remembers of a node."""

    state: str = "waiting"
    recipe: Recipe | None = None
    job_id: str = ""
    launcher: Launcher | None = None
    is_attached: bool = False
    progress_shown: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Terms:
    """Under which terms an engine works.

    `force`: make every node again, as a new generation, even if it is complete. `max_parallel`: how
    many jobs are out at a time (0: as many as there are). `companions`: nodes that are made along
    with its own, to share submissions with them. `failed_since`: failures of this time (seconds
    since the epoch) or later count as its own: they are told, and not tried again. `may_submit`:
    asked before each submission; while it says no, what others make is waited for.
    """

    force: bool = False
    max_parallel: int = 0
    companions: tuple[Node, ...] = ()
    failed_since: float = math.inf
    may_submit: Callable[[], bool] = lambda: True


ALONE = Terms()


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
        self.left_behind: dict[str, str] = {}
        """After an interruption: the jobs that go on, with the launcher's own name for each."""
        self.on_round: Callable[[], None] = lambda: None
        """Called in every round; what it raises ends the run."""
        self._terms, self._own = ALONE, frozenset[Node]()
        self._nodes: dict[Node, _Tracked] = {}
        self._failures: dict[str, Failure] = {}
        self._inspected: dict[Target, Inspection] = {}

    def run(self, nodes: Sequence[Node], terms: Terms = ALONE) -> Generator[Event, None, None]:
        """Bring nodes up to date, upstream first, yielding what happens, also to companions."""
        self._terms, self._own = terms, frozenset(nodes)
        together = in_flow_order({*nodes, *terms.companions}) if terms.companions else nodes
        self._nodes = {node: _Tracked() for node in together}
        if terms.force:
            for asset, partition in nodes:
                recipe = self.book.recipe(asset, partition)
                self.store.next_generation(asset, recipe.base)
                self.book.forget_all()
        finished = False
        try:
            while self._open_nodes():
                events = [*self._advance(), *self._watch()]
                yield from events
                self.on_round()
                if not events:
                    time.sleep(self.poll_s)
            finished = True
        finally:
            self._let_go(finished)

    def cancel(self, *, companions: bool = False) -> list[str]:
        """Cancel the jobs that make an own node, or also those of companions, and return them;
        those of another orchestrator go on. Raises: LaunchError when a launcher cannot be reached.
        """
        cancelled: list[str] = []
        for launcher in set(self.launchers.values()):
            mine = {
                t.job_id
                for node in (self._nodes if companions else self._own)
                if (t := self._nodes[node]).state == "running"
                and t.launcher is launcher
                and not t.is_attached
            }
            if mine:
                launcher.cancel(sorted(mine))
                self.left_behind = {k: v for k, v in self.left_behind.items() if k not in mine}
            cancelled += sorted(mine)
        return cancelled

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
        self._inspected.clear()
        ready, attached = self._attach(ready)
        if ready and not self._terms.may_submit():
            events += [told for node, _ in ready for told in self._wait_for(node, LEFT_TO_ANOTHER)]
            ready = []
        return [*events, *attached, *self._submit(ready)]

    def _attach(
        self, ready: Sequence[tuple[Node, Recipe]]
    ) -> tuple[list[tuple[Node, Recipe]], list[Event]]:
        """Attach to the jobs that make ready nodes already; return the nodes that nobody makes."""
        by_place: dict[str, set[Target]] = {}
        for _, recipe in ready:
            place = self._placement(recipe)
            by_place.setdefault(place, set()).add((recipe.asset, recipe.fingerprint))
        found = {
            target: (self.launchers[place], job_id)
            for place, wanted in by_place.items()
            for target, job_id in self.launchers[place].in_flight(wanted).items()
        }
        free: list[tuple[Node, Recipe]] = []
        events: list[Event] = []
        for node, recipe in ready:
            target = (recipe.asset, recipe.fingerprint)
            if target in found:
                events += self._attach_one(node, recipe, *found[target])
            elif self.store.is_claimed(*target):
                path = self.layout.claim(*target)
                events += self._wait_for(node, f"another process works on it (lock {path})")
            else:
                free.append((node, recipe))
        return free, events

    def _attach_one(
        self, node: Node, recipe: Recipe, launcher: Launcher, job_id: str
    ) -> list[Event]:
        if job_id == UNDECIDED:
            text = f"whether a job of {launcher.name} makes it already is being found out"
            return self._wait_for(node, text)
        tracked = self._nodes[node]
        is_known = tracked.job_id == job_id
        if not is_known and has_given_up(self.store, recipe, job_id):
            return self._wait_for(node, f"job {job_id} has failed at it, and is ending")
        tracked.state, tracked.job_id, tracked.launcher = "running", job_id, launcher
        tracked.is_attached = not is_known
        if is_known:  # the job in the place of one of ours
            return []
        holder = f"job {job_id} of {launcher.name} makes it already"
        return [Attached(node, holder, job_id)]

    def _wait_for(self, node: Node, holder: str) -> list[Event]:
        tracked = self._nodes[node]
        said, tracked.state = tracked.state == "attached", "attached"
        return [] if said else [Attached(node, holder)]

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
            found = self._inspect_once(above[0], self.book.recipe(*above).fingerprint)
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

    def _inspect_once(self, asset: str, fingerprint: str) -> Inspection:
        """Look at an upstream artifact, once per round however many nodes read it."""
        target = (asset, fingerprint)
        if target not in self._inspected:
            self._inspected[target] = self.store.inspect(asset, fingerprint)
        return self._inspected[target]

    def _has_an_input(self, node: Node) -> bool:
        """Whether at least one artifact that a node reads is complete."""
        self.book.forget(*node)
        return any(self.book.recipe(*node).inputs.values())

    def _look_up(self, node: Node, tracked: _Tracked) -> Event | Recipe | None:
        """Return what became of a node whose inputs are there: complete, failed like its twin,
        None while its twin is made, or else its recipe, to be made.
        """
        if any(item.optional for item in stage_of(node[0]).inputs):
            self.book.forget(*node)
        recipe = tracked.recipe = self.book.recipe(*node)
        found = self.store.inspect(recipe.asset, recipe.fingerprint)
        if found.manifest is not None:
            tracked.state = "complete"
            return Completed(recipe, found.manifest, is_adopted=True)
        failure = self._failures.get(recipe.fingerprint) or self._failed_lately(recipe)
        if failure is not None:
            return self._fail(node, failure, is_known=True)
        return None if self._twin_runs(recipe) else recipe

    def _failed_lately(self, recipe: Recipe) -> Failure | None:
        """Return a failure that another run of the same backfill has told of an artifact."""
        record = self.store.failure(*_target(recipe))
        if record is None or record["time"] < self._terms.failed_since:
            return None
        failure = Failure(record["kind"], record["message"])
        self._failures[recipe.fingerprint] = failure
        return failure

    def _twin_runs(self, recipe: Recipe) -> bool:
        """Whether this engine already makes the same artifact for another partition."""
        return any(
            t.state == "running" and t.recipe and t.recipe.fingerprint == recipe.fingerprint
            for t in self._nodes.values()
        )

    def _submit(self, ready: Sequence[tuple[Node, Recipe]]) -> list[Event]:
        """Give all ready nodes to their launchers, each launcher's jobs in one call."""
        jobs: dict[str, list[tuple[Job, tuple[Node, ...]]]] = {}
        for group in self._as_many_as_allowed(ready):
            first = group[0][1]
            nodes = tuple(node for node, _ in group)
            job = self._job(stage_of(first.asset), group)
            jobs.setdefault(self._placement(first), []).append((job, nodes))
        return [event for place, given in jobs.items() for event in self._give(place, given)]

    def _as_many_as_allowed(self, ready: Sequence[Ready]) -> list[list[Ready]]:
        """Return those jobs that may be out beside the ones that are; the rest is left for later
        rounds.
        """
        light = {recipe.node for _, recipe in ready if self._resolved(recipe).is_light}
        stand_ins = [one for one in ready if self._resolved(one[1]).is_stand_in]
        others = [one for one in ready if not self._resolved(one[1]).is_stand_in]
        jobs = group_for_jobs(stand_ins, light)
        jobs += packed(group_for_jobs(others, light), self._units_per_job)
        if not self._terms.max_parallel:
            return jobs
        out = {t.job_id for t in self._nodes.values() if t.state == "running"}
        return jobs[: max(0, self._terms.max_parallel - len(out))]

    def _units_per_job(self, asset: str) -> int:
        return self.launchers[stage_of(asset).placement].units_per_job(asset)

    def _give(self, place: str, given: Sequence[tuple[Job, tuple[Node, ...]]]) -> list[Event]:
        """Submit jobs to one launcher; return what became of each."""
        launcher = self.launchers[place]
        reach("before-intent")
        try:
            lost = launcher.submit([job for job, _ in given])
        except (ActiveUFError, OSError) as error:
            kind, text = type(error).__name__, str(error)
            return [
                self._fail(n, Failure(kind, text, job_id=j.job_id)) for j, ns in given for n in ns
            ]
        events: list[Event] = []
        for job, nodes in given:
            kept = tuple(node for node in nodes if self._unit_name(node) not in lost)
            for node in kept:
                tracked = self._nodes[node]
                tracked.state, tracked.job_id, tracked.launcher = "running", job.job_id, launcher
                tracked.is_attached = False
            if kept:
                path = launcher.log_path(job.job_id)
                events.append(Submitted(job.job_id, kept, launcher.name, path))
        return events

    def _unit_name(self, node: Node) -> str:
        recipe = self._nodes[node].recipe
        assert recipe is not None
        return unit_name(recipe)

    def _fail(self, node: Node, failure: Failure, *, is_known: bool = False) -> Failed:
        """Note a failure; one that is known was told of a twin, or by another run."""
        tracked = self._nodes[node]
        tracked.state = "failed"
        if tracked.recipe is not None and not is_known:
            self._failures[tracked.recipe.fingerprint] = failure  # for twins: not tried twice
            self.store.note_failure(*_target(tracked.recipe), failure.kind, failure.message)
        return Failed(node, failure)

    def _resolved(self, recipe: Recipe) -> Resolved:
        return self.book.catalog.resolved(recipe.asset, recipe.partition)

    def _placement(self, recipe: Recipe) -> str:
        """Return where a node is made; a stand-in is no work for a cluster."""
        is_here = self._resolved(recipe).is_stand_in
        return "orchestrator" if is_here else stage_of(recipe.asset).placement

    def _job(self, stage: Stage, group: Sequence[tuple[Node, Recipe]]) -> Job:
        return Job(
            job_id=new_job_id(stage.asset),
            module=stage.module,
            units=tuple(self._unit(recipe) for _, recipe in group),
            home=str(self.layout.home),
            weight=0 if self._resolved(group[0][1]).is_light else stage.weight,
        )

    def _unit(self, recipe: Recipe) -> Unit:
        resolved = self._resolved(recipe)
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
        present = self._present()
        events: list[Event] = []
        for node, tracked in self._nodes.items():
            if tracked.state != "running" or tracked.recipe is None:
                continue
            recipe, state = tracked.recipe, merged[tracked.job_id]
            if recipe.fingerprint in present[recipe.asset] or state.phase == "ended":
                found = self.store.inspect(recipe.asset, recipe.fingerprint)
                if found.manifest is not None:
                    reach("after-completion")
                    tracked.state = "complete"
                    made = Completed(recipe, found.manifest, False, tracked.job_id)
                    events.append(made)
                    continue
            events += self._look_after(node, tracked, state)
        return events

    def _present(self) -> dict[str, set[str]]:
        """Return, for the assets that are being made, the fingerprints that have a folder: one
        listing per asset, however many jobs are out.
        """
        running = {node[0] for node, t in self._nodes.items() if t.state == "running"}
        found: dict[str, set[str]] = {}
        for asset in running:
            try:
                found[asset] = set(os.listdir(self.layout.artifacts / asset))
            except FileNotFoundError:
                found[asset] = set()
        return found

    def _look_after(self, node: Node, tracked: _Tracked, state: JobState) -> list[Event]:
        """Say what became of a running node that has no artifact yet."""
        if state.phase == "ended" and state.successor:
            before, tracked.job_id = tracked.job_id, state.successor
            tracked.state = "waiting"
            return [Retried(node, before, state.successor, state.detail)]
        is_due = time.monotonic() - tracked.progress_shown > PROGRESS_EVERY_S
        if state.phase != "ended" and not is_due:
            return []
        assert tracked.launcher is not None and tracked.recipe is not None
        recipe, launcher = tracked.recipe, tracked.launcher
        failure = failure_of(self.store, recipe, tracked.job_id, launcher, state)
        if failure is not None:
            return [self._fail(node, failure)]
        if state.phase != "running":
            return []
        tracked.progress_shown = time.monotonic()
        return [progress_of(self.store, recipe, tracked.job_id)]

    def _let_go(self, finished: bool) -> None:
        """Leave the launchers: they end what nobody would watch, and tell what goes on."""
        for launcher in set(self.launchers.values()):
            going_on = launcher.let_go()
            if finished:
                continue
            for job_id, name in going_on.items():
                self.left_behind[job_id] = f"{launcher.name} job {name}"


def _target(recipe: Recipe) -> Target:
    return recipe.asset, recipe.fingerprint
