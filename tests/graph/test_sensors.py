"""The sensor of the config files: what it observes, and that it asks as much of few as of many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as db
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from activeuf_dagster.graph import config_key
from activeuf_dagster.project import Project
from activeuf_dagster.recorded import observed_versions, recorded_versions
from activeuf_dagster.recording import observation
from activeuf_dagster.sensors import changed_observations


@pytest.fixture
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> dg.DagsterInstance:
    """An instance in SQLite files."""
    return dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster")))


def materialize(instance: dg.DagsterInstance, asset: str, partition: str) -> None:
    event = dg.AssetMaterialization(
        asset_key=asset, partition=partition, tags={DATA_VERSION_TAG: "1"}
    )
    instance.report_runless_asset_event(event)


def tick(instance: dg.DagsterInstance, project: Project) -> set[tuple[str, str | None]]:
    """Look, store what is observed, and return of which configs."""
    found = changed_observations(instance, project)
    for event in found:
        instance.report_runless_asset_event(event)
    return {(event.asset_key.path[-1], event.partition) for event in found}


@pytest.mark.parametrize("kind", ["instance", "on_disk"])
def test_what_is_materialized_is_observed_once(
    kind: str, project: Project, request: pytest.FixtureRequest
) -> None:
    instance: dg.DagsterInstance = request.getfixturevalue(kind)
    assert tick(instance, project) == {("leaderboard", None)}
    materialize(instance, "dpo_model", "exp-a")
    assert tick(instance, project) == {("dpo_model", "exp-a")}
    assert tick(instance, project) == set()


def test_an_older_config_that_was_observed_last_is_observed_again(
    on_disk: dg.DagsterInstance, project: Project
) -> None:
    materialize(on_disk, "dpo_model", "exp-a")
    tick(on_disk, project)
    on_disk.report_runless_asset_event(observation(("dpo_model", "exp-a"), "older"))
    assert tick(on_disk, project) == {("dpo_model", "exp-a")}


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect the SQL that is executed within a block."""
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        del connection, cursor, rest
        seen.append(statement)

    db.event.listen(db.Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        db.event.remove(db.Engine, "before_cursor_execute", note)


def test_many_partitions_take_as_many_queries_as_few(
    on_disk: dg.DagsterInstance, folder: Path
) -> None:
    counts = []
    for number in range(3):
        for experiment in ("exp-a", "exp-b", "exp-c"):
            materialize(on_disk, ("dpo_model", "reward_model", "scores")[number], experiment)
        tick(on_disk, Project.load())
        with statements() as seen:
            assert changed_observations(on_disk, Project.load()) == []
        counts.append(len([text for text in seen if text.startswith("SELECT")]))
    assert counts[0] == counts[1] == counts[2] <= 6


def test_versions_are_those_of_the_latest_events(on_disk: dg.DagsterInstance) -> None:
    materialize(on_disk, "dpo_model", "exp-a")
    for version in ("one", "two"):
        on_disk.report_runless_asset_event(observation(("dpo_model", "exp-a"), version))
    other = dg.AssetObservation(asset_key=config_key("no_stage"), tags={DATA_VERSION_TAG: "x"})
    on_disk.report_runless_asset_event(other)
    assert observed_versions(on_disk) == {("dpo_model", "exp-a"): "two"}
    assert recorded_versions(on_disk) == {("dpo_model", "exp-a"): "1"}
