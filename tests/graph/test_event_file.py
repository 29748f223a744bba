"""What Dagster recorded, read from its file: the same as Dagster says, or nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from activeuf_dagster.event_file import EVENTS, recorded_on_disk
from activeuf_dagster.recorded import recorded_versions


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an instance with some materializations, one of them twice."""
    folder = tmp_path_factory.mktemp("dagster")
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        for asset, partition, version in (
            ("dpo_model", "exp-a", "one"),
            ("dpo_model", "exp-b", "two"),
            ("dpo_model", "exp-a", "three"),
            ("leaderboard", None, "four"),
            ("somebody_elses", "x", "five"),
        ):
            event = dg.AssetMaterialization(
                asset_key=asset, partition=partition, tags={DATA_VERSION_TAG: version}
            )
            instance.report_runless_asset_event(event)
    return folder


def test_it_is_what_dagster_says(home: Path) -> None:
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        said = recorded_versions(instance)
    assert recorded_on_disk(home) == said
    assert said["dpo_model", "exp-a"] == "three" and len(said) == 3


def test_without_a_file_dagster_is_asked(tmp_path: Path) -> None:
    assert recorded_on_disk(tmp_path) is None


def test_of_another_storage_dagster_is_asked(home: Path) -> None:
    (home / "dagster.yaml").write_text("storage: {postgres: {postgres_url: x}}\n")
    assert recorded_on_disk(home) is None


def test_of_tables_that_we_do_not_know_dagster_is_asked(home: Path) -> None:
    with closing(sqlite3.connect(home / EVENTS)) as database:
        database.execute("ALTER TABLE asset_event_tags RENAME TO tags")
    assert recorded_on_disk(home) is None
    (home / EVENTS).write_bytes(b"no database at all" * 99)
    assert recorded_on_disk(home) is None
