"""The plan: for every (asset, partition), what is there, what is not, and why. Pure.

In: the expected recipes, what lies in the store, what was recorded before, who works on what, and
which failures are known. Out: a `Status` per node, upstream first. A node is

    fresh       its artifact is complete and recorded
    unrecorded  its artifact is complete; only the record of it is missing: nothing has to run
    running     a job makes it
    failed      its last attempt failed, and nothing that it is made from has changed since
    broken      its artifact does not agree with its manifest
    stale       it was made before, from something else
    missing     it was never made, or its artifact is gone
    blocked     it cannot be made: what it reads failed a blocking check, or is blocked itself

A complete artifact is never made again, whatever became of what it was made from: its fingerprint
says all that it depends on. So the nodes to run are those whose expected artifact is not there, and
when those have run, everything is fresh.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from activeuf_core.artifact_index import Look, Past
from activeuf_core.config import flat
from activeuf_core.expected import ExpectedBook
from activeuf_core.launchers.base import Target
from activeuf_core.recipes import Node
from activeuf_core.stages import stage_of

State = Literal["fresh", "unrecorded", "running", "failed", "broken", "stale", "missing", "blocked"]
STATES: tuple[State, ...] = (
    "fresh",
    "unrecorded",
    "running",
    "failed",
    "broken",
    "stale",
    "missing",
    "blocked",
)
TO_RUN: frozenset[State] = frozenset({"failed", "broken", "stale", "missing"})
WILL_BE_THERE: frozenset[State] = frozenset({*TO_RUN, "running"})
ABSENT = "absent"
UNRECORDED = "complete in the store, not recorded in Dagster"
SHOWN_CHANGES = 3


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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


class Archive(Protocol):
    """What artifacts were made from, by asset and fingerprint; None where there is none."""

    def past(self, asset: str, fingerprint: str) -> Past | None:
        """Return what an artifact was made from."""
        ...

    def config(self, asset: str, fingerprint: str) -> Mapping[str, Any] | None:
        """Return an artifact's whole config."""
        ...


def _nothing(target: Target) -> str | None:
    del target


@dataclass(frozen=True)
class Knowledge:
    """What is known besides the recipes.

    `found`: what lies at an artifact's address. `recorded`: the fingerprint that was recorded last
    of a node. `archive`: what earlier artifacts were made from. `running`: who makes an artifact.
    `failure`: why an artifact's last attempt failed, and how often it has. The last two are asked
    only of artifacts that are not there.
    """

    found: Mapping[Target, Look]
    recorded: Mapping[Node, str]
    archive: Archive
    running: Callable[[Target], str | None] = _nothing
    failure: Callable[[Target], str | None] = _nothing


def statuses(book: ExpectedBook, nodes: Iterable[Node], knowledge: Knowledge) -> dict[Node, Status]:
    """Return the status of nodes, given upstream first."""
    found: dict[Node, Status] = {}
    for node in nodes:
        one = found[node] = _status(book, node, knowledge, found)
        if one.state in WILL_BE_THERE:
            book.expect(*node)
    return found


@dataclass(frozen=True)
class Sharing:
    """How many partitions there are of how many artifacts: those with the same recipe share one."""

    partitions: int
    artifacts: int

    @property
    def shared(self) -> int:
        """How many partitions cost nothing because another one has the same artifact."""
        return self.partitions - self.artifacts


def sharing(found: Mapping[Node, Status], states: Iterable[State]) -> Sharing:
    """Return how much the nodes in some states share."""
    wanted = frozenset(states)
    chosen = [(one.node[0], one.fingerprint) for one in found.values() if one.state in wanted]
    return Sharing(len(chosen), len(set(chosen)))


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


def price(found: Mapping[Node, Status], past: Mapping[Target, Look]) -> Price:
    """Return the price of running all that is to run; `past`: looks at artifacts of any age."""
    sums: dict[str, list[float]] = {}
    for (asset, _), look in past.items():
        if look.is_complete and look.seconds > 0:  # what was adopted took nothing here
            count = sums.setdefault(asset, [0.0, 0.0, 0.0])
            count[0] += 1
            count[1] += look.seconds
            count[2] += look.seconds * look.gpus
    to_run = [status for status in found.values() if status.state in TO_RUN]
    distinct = {(status.node[0], status.fingerprint) for status in to_run}
    known = [sums[asset] for asset, _ in distinct if asset in sums]
    return Price(
        partitions=len(to_run),
        distinct=len(distinct),
        hours=sum(seconds / count for count, seconds, _ in known) / 3600,
        gpu_hours=sum(gpu_seconds / count for count, _, gpu_seconds in known) / 3600,
        unknown=tuple(sorted({asset for asset, _ in distinct} - sums.keys())),
    )


def changes_between(
    before: Past, now: Past, configs: Callable[[], tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> list[Change]:
    """Return what an artifact was made from that is different now, what one reads last.

    Args: configs: the whole config of then and of now; asked for where they differ.
    """
    found: list[Change] = []
    if before.version != now.version:
        found.append(Change("version", before.version, now.version))
    if before.config_digest != now.config_digest:
        old, new = map(flat, configs())
        pairs = [(key, old.get(key, ABSENT), new.get(key, ABSENT)) for key in {**old, **new}]
        found += [Change(*pair) for pair in sorted(pairs, key=_name) if pair[1] != pair[2]]
    if before.generation != now.generation:
        found.append(Change("generation", before.generation, now.generation))
    for asset in sorted(before.inputs.keys() | now.inputs.keys()):
        read, to_read = before.inputs.get(asset, []), now.inputs.get(asset, [])
        if read != to_read:
            found.append(Change(asset, _prints(read), _prints(to_read)))
    return found


def _status(
    book: ExpectedBook, node: Node, knowledge: Knowledge, above: Mapping[Node, Status]
) -> Status:
    fingerprint = book.fingerprint(*node)
    target = (node[0], fingerprint)
    look = knowledge.found[target]
    if look.is_complete:
        if knowledge.recorded.get(node) == fingerprint:
            return Status(node, "fresh", "fresh", fingerprint)
        return Status(node, "unrecorded", UNRECORDED, fingerprint)
    who = knowledge.running(target)
    if who is not None:
        return Status(node, "running", who, fingerprint)
    stands_in_the_way = _blocked_by(book, node, knowledge, above)
    if stands_in_the_way:
        return Status(node, "blocked", stands_in_the_way, fingerprint)
    if look.reason != "missing":  # it was whole once: failures before that are history
        return Status(node, "broken", look.reason, fingerprint)
    waits = _waits_for(book, node, above)
    failure = None if waits else knowledge.failure(target)
    if failure is not None:
        return Status(node, "failed", failure, fingerprint)
    before = knowledge.recorded.get(node)
    if before is None:
        return Status(node, "missing", waits or "missing", fingerprint)
    if before == fingerprint:
        reason = f"its artifact is gone; {waits}" if waits else "its artifact is gone"
        return Status(node, "missing", reason, fingerprint)
    return _stale(book, node, knowledge.archive, before, waits)


def _stale(book: ExpectedBook, node: Node, archive: Archive, before: str, waits: str) -> Status:
    """Say what changed since a node was recorded last."""
    past = archive.past(node[0], before)
    changes: list[Change] = []
    if past is not None:
        says_no_more = stage_of(node[0]).dimension == "none"  # than what the table is made from
        changes = changes_between(
            past,
            book.made_from(*node),
            lambda: (
                ({}, {})
                if says_no_more
                else book.configs_beside(*node, archive.config(node[0], before) or {})
            ),
        )
    reasons = [str(change) for change in changes[:SHOWN_CHANGES]]
    if len(changes) > len(reasons):
        reasons.append(f"and {len(changes) - len(reasons)} more")
    reason = "; ".join(filter(None, [*reasons, waits])) or "what it was made from is gone"
    return Status(node, "stale", reason, book.fingerprint(*node), tuple(changes))


def _waits_for(book: ExpectedBook, node: Node, above: Mapping[Node, Status]) -> str:
    """Return which upstream is on its way, '' when all that can be there is."""
    for other in book.upstream(*node):
        status = above.get(other)
        if status is not None and status.state in WILL_BE_THERE:
            return f"reads {other[0]}[{other[1]}], which is {_word(status.state)}"
    return ""


def _blocked_by(
    book: ExpectedBook, node: Node, knowledge: Knowledge, above: Mapping[Node, Status]
) -> str:
    """Return why a node cannot be made even when all that is to run has run, '' when it can."""
    optional = {item.asset for item in stage_of(node[0]).inputs if item.optional}
    for asset, key in book.upstream(*node):
        if asset in optional:
            continue
        status = above.get((asset, key))
        if status is not None and status.state == "blocked":
            return f"reads {asset}[{key}], which is blocked"
        if status is not None and status.state in WILL_BE_THERE:
            continue
        failed = knowledge.found[asset, book.fingerprint(asset, key)].failed_checks
        if failed:
            return f"{asset}[{key}] failed its blocking checks: {', '.join(failed)}"
    if optional and not any(book.is_there(*o) for o in book.upstream(*node) if o[0] in optional):
        return "none of what it reads is there or can be made"
    return ""


def _word(state: State) -> str:
    return "not fresh" if state in ("stale", "missing", "broken") else state


def _name(pair: tuple[str, Any, Any]) -> str:
    return pair[0]


def _prints(fingerprints: Sequence[str]) -> str:
    return ", ".join(found[:8] for found in fingerprints) or "none"


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:59] + "…"
