"""Companions: the partitions that a run makes along with its own, because one backfill wants both.

Dagster cuts a backfill into one run per contiguous range of partitions and runs a few at a time:
fifty failures scattered over a sweep would be fifty submissions, four of them at work. So the first
run of a backfill makes all that the backfill wants of the same operation, in common submissions;
the other runs wait for what it makes and take over should it die. A failure that one run has told
since the backfill began is told by the others, and not tried again.
"""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path

import dagster as dg
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARENT_RUN_ID_TAG, RETRY_NUMBER_TAG

from activeuf_core.paths import Layout
from activeuf_core.recipes import Node
from activeuf_core.stages import stage_of
from activeuf_dagster import backfill
from activeuf_dagster.engine import ALONE, Terms

_IN_THIS_PROCESS: ContextVar[Terms] = ContextVar("companions", default=ALONE)


@contextlib.contextmanager
def along_with(nodes: Iterable[Node]) -> Iterator[None]:
    """Within a block, Dagster runs of this process make their own partitions along with these."""
    token = _IN_THIS_PROCESS.set(Terms(companions=tuple(nodes), failed_since=time.time()))
    try:
        yield
    finally:
        _IN_THIS_PROCESS.reset(token)


@contextlib.contextmanager
def terms_of(
    instance: dg.DagsterInstance, run: dg.DagsterRun, own: Iterable[Node], layout: Layout
) -> Iterator[Terms]:
    """Yield on which terms a run works; within the block it may be the one that submits."""
    backfill_id = run.tags.get(BACKFILL_ID_TAG)
    if backfill_id is None or _is_tried_again_by_a_person(run):
        yield _IN_THIS_PROCESS.get()
        return
    found = backfill.look(instance, backfill_id)
    dimensions = {stage_of(asset).dimension for asset, _ in own}
    wanted = [node for node in found.targets if stage_of(node[0]).dimension in dimensions]
    with _Lead(layout.lead(backfill_id, "-".join(sorted(dimensions)))) as lead:
        companions = tuple(wanted) if lead.is_ours() else ()

        def may_submit() -> bool:
            """Whether we lead, and the backfill has not been cancelled meanwhile."""
            return lead.is_ours() and not backfill.look(instance, backfill_id).is_cancelled

        yield Terms(companions=companions, failed_since=found.begun_at, may_submit=may_submit)


def _is_tried_again_by_a_person(run: dg.DagsterRun) -> bool:
    return PARENT_RUN_ID_TAG in run.tags and RETRY_NUMBER_TAG not in run.tags


class _Lead:
    """A lock that one run of a backfill holds; it ends with the process, however it ends."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = path.open("a")
        self._is_held = False

    def __enter__(self) -> _Lead:
        return self

    def __exit__(self, *problem: object) -> None:
        self._handle.close()

    def is_ours(self) -> bool:
        """Whether we hold it, taking it when nobody does."""
        if not self._is_held:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._is_held = True
        return self._is_held
