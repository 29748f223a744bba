"""The plan: for every (asset, partition), what is there, what is not, and why. Pure.

In: the recipes, what a look into the store found, what was recorded before, who works on what, and
which failures are known. Out: a `Status` per node, upstream first. A node is

    fresh       its artifact is complete and recorded, and all that it reads is fresh
    unrecorded  its artifact is complete; only the record of it is missing: nothing has to run
    running     a job makes it
    failed      its last attempt failed, and nothing that it is made from has changed since
    broken      its artifact does not agree with its manifest
    stale       it was made before, from something else
    missing     it was never made
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from activeuf_core.artifacts import Inspection, Manifest
from activeuf_core.recipes import Node, Recipe, RecipeBook
from activeuf_core.stages import stage_of

State = Literal["fresh", "unrecorded", "running", "failed", "broken", "stale", "missing"]
STATES: tuple[State, ...] = (
    "fresh",
    "unrecorded",
    "running",
    "failed",
    "broken",
    "stale",
    "missing",
)
TO_RUN: frozenset[State] = frozenset({"failed", "broken", "stale", "missing"})
ABSENT = "absent"


@dataclass(frozen=True)
class Change:
    """One thing that differs between what an artifact was made from and what it would be made from
    now: a dotted config key, `version`, `generation` or an asset that is read.
    """

    what: str
    before: Any
    now: Any

    def __str__(self) -> str:
        """Return the change as people write it."""
        return f"{self.what}: {_shown(self.before)} → {_shown(self.now)}"


@dataclass(frozen=True)
class Status:
    """What is known of one node."""

    node: Node
    state: State
    reason: str
    fingerprint: str = ""
    changes: tuple[Change, ...] = ()

    @property
    def is_fresh(self) -> bool:
        """Whether there is nothing to do for it."""
        return self.state == "fresh"


@dataclass(frozen=True)
class Knowledge:
    """What is known besides the recipes, by fingerprint or by node; nothing is asked later.

    `found`: what lies at an artifact's address. `recorded`: the fingerprint that was recorded last
    of a node. `running`: who makes an artifact. `failures`: why an artifact's last attempt failed,
    and how often it has. `earlier`: manifests of artifacts that were recorded and are still there.
    """

    found: Mapping[tuple[str, str], Inspection]
    recorded: Mapping[Node, str]
    running: Mapping[tuple[str, str], str] = field(default_factory=dict)
    failures: Mapping[tuple[str, str], str] = field(default_factory=dict)
    earlier: Mapping[tuple[str, str], Manifest] = field(default_factory=dict)


def statuses(book: RecipeBook, nodes: Iterable[Node], knowledge: Knowledge) -> dict[Node, Status]:
    """Return the status of nodes, given upstream first."""
    found: dict[Node, Status] = {}
    for node in nodes:
        found[node] = _status(book, book.recipe(*node), knowledge, found)
    return found


@dataclass(frozen=True)
class Price:
    """What a materialization would cost, from what artifacts of the same assets have cost.

    `distinct`: artifacts to make; partitions with the same recipe share one. `unknown`: assets of
    which none was ever made here.
    """

    partitions: int
    distinct: int
    hours: float
    gpu_hours: float
    unknown: tuple[str, ...]


def price(found: Mapping[Node, Status], past: Iterable[Manifest]) -> Price:
    """Return the price of running all that is to run; `past`: any manifests."""
    seconds: dict[str, list[tuple[float, float]]] = {}
    for manifest in past:
        spent = float(manifest.provenance.get("seconds", 0.0))
        gpus = float(manifest.provenance.get("gpus", 0))
        seconds.setdefault(manifest.asset, []).append((spent, spent * gpus))
    to_run = [status for status in found.values() if status.state in TO_RUN]
    distinct = {(status.node[0], status.fingerprint) for status in to_run}
    means = {
        asset: [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        for asset, rows in seconds.items()
    }
    known = [means[asset] for asset, _ in distinct if asset in means]
    return Price(
        partitions=len(to_run),
        distinct=len(distinct),
        hours=sum(one[0] for one in known) / 3600,
        gpu_hours=sum(one[1] for one in known) / 3600,
        unknown=tuple(sorted({asset for asset, _ in distinct} - means.keys())),
    )


def changes_between(manifest: Manifest, recipe: Recipe, config: Mapping[str, Any]) -> list[Change]:
    """Return what an artifact was made from that is different now, what one reads last.

    Args: config: the whole config of the stage as of now.
    """
    found: list[Change] = []
    if manifest.version != recipe.version:
        found.append(Change("version", manifest.version, recipe.version))
    before, now = _flat(manifest.config), _flat(config)
    pairs = [(key, before.get(key, ABSENT), now.get(key, ABSENT)) for key in {**before, **now}]
    found += [Change(*pair) for pair in sorted(pairs, key=_name) if pair[1] != pair[2]]
    if manifest.generation != recipe.generation:
        found.append(Change("generation", manifest.generation, recipe.generation))
    for asset in sorted(manifest.inputs.keys() | recipe.inputs.keys()):
        old = sorted(manifest.inputs.get(asset, {}).values())
        new = sorted(recipe.inputs.get(asset, {}).values())
        if old != new:
            found.append(Change(asset, _prints(old), _prints(new)))
    return found


def _status(
    book: RecipeBook, recipe: Recipe, knowledge: Knowledge, above: Mapping[Node, Status]
) -> Status:
    target = (recipe.asset, recipe.fingerprint)
    look = knowledge.found[target]
    waits = _waits_for(book, recipe.node, above)
    if target in knowledge.running and not look.is_complete:
        return _of(recipe, "running", knowledge.running[target])
    if look.is_complete:
        if waits:
            return _of(recipe, "stale", waits)
        if knowledge.recorded.get(recipe.node) == recipe.fingerprint:
            return _of(recipe, "fresh", "fresh")
        return _of(recipe, "unrecorded", "complete in the store, not recorded in Dagster")
    if look.reason != "missing":  # it was whole once: failures before that are history
        return _of(recipe, "broken", look.reason)
    if target in knowledge.failures and not waits:
        return _of(recipe, "failed", knowledge.failures[target])
    before = knowledge.recorded.get(recipe.node)
    if before is None:
        return _of(recipe, "missing", waits or "missing")
    return _stale(book, recipe, knowledge.earlier.get((recipe.asset, before)), waits)


def _stale(book: RecipeBook, recipe: Recipe, earlier: Manifest | None, waits: str) -> Status:
    """Say what changed since a node was recorded last."""
    changes: list[Change] = []
    if earlier is not None:
        full = book.catalog.resolved(*recipe.node).full
        own = full if stage_of(recipe.asset).dimension != "none" else recipe.config
        changes = changes_between(earlier, recipe, own)
    reasons = [str(change) for change in changes[:3]]
    if len(changes) > len(reasons):
        reasons.append(f"and {len(changes) - len(reasons)} more")
    reason = "; ".join(filter(None, [*reasons, waits])) or "its artifact is gone"
    return Status(recipe.node, "stale", reason, recipe.fingerprint, tuple(changes))


def _waits_for(book: RecipeBook, node: Node, above: Mapping[Node, Status]) -> str:
    """Return which upstream is not there yet, '' when all is."""
    for other in book.upstream(*node):
        status = above.get(other)
        if status is not None and status.state not in ("fresh", "unrecorded"):
            return f"reads {other[0]}[{other[1]}], which is {_word(status.state)}"
    return ""


def _word(state: State) -> str:
    return "not fresh" if state in ("stale", "missing", "broken") else state


def _of(recipe: Recipe, state: State, reason: str) -> Status:
    return Status(recipe.node, state, reason, recipe.fingerprint)


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings by dotted key."""
    found: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            found |= _flat(inner, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = inner
    return found


def _name(pair: tuple[str, Any, Any]) -> str:
    return pair[0]


def _prints(fingerprints: Sequence[str]) -> str:
    return ", ".join(found[:8] for found in fingerprints) or "none"


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:59] + "…"
