"""What an interruption of a run means for its jobs: cancelled if a person asked for that, else left
to go on.

Dagster ends the runs of a backfill itself when the code location fails to load, and a laptop is
closed without any ill will. So jobs of a cluster are cancelled only when the run is CANCELING and
its backfill, if it has one, is not failing; after every other interruption they go on, are named in
the log, and the next materialization finds them.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator

import dagster as dg
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.storage.tags import BACKFILL_ID_TAG

from activeuf_core.errors import LaunchError
from activeuf_dagster import backfill
from activeuf_dagster.engine import Engine

log = logging.getLogger("activeuf.engine")
ASK_EVERY_S = 5.0
FAILING = (BulkActionStatus.FAILING, BulkActionStatus.FAILED, BulkActionStatus.COMPLETED_FAILED)


CANCELLED = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)


class CancelledError(Exception):
    """The run is being cancelled, and its worker has not been told."""


@contextlib.contextmanager
def handled(context: dg.AssetExecutionContext, engine: Engine) -> Iterator[None]:
    """Run a block that the engine works in; whatever ends it early, decide what becomes of the
    jobs.
    """
    engine.on_round = _Watchman(context).look
    is_over = False
    try:
        yield
        is_over = True
    finally:
        if not is_over and is_cancelled(context.instance, context.run.run_id):
            _cancel(context, engine)
        if engine.left_behind:
            _tell_what_goes_on(context, engine.left_behind)


def is_cancelled(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a person cancelled a run, or the backfill that it belongs to."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.status not in (
        dg.DagsterRunStatus.CANCELING,
        dg.DagsterRunStatus.CANCELED,
    ):
        return False
    backfill_id = run.tags.get(BACKFILL_ID_TAG)
    whole = instance.get_backfill(backfill_id) if backfill_id else None
    return whole is None or whole.status not in FAILING


class _Watchman:
    """Asks now and then whether the run was cancelled: the message to its worker may be lost."""

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        self._context = context
        self._asked = time.monotonic()

    def look(self) -> None:
        """Raises: CancelledError."""
        if time.monotonic() - self._asked < ASK_EVERY_S:
            return
        self._asked = time.monotonic()
        if is_cancelled(self._context.instance, self._context.run.run_id):
            raise CancelledError(f"run {self._context.run.run_id} was cancelled")


def is_whole_backfill_cancelled(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the backfill that a run belongs to was cancelled, and not only the run: then jobs of
    its other runs end too, whichever of the runs has submitted them.
    """
    run = instance.get_run_by_id(run_id)
    backfill_id = run.tags.get(BACKFILL_ID_TAG) if run else None
    return backfill_id is not None and backfill.look(instance, backfill_id).is_cancelled


def _cancel(context: dg.AssetExecutionContext, engine: Engine) -> None:
    everything = is_whole_backfill_cancelled(context.instance, context.run.run_id)
    try:
        cancelled = engine.cancel(companions=everything)
    except LaunchError as error:
        context.log.error("The jobs could not be cancelled and go on: %s", error)
        return
    if cancelled:
        context.log.warning("Cancelled with the run: %s", ", ".join(cancelled))


def _tell_what_goes_on(context: dg.AssetExecutionContext, jobs: dict[str, str]) -> None:
    names = "\n".join(f"  {job_id} ({name})" for job_id, name in sorted(jobs.items()))
    text = (
        f"{len(jobs)} jobs go on without this run, and the next materialization of their "
        f"partitions attaches to them:\n{names}\nTo end them: activeuf jobs cancel JOB…, or "
        "activeuf jobs cancel --all"
    )
    context.log.warning(text)
    log.warning(text)
