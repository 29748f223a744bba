"""The semi-private parts of dagster that backfills use, and what is asked of them."""

from __future__ import annotations

import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.storage.tags import PARTITION_NAME_TAG
from dagster._core.test_utils import create_run_for_test
from dagster._daemon.controller import DEFAULT_HEARTBEAT_INTERVAL_SECONDS
from dagster._daemon.types import DaemonHeartbeat

from activeuf_core.recipes import Node
from activeuf_dagster import backfill
from activeuf_dagster.code_location import build
from activeuf_dagster.project import Project
from activeuf_dagster.recovering import unknown_targets
from activeuf_dagster.sensor_switch import origin_of
from tests.graph.test_recover import activeuf

NODES: set[Node] = {("dpo_model", "exp-a"), ("gsm8k_score", "exp-c"), ("leaderboard", "all")}


def launched(instance: dg.DagsterInstance, nodes: set[Node] = NODES) -> str:
    return backfill.launch(
        instance, nodes, title="t", description="d", tags={"who": "me"}, run_config={"ops": {}}
    )


def beat(instance: dg.DagsterInstance, seconds_ago: float) -> None:
    instance.add_daemon_heartbeat(
        DaemonHeartbeat(time.time() - seconds_ago, backfill.DAEMON, "id", [])
    )


def test_a_backfill_holds_exactly_its_nodes(instance: dg.DagsterInstance) -> None:
    found = backfill.look(instance, launched(instance))
    assert (found.targets, found.on_the_way, found.made) == (NODES, NODES, frozenset())
    assert (found.status, found.is_open, found.tags) == ("REQUESTED", True, {"who": "me"})


def test_the_set_is_the_one_that_dagster_would_make_itself(project: Project) -> None:
    graph = build(project).resolve_asset_graph()
    pairs = {AssetKeyPartitionKey(dg.AssetKey(a), None if p == "all" else p) for a, p in NODES}
    assert backfill.subset_of(NODES) == AssetGraphSubset.from_asset_partition_set(pairs, graph)


def test_open_ones_and_those_with_a_tag_are_found(instance: dg.DagsterInstance) -> None:
    first, second = launched(instance), launched(instance)
    over = instance.get_backfill(first)
    assert over is not None
    instance.update_backfill(over.with_status(BulkActionStatus.COMPLETED_FAILED))
    assert [one.backfill_id for one in backfill.open_backfills(instance)] == [second]
    found = backfill.recent_backfills(instance, {"who": "me"})
    assert [one.backfill_id for one in found] == [second, first]
    assert backfill.recent_backfills(instance, {"who": "you"}) == []


def test_one_that_is_cancelled_makes_nothing_more(instance: dg.DagsterInstance) -> None:
    name = launched(instance)
    before = instance.get_backfill(name)
    assert before is not None
    instance.update_backfill(before.with_status(BulkActionStatus.CANCELING))
    assert backfill.look(instance, name).on_the_way == frozenset()


@pytest.mark.parametrize(("seconds_ago", "expected"), [(0, True), (60, True), (300, False)])
def test_a_daemon_lives_while_it_says_so(
    instance: dg.DagsterInstance, seconds_ago: float, expected: bool
) -> None:
    assert not backfill.daemon_is_alive(instance)
    beat(instance, seconds_ago)
    assert backfill.daemon_is_alive(instance) is expected
    assert backfill.HEARTBEAT_LIMIT_S > 2 * DEFAULT_HEARTBEAT_INTERVAL_SECONDS


def test_targets_that_no_file_declares_any_more_are_told(
    instance: dg.DagsterInstance, project: Project
) -> None:
    name = launched(instance, {("dpo_model", "exp-a"), ("dpo_model", "gone")})
    assert backfill.look(instance, name).unknown(project.catalog) == [("dpo_model", "gone")]
    (text,) = unknown_targets(instance, project)
    assert f"backfill {name} is open and has 1 targets that no config file" in text


def test_what_a_run_makes_is_known_while_its_worker_may_live(
    instance: dg.DagsterInstance, project: Project
) -> None:
    selection = frozenset({dg.AssetKey("dpo_model")})
    tags = {PARTITION_NAME_TAG: "exp-b"}
    for status in (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS):
        run = create_run_for_test(instance, status=status, tags=tags, asset_selection=selection)
        found = backfill.nodes_of_runs(instance, project.catalog)
        assert set(found) == {("dpo_model", "exp-b")}
    assert run.run_id[:8] not in found["dpo_model", "exp-b"]


def test_a_queued_run_without_a_daemon_makes_nothing(
    instance: dg.DagsterInstance, project: Project
) -> None:
    tags = {PARTITION_NAME_TAG: "exp-b"}
    create_run_for_test(
        instance,
        job_name="training",
        status=dg.DagsterRunStatus.QUEUED,
        tags=tags,
        remote_job_origin=origin_of("any").repository_origin.get_job_origin("training"),
    )
    assert backfill.nodes_of_runs(instance, project.catalog) == {}
    beat(instance, 0)
    found = backfill.nodes_of_runs(instance, project.catalog)
    assert set(found) == {("dpo_model", "exp-b"), ("reward_model", "exp-b")}


def test_plan_and_check_warn_of_an_open_backfill_that_dagster_will_end(folder: Path) -> None:
    assert "Warning" not in activeuf("check").output
    activeuf("recover", "exp-a", "--daemon")
    for words in (("check",), ("plan", "exp-b"), ("recover", "exp-b", "--dry-run")):
        assert "declares any more" not in activeuf(*words).output
    (folder / "configs" / "experiments" / "exp-a.yaml").unlink()
    for words in (("check",), ("plan", "exp-b"), ("recover", "exp-b", "--dry-run")):
        said = activeuf(*words).output
        assert "targets that no config file declares any more (exp-a)" in said
