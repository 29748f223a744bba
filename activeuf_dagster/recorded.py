"""What Dagster has recorded of every partition, asked for in two queries however many there are.

Dagster's own question, partition by partition, takes milliseconds each. Uses `_core` names of
dagster 1.13.27: the tables of the event log, which SQLite and Postgres share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import dagster as dg
import sqlalchemy as db
from dagster._core.definitions.data_version import DATA_VERSION_TAG, extract_data_version_from_entry
from dagster._core.storage.event_log.schema import AssetEventTagsTable as Tags
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as Events
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

from activeuf_core.catalog import UNPARTITIONED
from activeuf_core.recipes import Node
from activeuf_core.stages import STAGES
from activeuf_dagster.graph import config_key

PAGE = 1000


class Known(NamedTuple):
    """The latest event of a partition: its place in the event log, and its data version."""

    storage_id: int
    version: str


def recorded_versions(instance: dg.DagsterInstance) -> dict[Node, str]:
    """Return the data version of the latest materialization of every asset partition."""
    if not isinstance(instance.event_log_storage, SqlEventLogStorage):
        return _one_by_one(instance)  # somebody's own storage: asked the slow way
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    keys = {dg.AssetKey(stage.asset).to_string(): stage.asset for stage in STAGES}
    rows = _latest_rows(instance.event_log_storage, kind, list(keys))
    return {(keys[key], partition): version for key, partition, _, version in rows}


def observed_versions(instance: dg.DagsterInstance) -> dict[Node, str]:
    """Return the data version of the latest observation of every node's config."""
    if not isinstance(instance.event_log_storage, SqlEventLogStorage):
        return _observed_page_by_page(instance)
    keys = {config_key(stage.asset).to_string(): stage.asset for stage in STAGES}
    kind = dg.DagsterEventType.ASSET_OBSERVATION
    rows = _latest_rows(instance.event_log_storage, kind, list(keys))
    return {(keys[key], partition): version for key, partition, _, version in rows}


def latest_events(
    storage: SqlEventLogStorage, kind: dg.DagsterEventType
) -> dict[tuple[tuple[str, ...], str], Known]:
    """Return the latest event of a kind of every (path of an asset's key, partition), of those that
    have a data version.
    """
    assets = [
        key for stage in STAGES for key in (dg.AssetKey(stage.asset), config_key(stage.asset))
    ]
    paths = {key.to_string(): tuple(key.path) for key in assets}
    return {
        (paths[key], partition): Known(number, version)
        for key, partition, number, version in _latest_rows(storage, kind, list(paths))
    }


def _latest_rows(
    storage: SqlEventLogStorage, kind: dg.DagsterEventType, keys: Sequence[str]
) -> Iterator[tuple[str, str, int, str]]:
    """Yield asset key, partition, storage id and data version of the latest events of a kind.

    The keys are named so that SQLite answers from an index alone: without them it reads the events
    themselves, three kilobytes each. For the same reason the versions are joined here and not by
    the database: 0.4 s instead of 1.4 s for 100,000 partitions.
    """
    latest = (
        db.select(Events.c.asset_key, Events.c.partition, db.func.max(Events.c.id))
        .where(Events.c.asset_key.in_(keys), Events.c.dagster_event_type == kind.value)
        .group_by(Events.c.asset_key, Events.c.partition)
    )
    tags = db.select(Tags.c.event_id, Tags.c.value).where(Tags.c.key == DATA_VERSION_TAG)
    with storage.index_connection() as connection:
        events = connection.execute(latest).fetchall()
        if not events:
            return
        versions = {row[0]: row[1] for row in connection.execute(tags)}
    for key, partition, number in events:
        version = versions.get(number)
        if version is not None:
            yield key, partition or UNPARTITIONED, number, version


def _observed_page_by_page(instance: dg.DagsterInstance) -> dict[Node, str]:
    found: dict[Node, str] = {}
    for stage in STAGES:
        cursor: str | None = None
        while True:
            page = instance.fetch_observations(config_key(stage.asset), limit=PAGE, cursor=cursor)
            for record in page.records:  # the newest first
                version = extract_data_version_from_entry(record.event_log_entry)
                node = (stage.asset, record.partition_key or UNPARTITIONED)
                if version is not None:
                    found.setdefault(node, version.value)
            if not page.has_more:
                break
            cursor = page.cursor
    return found


def _one_by_one(instance: dg.DagsterInstance) -> dict[Node, str]:
    found: dict[Node, str] = {}
    for stage in STAGES:
        key = dg.AssetKey(stage.asset)
        for partition in instance.get_materialized_partitions(key):
            record = instance.get_latest_data_version_record(key, partition_key=partition)
            made = record.asset_materialization if record else None
            tags = made.tags if made else None
            if tags and DATA_VERSION_TAG in tags:
                found[stage.asset, partition] = tags[DATA_VERSION_TAG]
    return found
