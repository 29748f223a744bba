"""Many events of assets in one transaction of SQLite's event log.

Dagster (1.13.27) stores an event in five statements, one after the other, and reads back what it
needs of it: 6 ms each. Here a batch is given its places in the log beforehand, under the lock for
writing, and inserted at once: under 1 ms each. Rows are those that Dagster's own methods write for
an event without a run, but for the copy in the log of "no run", which nobody can look at.

`tests/graph/test_unrecorded.py` compares what Dagster makes of both. Uses `_core` names.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
import sqlalchemy as db
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.events import AssetObservationData, DagsterEvent, StepMaterializationData
from dagster._core.events.log import EventLogEntry
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable as Checks
from dagster._core.storage.event_log.schema import AssetEventTagsTable as Tags
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as Events
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import serialize_value

from activeuf_core.catalog import UNPARTITIONED
from activeuf_core.recipes import Node
from activeuf_dagster.graph import config_key
from activeuf_dagster.recorded import Known, latest_events
from activeuf_dagster.recording import Recorded

KINDS = {
    dg.AssetMaterialization: dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.AssetObservation: dg.DagsterEventType.ASSET_OBSERVATION,
    dg.AssetCheckEvaluation: dg.DagsterEventType.ASSET_CHECK_EVALUATION,
}


class BulkEvents:
    """A writer of events that knows what is latest of every node, its own events included."""

    def __init__(self, storage: SqliteEventLogStorage) -> None:
        with storage.index_connection():  # makes the tables, should they not be there
            pass
        self._storage = storage
        self._latest: dict[tuple[tuple[str, ...], str], Known] = {}
        for kind in (KINDS[dg.AssetMaterialization], KINDS[dg.AssetObservation]):
            self._latest |= latest_events(storage, kind)
        self._next = 0
        self._rows: list[dict[str, Any]] = []
        self._tags: list[dict[str, Any]] = []
        self._checks: list[dict[str, Any]] = []
        self._of_key: dict[str, tuple[EventLogEntry, int]] = {}

    def observation(self, node: Node) -> Known | None:
        """Return the latest observation of a node's config."""
        return self._latest.get((tuple(config_key(node[0]).path), node[1]))

    def event(self, node: Node, fingerprint: str) -> Known | None:
        """Return the latest materialization of a node."""
        del fingerprint
        return self._latest.get(((node[0],), node[1]))

    def will_be_observed(self, node: Node) -> None:
        """Do nothing: what is stored is known."""

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Store what is given within a block in one transaction: all of it, or nothing."""
        engine = db.create_engine(
            self._storage.conn_string_for_shard("index"),
            poolclass=db.NullPool,
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
        )
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            last = connection.execute(db.select(db.func.max(Events.c.id))).scalar()
            self._next = (last or 0) + 1  # as SQLite itself counts this table
            yield
            self._write(connection)
            connection.commit()

    def store(self, event: Recorded) -> None:
        """Take an event into the batch."""
        entry, place = _entry(event), self._next
        self._next += 1
        row = {"id": place, **self._storage._event_to_row(entry)}
        self._rows.append(row)
        key = row["asset_key"]
        if isinstance(event, dg.AssetCheckEvaluation):
            self._checks.append(_check_row(event, entry, place, row))
            return
        self._of_key[key] = (entry, place)
        indexed = self._storage._tags_for_asset_event(entry)
        stamp = row["timestamp"]
        self._tags += [
            {"event_id": place, "asset_key": key, "key": k, "value": v, "event_timestamp": stamp}
            for k, v in indexed.items()
        ]
        version = (event.tags or {}).get(DATA_VERSION_TAG, "")
        node = (tuple(event.asset_key.path), event.partition or UNPARTITIONED)
        self._latest[node] = Known(place, version)

    def _write(self, connection: db.Connection) -> None:
        newest_only = Checks.insert().prefix_with("OR REPLACE")  # a check of no run stands once
        into = ((Events.insert(), self._rows), (Tags.insert(), self._tags))
        for insert, rows in (*into, (newest_only, self._checks)):
            if rows:
                connection.execute(insert, rows)
            rows.clear()
        for entry, place in self._of_key.values():
            self._storage._store_asset_event(connection, entry, place)
        self._of_key.clear()


def _entry(event: Recorded) -> EventLogEntry:
    """Return an event as an entry of the log that belongs to no run."""
    data: Any = event
    if isinstance(event, dg.AssetMaterialization):
        data = StepMaterializationData(event)
    elif isinstance(event, dg.AssetObservation):
        data = AssetObservationData(event)
    kind = KINDS[type(event)].value
    return EventLogEntry(
        error_info=None,
        level=logging.INFO,
        user_message="",
        run_id=RUNLESS_RUN_ID,
        timestamp=time.time(),
        step_key=None,
        job_name=RUNLESS_JOB_NAME,
        dagster_event=DagsterEvent(kind, RUNLESS_JOB_NAME, event_specific_data=data),
    )


def _check_row(
    event: dg.AssetCheckEvaluation, entry: EventLogEntry, place: int, row: dict[str, Any]
) -> dict[str, Any]:
    status = AssetCheckExecutionRecordStatus
    return {
        "asset_key": event.asset_key.to_string(),
        "check_name": event.check_name,
        "run_id": entry.run_id,
        "execution_status": (status.SUCCEEDED if event.passed else status.FAILED).value,
        "evaluation_event": serialize_value(entry),
        "evaluation_event_timestamp": row["timestamp"],
        "evaluation_event_storage_id": place,
        "partition": event.partition,
    }
