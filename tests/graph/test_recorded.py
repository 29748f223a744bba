"""What Dagster has recorded, asked for at once: the same as Dagster says partition by partition."""

from __future__ import annotations

import dagster as dg
import pytest
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from activeuf_core.catalog import UNPARTITIONED
from activeuf_dagster.recorded import recorded_versions


def record(instance: dg.DagsterInstance, asset: str, partition: str | None, version: str) -> None:
    event = dg.AssetMaterialization(
        asset_key=asset, partition=partition, tags={DATA_VERSION_TAG: version}
    )
    instance.report_runless_asset_event(event)


@pytest.fixture
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> dg.DagsterInstance:
    """An instance in SQLite files, as people have it."""
    return dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster")))


def test_the_latest_version_of_every_partition(on_disk: dg.DagsterInstance) -> None:
    record(on_disk, "dpo_model", "exp-a", "one")
    record(on_disk, "dpo_model", "exp-b", "two")
    record(on_disk, "dpo_model", "exp-a", "three")
    record(on_disk, "leaderboard", None, "four")
    assert recorded_versions(on_disk) == {
        ("dpo_model", "exp-a"): "three",
        ("dpo_model", "exp-b"): "two",
        ("leaderboard", UNPARTITIONED): "four",
    }


def test_an_instance_in_memory_answers_too(instance: dg.DagsterInstance) -> None:
    record(instance, "dpo_model", "exp-a", "one")
    assert recorded_versions(instance) == {("dpo_model", "exp-a"): "one"}


def test_a_fresh_instance_knows_nothing(on_disk: dg.DagsterInstance) -> None:
    assert recorded_versions(on_disk) == {}
