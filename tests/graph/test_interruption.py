"""Whether an interruption of a run is a person's wish to end its jobs."""

from __future__ import annotations

import time

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.storage.tags import BACKFILL_ID_TAG
from dagster._core.test_utils import create_run_for_test

from activeuf_dagster.interruption import is_cancelled


def run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, backfill: str = "") -> str:
    tags = {BACKFILL_ID_TAG: backfill} if backfill else {}
    return create_run_for_test(instance, status=status, tags=tags).run_id


def add_backfill(instance: dg.DagsterInstance, name: str, status: BulkActionStatus) -> None:
    backfill = PartitionBackfill(
        backfill_id=name,
        status=status,
        from_failure=False,
        tags={},
        backfill_timestamp=time.time(),
    )
    instance.add_backfill(backfill)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (dg.DagsterRunStatus.STARTED, False),
        (dg.DagsterRunStatus.FAILURE, False),
        (dg.DagsterRunStatus.CANCELING, True),
        (dg.DagsterRunStatus.CANCELED, True),
    ],
)
def test_only_a_cancelled_run_is(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus, expected: bool
) -> None:
    assert is_cancelled(instance, run(instance, status)) is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (BulkActionStatus.CANCELING, True),
        (BulkActionStatus.CANCELED, True),
        (BulkActionStatus.REQUESTED, True),
        (BulkActionStatus.FAILING, False),
        (BulkActionStatus.FAILED, False),
    ],
)
def test_a_backfill_that_fails_cancels_its_runs_against_everybodys_wish(
    instance: dg.DagsterInstance, status: BulkActionStatus, expected: bool
) -> None:
    add_backfill(instance, "sweep", status)
    run_id = run(instance, dg.DagsterRunStatus.CANCELING, "sweep")
    assert is_cancelled(instance, run_id) is expected


def test_a_run_that_nobody_knows_was_not_cancelled(instance: dg.DagsterInstance) -> None:
    assert not is_cancelled(instance, "8c3d4a10-0000-4000-8000-000000000000")
