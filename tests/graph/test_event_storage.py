"""The kept connections of an event log: nothing differs but the time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy

from activeuf_dagster.event_storage import EXCHANGED, kept_open

KEY = dg.AssetKey("thing")


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance with SQLite files."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def materialize(instance: dg.DagsterInstance, partition: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(KEY, partition=partition))


def test_an_event_is_seen_by_others_at_once(stored: dg.DagsterInstance, tmp_path: Path) -> None:
    materialize(stored, "before")
    with kept_open(stored), dg.DagsterInstance.local_temp(str(tmp_path)) as other:
        materialize(stored, "within")
        assert other.get_materialized_partitions(KEY) == {"before", "within"}
        materialize(other, "by another")
        assert stored.get_materialized_partitions(KEY) == {"before", "within", "by another"}


def test_the_first_use_of_a_file_makes_its_tables(stored: dg.DagsterInstance) -> None:
    with kept_open(stored):
        materialize(stored, "a")
        materialize(stored, "b")
    assert stored.get_materialized_partitions(KEY) == {"a", "b"}


def test_connections_are_opened_once(
    stored: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    materialize(stored, "before")
    made: list[str] = []
    make = sqlalchemy.create_engine
    for module in ("sql_event_log", "sqlite.sqlite_event_log"):
        monkeypatch.setattr(
            f"dagster._core.storage.event_log.{module}.create_engine",
            lambda url, **options: made.append(url) or make(url, **options),
            raising=False,
        )
    with kept_open(stored):
        materialize(stored, "a")
        first = len(made)
        materialize(stored, "b")
    assert len(made) == first <= 1


def test_an_error_within_a_transaction_undoes_it(stored: dg.DagsterInstance) -> None:
    materialize(stored, "before")
    with kept_open(stored):
        with pytest.raises(KeyError), stored.event_log_storage.index_connection() as connection:
            connection.execute(sqlalchemy.text("DELETE FROM event_logs"))
            raise KeyError
        assert stored.get_materialized_partitions(KEY) == {"before"}


def test_afterwards_the_storage_is_as_it_was(stored: dg.DagsterInstance) -> None:
    with pytest.raises(KeyError), kept_open(stored), kept_open(stored):
        materialize(stored, "a")
        assert set(EXCHANGED) <= vars(stored.event_log_storage).keys()
        raise KeyError
    assert not set(EXCHANGED) & vars(stored.event_log_storage).keys()


def test_another_storage_is_left_alone(instance: dg.DagsterInstance) -> None:
    with kept_open(instance):
        assert not set(EXCHANGED) & vars(instance.event_log_storage).keys()
