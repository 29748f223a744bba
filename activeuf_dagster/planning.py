"""Which nodes there are to be made, and what is known of each: the store, then Dagster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import dagster as dg

from activeuf_core import plan
from activeuf_core.artifact_index import ArtifactIndex
from activeuf_core.expected import ExpectedBook
from activeuf_core.plan import Knowledge, Status
from activeuf_core.recipes import Node, RecipeBook
from activeuf_core.stages import STAGES, stage_of
from activeuf_core.survey import survey
from activeuf_dagster.grouping import in_flow_order
from activeuf_dagster.recorded import recorded_versions


def statuses(
    instance: dg.DagsterInstance,
    book: RecipeBook,
    nodes: Sequence[Node],
    *,
    digests: bool = False,
) -> dict[Node, Status]:
    """Return the status of nodes, given upstream first.

    Args: digests: read every file of every artifact, not only its size.
    """
    return surveyed(instance, book, nodes, digests=digests)[0]


def surveyed(
    instance: dg.DagsterInstance,
    book: RecipeBook,
    nodes: Sequence[Node],
    *,
    digests: bool = False,
) -> tuple[dict[Node, Status], Knowledge]:
    """Return the status of nodes, and what is known of their artifacts."""
    index = ArtifactIndex(book.store.layout, digests=digests)
    expected = ExpectedBook(book.catalog, index)
    knowledge = survey(index, recorded_versions(instance))
    found = plan.statuses(expected, nodes, knowledge)
    index.save()
    return found, knowledge


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
