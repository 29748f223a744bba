"""A plan as text: what is not fresh, what is alike on one line, and the sums.

In: statuses and their price. Out: lines. Thousands of partitions are read as a handful of rows:
those of one asset with the same state for the same reason are one, and the rest is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from activeuf_core.plan import STATES, TO_RUN, Price, Sharing, State, Status, sharing
from activeuf_core.recipes import Node
from activeuf_core.stages import STAGES
from activeuf_core.survey import Orphaned

NAMED = 2
"""Of more partitions on one row, so many are named."""
ASSETS = frozenset(stage.asset for stage in STAGES)
THERE: tuple[State, ...] = ("fresh", "unrecorded")


@dataclass(frozen=True)
class Row:
    """Partitions of one asset that are alike."""

    asset: str
    partitions: tuple[str, ...]
    state: State
    why: str

    @property
    def named(self) -> str:
        """The partitions, as people read them."""
        more = len(self.partitions) - NAMED
        if more <= 0:
            return ", ".join(self.partitions)
        return f"{', '.join(self.partitions[:NAMED])} and {more:,} more"


def rows(shown: Mapping[Node, Status], *, apart: bool = False) -> list[Row]:
    """Return statuses as rows, in the order of their first partition.

    Args: apart: one row per partition.
    """
    found: dict[tuple[str, ...], list[str]] = {}
    for number, ((asset, partition), one) in enumerate(shown.items()):
        why = "" if one.state == "fresh" else one.reason
        if apart:
            key = (asset, one.state, why, str(number))
        else:
            key = (asset, one.state, _alike(one, why).replace(f"[{partition}]", ""))
        found.setdefault(key, []).append(partition)
    return [
        Row(asset, tuple(keys), _state(state), why)
        for (asset, state, why, *_), keys in found.items()
    ]


def sums(found: Mapping[Node, Status], cost: Price) -> Iterator[str]:
    """Yield the sums of a plan, a sentence a line."""
    counts = Counter(status.state for status in found.values())
    told = ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state])
    yield f"{len(found):,} asset partitions: {told or 'none'}."
    there = sharing(found, THERE)
    if there.shared:
        yield f"Those that are there are {_shared(there)}."
    if not cost.partitions:
        yield "Nothing has to run."
        return
    yield f"A materialization would make {_shared(sharing(found, TO_RUN))}."
    yield from price_lines(cost)


def price_lines(cost: Price) -> Iterator[str]:
    """Yield what is known of a price, and of what nothing is."""
    if cost.hours:
        gpu = f", {cost.gpu_hours:,.2f} GPU-hours" if cost.gpu_hours else ""
        yield f"By what such artifacts took before: {cost.hours:,.2f} hours of jobs{gpu}."
    if cost.unknown:
        yield f"Without an estimate, never made here: {', '.join(cost.unknown)}."


def orphans_line(found: Orphaned) -> str:
    """Return what is said of artifacts that no partition refers to, '' when there are none."""
    if not found.artifacts:
        return ""
    noun, verb = ("artifact", "belongs") if found.artifacts == 1 else ("artifacts", "belong")
    return (
        f"{found.artifacts:,} orphaned {noun} ({_bytes(found.bytes)}) {verb} to no partition: "
        "see `activeuf gc`."
    )


def columns(table: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield rows of cells as aligned lines; the last column is as long as it is."""
    cells = [list(row) for row in table]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)][:-1]
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)]
        yield "  ".join([*padded, row[-1]]).rstrip()


def _shared(one: Sharing) -> str:
    noun = "artifact" if one.artifacts == 1 else "artifacts"
    if not one.shared:
        return f"{one.artifacts:,} {noun}"
    return (
        f"{one.artifacts:,} {noun} for {one.partitions:,} partitions "
        f"({one.shared:,} share one with another partition and cost nothing)"
    )


def _alike(one: Status, why: str) -> str:
    """Return a reason without the fingerprints of what is read: they are nobody else's."""
    for change in one.changes:
        if change.what in ASSETS:
            why = why.replace(str(change), f"another {change.what}")
    return why


def _state(word: str) -> State:
    return next(state for state in STATES if state == word)


def _bytes(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
