"""Backfills of exactly some nodes, through Dagster's own daemon: the only module that knows
Dagster's parts for that.

In: nodes. Out: one backfill that the UI shows, and what open backfills and runs still have to make.
`PartitionBackfill`, `AssetGraphSubset` and the daemon's heartbeats are no public API:
`tests/graph/test_backfill.py` pins what dagster 1.13.27 does with them. Cost: a backfill of 10,000
nodes is stored in under a second; the daemon looks every 30 s.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.partitions.subset import DefaultPartitionsSubset
from dagster._core.execution.backfill import (
    BulkActionsFilter,
    BulkActionStatus,
    PartitionBackfill,
)
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    BACKFILL_ID_TAG,
    PARTITION_NAME_TAG,
)
from dagster._core.utils import make_new_backfill_id

from activeuf_core.catalog import UNPARTITIONED, Catalog
from activeuf_core.recipes import Node
from activeuf_core.stages import STAGES
from activeuf_dagster.graph import dagster_partition
from activeuf_dagster.selections import SELECTIONS

DAEMON = "BACKFILL"
HEARTBEAT_LIMIT_S = 90.0
"""A daemon says every 30 s that it lives. Dagster's own check believes it for half an hour more,
in which a backfill would wait for a daemon that is gone.
"""
OPEN = (BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING)
MATERIALIZABLE = frozenset(stage.asset for stage in STAGES)


@dataclass(frozen=True)
class Backfill:
    """What Dagster knows of a backfill. `title` is what people call it by."""

    backfill_id: str
    status: str
    title: str
    tags: Mapping[str, str]
    begun_at: float
    targets: frozenset[Node]
    made: frozenset[Node]
    failed: frozenset[Node]
    error: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the daemon still works on it."""
        return self.status in {status.value for status in OPEN}

    @property
    def is_cancelled(self) -> bool:
        """Whether a person, or somebody's program, has ended it."""
        return self.status in (BulkActionStatus.CANCELING.value, BulkActionStatus.CANCELED.value)

    @property
    def on_the_way(self) -> frozenset[Node]:
        """What it is still going to make."""
        is_going_on = self.status == BulkActionStatus.REQUESTED.value
        return self.targets - self.made - self.failed if is_going_on else frozenset()

    def unknown(self, catalog: Catalog) -> list[Node]:
        """Return its targets that no config file declares any more: Dagster ends such a backfill
        and cancels its runs.
        """
        known = {asset: set(catalog.partitions(asset)) for asset in MATERIALIZABLE}
        return sorted(node for node in self.targets if node[1] not in known[node[0]])


def launch(
    instance: dg.DagsterInstance,
    nodes: Iterable[Node],
    *,
    title: str,
    description: str,
    tags: Mapping[str, str],
    run_config: Mapping[str, Any],
    backfill_id: str = "",
) -> str:
    """Ask Dagster's daemon for a backfill of exactly these nodes; return its id."""
    backfill = PartitionBackfill.from_asset_graph_subset(
        backfill_id=backfill_id or new_id(),
        backfill_timestamp=time.time(),
        tags=dict(tags),
        dynamic_partitions_store=instance,
        asset_graph_subset=subset_of(nodes),
        title=title,
        description=description,
        run_config=run_config,
    )
    instance.add_backfill(backfill)
    return backfill.backfill_id


def new_id() -> str:
    """Return an id as Dagster gives them to backfills."""
    return make_new_backfill_id()


def subset_of(nodes: Iterable[Node]) -> AssetGraphSubset:
    """Return nodes as Dagster holds them; no definitions are loaded for that."""
    keys: dict[dg.AssetKey, set[str]] = {}
    whole: set[dg.AssetKey] = set()
    for asset, name in nodes:
        partition = dagster_partition(name)
        if partition is None:
            whole.add(dg.AssetKey(asset))
        else:
            keys.setdefault(dg.AssetKey(asset), set()).add(partition)
    return AssetGraphSubset(
        {key: DefaultPartitionsSubset(found) for key, found in keys.items()}, whole
    )


def open_backfills(instance: dg.DagsterInstance) -> list[Backfill]:
    """Return the backfills that the daemon still works on, whoever launched them."""
    found = instance.get_backfills(filters=BulkActionsFilter(statuses=OPEN))
    return [_of(backfill) for backfill in found]


def recent_backfills(
    instance: dg.DagsterInstance, tags: Mapping[str, str], among: int = 25
) -> list[Backfill]:
    """Return, of the newest backfills, those with some tags, the newest first."""
    found = instance.get_backfills(limit=among)
    chosen = [one for one in found if tags.items() <= one.tags.items()]
    return [_of(one) for one in chosen]


def look(instance: dg.DagsterInstance, backfill_id: str) -> Backfill:
    """Return how far a backfill is. Raises: KeyError when there is none of that id."""
    found = instance.get_backfill(backfill_id)
    if found is None:
        raise KeyError(backfill_id)
    return _of(found)


def daemon_is_alive(instance: dg.DagsterInstance) -> bool:
    """Whether a daemon that carries out backfills has said within a minute and a half that it
    lives.
    """
    heartbeat = instance.get_daemon_heartbeats().get(DAEMON)
    return heartbeat is not None and time.time() - heartbeat.timestamp < HEARTBEAT_LIMIT_S


def nodes_of_runs(instance: dg.DagsterInstance, catalog: Catalog) -> dict[Node, str]:
    """Return what runs make that go on and belong to no backfill: started in the UI, or by
    `activeuf materialize`. A run whose worker is dead makes nothing.
    """
    found: dict[Node, str] = {}
    unfinished = dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)
    daemon = daemon_is_alive(instance)
    for run in instance.get_runs(filters=unfinished):
        if BACKFILL_ID_TAG not in run.tags and _goes_on(instance, run, daemon):
            found |= dict.fromkeys(_targets(run, catalog), f"run {run.run_id[:8]}")
    return found


def _goes_on(instance: dg.DagsterInstance, run: dg.DagsterRun, daemon: bool) -> bool:
    if run.status == dg.DagsterRunStatus.QUEUED:
        return daemon
    launcher = instance.run_launcher
    if not launcher.supports_check_run_worker_health:
        return True
    return launcher.check_run_worker_health(run).status != WorkerStatus.NOT_FOUND


def _targets(run: dg.DagsterRun, catalog: Catalog) -> Iterator[Node]:
    selected = run.asset_selection or [
        dg.AssetKey(asset) for asset in SELECTIONS.get(run.job_name, ())
    ]
    tags = run.tags
    for asset in {key.path[-1] for key in selected if key.to_user_string() in MATERIALIZABLE}:
        known: Sequence[str] = catalog.partitions(asset)
        first = tags.get(ASSET_PARTITION_RANGE_START_TAG) or tags.get(PARTITION_NAME_TAG)
        last = tags.get(ASSET_PARTITION_RANGE_END_TAG) or first
        if known == (UNPARTITIONED,):
            yield asset, UNPARTITIONED
        elif first in known and last in known:
            yield from ((asset, k) for k in known[known.index(first) : known.index(last) + 1])


def _of(backfill: PartitionBackfill) -> Backfill:
    data = backfill.asset_backfill_data
    error = backfill.error.message.strip() if backfill.error else ""
    return Backfill(
        backfill_id=backfill.backfill_id,
        status=backfill.status.value,
        title=backfill.title or "",
        tags=backfill.tags,
        begun_at=backfill.backfill_timestamp,
        targets=_nodes(data.target_subset) if data else _nodes_of_job(backfill),
        made=_nodes(data.materialized_subset) if data else frozenset(),
        failed=_nodes(data.failed_and_downstream_subset) if data else frozenset(),
        error=error,
    )


def _nodes(subset: AssetGraphSubset) -> frozenset[Node]:
    return frozenset(
        (one.asset_key.path[-1], one.partition_key or UNPARTITIONED)
        for one in subset.iterate_asset_partitions()
        if one.asset_key.to_user_string() in MATERIALIZABLE
    )


def _nodes_of_job(backfill: PartitionBackfill) -> frozenset[Node]:
    """Return what a backfill of one of the graph's jobs makes."""
    assets = SELECTIONS.get(backfill.job_name or "", ())
    return frozenset((asset, key) for asset in assets for key in backfill.partition_names or ())
