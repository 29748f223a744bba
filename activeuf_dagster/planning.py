"""What is fresh and what has to be made: the store asked first, then Dagster.

A node is *fresh* when its artifact is complete, Dagster has recorded it under this fingerprint, and
all that it reads is fresh. Everything else is named with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import dagster as dg

from activeuf_core.recipes import Node, RecipeBook
from activeuf_core.stages import STAGES, stage_of
from activeuf_dagster.recording import Recorder


@dataclass(frozen=True)
class Status:
    """What is known of one node."""

    node: Node
    is_fresh: bool
    reason: str


def statuses(
    instance: dg.DagsterInstance, book: RecipeBook, nodes: Sequence[Node]
) -> dict[Node, Status]:
    """Return the status of nodes, given upstream first."""
    recorder = Recorder(instance, book)
    found: dict[Node, Status] = {}
    for node in nodes:
        found[node] = _status(recorder, book, node, found)
    return found


def closure(book: RecipeBook, wanted: Iterable[Node]) -> list[Node]:
    """Return nodes with everything that they read, upstream first."""
    needed: set[Node] = set()
    frontier = list(wanted)
    while frontier:
        node = frontier.pop()
        if node not in needed:
            needed.add(node)
            optional = {item.asset for item in stage_of(node[0]).inputs if item.optional}
            frontier += [above for above in book.upstream(*node) if above[0] not in optional]
    return in_flow_order(needed)


def nodes_of(book: RecipeBook, experiments: Iterable[str]) -> list[Node]:
    """Return all nodes of experiments and what they read, and the leaderboard, upstream first."""
    chosen = set(experiments)
    wanted = [
        (stage.asset, experiment)
        for stage in STAGES
        if stage.dimension == "experiment"
        for experiment in chosen
    ]
    boards = [
        (stage.asset, key)
        for stage in STAGES
        if stage.dimension == "none"
        for key in book.catalog.partitions(stage.asset)
    ]
    return closure(book, [*wanted, *boards])


def in_flow_order(nodes: Iterable[Node]) -> list[Node]:
    """Return nodes in the order of the table of stages, partitions in alphabetical order."""
    position = {stage.asset: number for number, stage in enumerate(STAGES)}
    return sorted(nodes, key=lambda node: (position[node[0]], node[1]))


def _status(recorder: Recorder, book: RecipeBook, node: Node, above: dict[Node, Status]) -> Status:
    waiting = [n for n in book.upstream(*node) if n in above and not above[n].is_fresh]
    if waiting:
        return Status(node, False, f"reads {waiting[0][0]}[{waiting[0][1]}], which is not fresh")
    recipe = book.recipe(*node)
    found = book.store.inspect(recipe.asset, recipe.fingerprint)
    if not found.is_complete:
        return Status(node, False, found.reason)
    if not recorder.is_recorded(recipe):
        return Status(node, False, "complete in the store, not recorded in Dagster")
    return Status(node, True, "fresh")
