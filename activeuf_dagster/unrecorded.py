"""Adoption: artifacts that are in the store, and that Dagster does not know, are recorded with no
run and no job.

In: nodes, upstream first. Out: their events (config, materialization, checks), as a run would have
written them. Stored one by one they take 6 ms each, and a lost database of a thousand experiments
has fifty thousand of them: SQLite gets them in large transactions.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence

import dagster as dg
from dagster._core.instance.utils import RUNLESS_RUN_ID
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable as Checks

from activeuf_core.recipes import Node, RecipeBook
from activeuf_dagster.bulk_events import BulkEvents
from activeuf_dagster.recording import Asked, Recorded, Recorder

BATCH = 500
"""Nodes per transaction: under a second, for which others who want to store something wait."""


def record(
    instance: dg.DagsterInstance,
    book: RecipeBook,
    nodes: Sequence[Node],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Node]:
    """Record those nodes whose artifact is complete; return them. The others are left alone.

    Args: nodes: upstream first. on_progress: told how many nodes are done, of how many.
    """
    storage = instance.event_log_storage
    bulk = BulkEvents(storage) if isinstance(storage, SqliteEventLogStorage) else None
    recorder = Recorder(bulk or Asked(instance), book)
    store = bulk.store if bulk else functools.partial(_store, instance)
    done: list[Node] = []
    for start in range(0, len(nodes), BATCH):
        with bulk.batch() if bulk else contextlib.nullcontext():
            for node in nodes[start : start + BATCH]:
                recipe = book.recipe(*node)
                manifest = book.store.inspect(recipe.asset, recipe.fingerprint).manifest
                if manifest is None:
                    continue
                for event in recorder.record(recipe, manifest, is_adopted=True):
                    store(event)
                done.append(node)
        on_progress(min(start + BATCH, len(nodes)), len(nodes))
    return done


def _store(instance: dg.DagsterInstance, event: Recorded) -> None:
    """Store one event. Dagster's table has place for one evaluation of a check without a run, and
    dagster 1.13.27 does not replace the one that stands there.
    """
    storage = instance.event_log_storage
    if isinstance(event, dg.AssetCheckEvaluation) and isinstance(storage, SqlEventLogStorage):
        same = {
            Checks.c.asset_key: event.asset_key.to_string(),
            Checks.c.check_name: event.check_name,
            Checks.c.partition: event.partition,
            Checks.c.run_id: RUNLESS_RUN_ID,
        }
        with storage.index_connection() as connection:
            connection.execute(
                Checks.delete().where(*(key == value for key, value in same.items()))
            )
    instance.report_runless_asset_event(event)
