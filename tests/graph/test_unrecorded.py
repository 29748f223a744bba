"""What is complete in the store is recorded in Dagster without a run, in bulk as one by one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from activeuf_core.recipes import Node
from activeuf_dagster import unrecorded
from activeuf_dagster.bulk_events import BulkEvents
from activeuf_dagster.engine import Engine
from activeuf_dagster.graph import dagster_partition
from activeuf_dagster.planning import nodes_of, statuses
from activeuf_dagster.project import Project
from activeuf_dagster.unrecorded import record
from tests.fakes.launcher import InstantLauncher
from tests.graph.test_staleness import verdicts


@pytest.fixture
def nodes(project: Project, launcher: InstantLauncher) -> list[Node]:
    """All nodes of the project, made, and unknown to Dagster."""
    book = project.book()
    found = nodes_of(book, project.catalog.experiments)
    for _ in Engine(book, launcher, launcher, poll_s=0.0).run(found):
        pass
    return found


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance with SQLite files: it is written to in bulk."""
    (tmp_path / "sqlite").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "sqlite")) as found:
        yield found


def _partitions(node: Node) -> list[str] | None:
    partition = dagster_partition(node[1])
    return None if partition is None else [partition]


def states(instance: dg.DagsterInstance, project: Project, nodes: list[Node]) -> set[str]:
    return {one.state for one in statuses(instance, project.book(), nodes).values()}


def told(instance: dg.DagsterInstance, node: Node) -> dict[str, Any]:
    """Return what an instance says of a node, but for times and places in the log."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey(node[0]), asset_partitions=_partitions(node)), limit=9
    ).records
    made = [one.asset_materialization for one in records]
    return {
        "metadata": [one.metadata for one in made if one],
        "tags": [sorted(one.tags or {}) for one in made if one],
    }


def test_in_bulk_dagster_calls_everything_fresh(
    on_disk: dg.DagsterInstance, project: Project, nodes: list[Node]
) -> None:
    assert states(on_disk, project, nodes) == {"unrecorded"}
    assert record(on_disk, project.book(), nodes) == nodes
    assert states(on_disk, project, nodes) == {"fresh"}
    assert verdicts(on_disk) == {}


def test_one_by_one_dagster_calls_everything_fresh(
    instance: dg.DagsterInstance, project: Project, nodes: list[Node]
) -> None:
    assert record(instance, project.book(), nodes) == nodes
    assert verdicts(instance) == {}


def test_both_ways_say_the_same(
    on_disk: dg.DagsterInstance, instance: dg.DagsterInstance, project: Project, nodes: list[Node]
) -> None:
    for one in (on_disk, instance):
        record(one, project.book(), nodes)
    for node in nodes:
        assert told(on_disk, node) == told(instance, node)
        assert told(on_disk, node)["metadata"]


def test_checks_come_along(
    on_disk: dg.DagsterInstance, instance: dg.DagsterInstance, project: Project, nodes: list[Node]
) -> None:
    key = dg.AssetCheckKey(dg.AssetKey("candidate_pool"), "length_bias")
    found = []
    for one in (on_disk, instance):
        record(one, project.book(), nodes)
        history = one.event_log_storage.get_asset_check_execution_history(key, limit=10)
        found.append([(row.status, row.partition) for row in history])
    assert found[0] == found[1] != []


def test_what_was_adopted_before_can_be_adopted_again(
    on_disk: dg.DagsterInstance, instance: dg.DagsterInstance, project: Project, nodes: list[Node]
) -> None:
    for one in (on_disk, instance):
        for _ in range(2):
            assert record(one, project.book(), nodes) == nodes
        assert verdicts(one) == {}


def test_events_go_on_after_those_of_a_batch(
    on_disk: dg.DagsterInstance, project: Project, nodes: list[Node]
) -> None:
    node = nodes[0]
    record(on_disk, project.book(), nodes)
    on_disk.report_runless_asset_event(dg.AssetMaterialization(node[0], partition=node[1]))
    found = on_disk.fetch_materializations(dg.AssetKey(node[0]), limit=9).records
    assert len({row.storage_id for row in found}) == len(found) > 1


def test_what_is_not_complete_is_left_alone(
    on_disk: dg.DagsterInstance, project: Project, nodes: list[Node]
) -> None:
    book = project.book()
    book.store.discard("dpo_model", book.recipe("dpo_model", "exp-a").fingerprint)
    lost = {
        ("dpo_model", "exp-a"),
        ("wandb_summary", "exp-a"),
    }  # tells its curves
    assert set(nodes) - set(record(on_disk, book, nodes)) == lost
    assert ("dpo_model", "exp-a") not in [n for n in nodes if told(on_disk, n)["tags"]]


def test_a_batch_that_breaks_off_leaves_nothing(
    on_disk: dg.DagsterInstance, project: Project, nodes: list[Node]
) -> None:
    storage = on_disk.event_log_storage
    assert isinstance(storage, SqliteEventLogStorage)
    bulk = BulkEvents(storage)
    with suppress(InterruptedError), bulk.batch():
        bulk.store(dg.AssetMaterialization("prompts", partition="tiny"))
        raise InterruptedError
    assert not on_disk.get_materialized_partitions(dg.AssetKey("prompts"))
    assert record(on_disk, project.book(), nodes) == nodes


def test_progress_is_told_batch_by_batch(
    on_disk: dg.DagsterInstance,
    project: Project,
    nodes: list[Node],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unrecorded, "BATCH", len(nodes) // 2)
    seen: list[tuple[int, int]] = []
    record(on_disk, project.book(), nodes, lambda *how_far: seen.append(how_far))
    assert len(seen) >= 2 and seen[-1] == (len(nodes), len(nodes))
