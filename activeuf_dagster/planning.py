"""Which nodes there are to be made, and what is known of each: the store, then Dagster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from activeuf_core import plan
from activeuf_core.artifact_index import ArtifactIndex, Look
from activeuf_core.expected import ExpectedBook
from activeuf_core.launchers.base import Target
from activeuf_core.plan import Knowledge, Status
from activeuf_core.recipes import Node, RecipeBook
from activeuf_core.stages import STAGES, stage_of
from activeuf_core.survey import survey
from activeuf_dagster.event_file import recorded_on_disk
from activeuf_dagster.grouping import in_flow_order

if TYPE_CHECKING:
    import dagster as dg


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
    from activeuf_dagster.recorded import recorded_versions

    view = look_at(book, nodes, recorded_versions(instance), digests=digests)
    return view.found, view.knowledge


@dataclass(frozen=True)
class View:
    """A look at a home: statuses, what is known of the artifacts, and the recipes as expected."""

    found: dict[Node, Status]
    knowledge: Knowledge
    expected: ExpectedBook


def look_at(
    book: RecipeBook,
    nodes: Sequence[Node],
    recorded: Mapping[Node, str],
    *,
    digests: bool = False,
) -> View:
    """Look at the store, given what was recorded of every node."""
    index = ArtifactIndex(book.store.layout, digests=digests)
    expected = ExpectedBook(book.catalog, index)
    knowledge = survey(index, recorded)
    found = plan.statuses(expected, nodes, knowledge)
    index.save()
    return View(found, knowledge, expected)


def past_of(view: View, found: Mapping[Node, Status]) -> Mapping[Target, Look]:
    """Return looks that tell what it costs to run all that is to run; of an asset of which nothing
    was looked at, some artifacts of other partitions tell.
    """
    past = dict(view.knowledge.found.items())
    known = {asset for (asset, _), look in past.items() if look.is_complete}
    for asset in {node[0] for node, one in found.items() if one.state in plan.TO_RUN} - known:
        past |= view.expected.index.sample(asset)
    return past


def recorded_in(home: Path) -> Mapping[Node, str]:
    """Return what an instance has recorded of every node, without starting Dagster if that can be.

    Args: home: DAGSTER_HOME, as `ensure_instance` returns it.
    """
    known = recorded_on_disk(home)
    if known is not None:
        return known
    import dagster as dg

    from activeuf_dagster.recorded import recorded_versions

    with dg.DagsterInstance.get() as instance:
        return recorded_versions(instance)


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
    chosen = sorted(set(experiments))
    catalog = book.catalog
    own = [stage.asset for stage in STAGES if stage.dimension == "experiment"]
    samples = {catalog.dataset_of("experiment", one): one for one in chosen}  # one per data set
    above = closure(book, [(asset, one) for one in samples.values() for asset in own])
    keys: dict[str, list[str]] = {stage.asset: [] for stage in STAGES}
    for asset, key in above:
        keys[asset].append(key)
    keys |= dict.fromkeys(own, chosen)
    keys |= {s.asset: list(catalog.partitions(s.asset)) for s in STAGES if s.dimension == "none"}
    return [(stage.asset, key) for stage in STAGES for key in keys[stage.asset]]
