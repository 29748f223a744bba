"""What goes on in Dagster while somebody cleans up a home, and whether it may still use what the
config files no longer name.

A run reads the config files when it starts. While a run or a backfill goes on that began before the
files were changed last, an artifact that nothing refers to now may be the next thing that it reads.
Cost: a query of the runs that have not ended, at most every few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from activeuf_core.launchers.base import Target
from activeuf_core.paths import PROJECT, Layout
from activeuf_dagster.backfill import open_backfills

LOOK_EVERY_S = 3.0
SLACK_S = 60.0
"""How much the clocks of a file server, of the database and of this machine may differ."""
CODE = (PROJECT / "activeuf_core" / "stages.py", PROJECT / "code.lock")
"""Files that change when a stage's version does."""


class Watch:
    """Asked before each artifact goes: why it must stay, '' when it need not.

    Args: configs: the config folders that count. began: before they were read, in seconds since the
    epoch.
    """

    def __init__(
        self, instance: dg.DagsterInstance, layout: Layout, configs: Sequence[Path], began: float
    ) -> None:
        self._instance = instance
        self._layout = layout
        self._configs = tuple(configs)
        self._began = began
        self._stamp = self._files()
        self._looked = -LOOK_EVERY_S
        self._reason = ""

    def __call__(self, target: Target) -> str:
        """Return why artifacts must stay, whichever it is."""
        del target
        now = time.monotonic()
        if now - self._looked >= LOOK_EVERY_S:
            self._looked, self._reason = now, self._look()
        return self._reason

    def _look(self) -> str:
        stamp = self._files()
        digests = self._layout.digests  # reading the config files may itself have changed these
        times = [at for path, at in stamp.items() if path != str(digests)]
        if stamp != self._stamp or max(times, default=0.0) > self._began:
            return "config files were changed meanwhile: look again"
        changed = max(stamp.values(), default=0.0)
        before = [(began, what) for began, what in self._going_on() if began <= changed + SLACK_S]
        if not before:
            return ""
        began, what = min(before)
        when = datetime.fromtimestamp(began, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"{what}, begun at {when}, goes on with what the config files said before"

    def _going_on(self) -> Iterator[tuple[float, str]]:
        for backfill in open_backfills(self._instance):
            yield backfill.begun_at, f"backfill {backfill.backfill_id}"
        unfinished = dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)
        for record in self._instance.get_run_records(filters=unfinished):
            if self._lives(record.dagster_run):
                began = record.create_timestamp.timestamp()
                yield began, f"run {record.dagster_run.run_id[:8]}"

    def _lives(self, run: dg.DagsterRun) -> bool:
        launcher = self._instance.run_launcher
        if run.status == dg.DagsterRunStatus.QUEUED or not (
            launcher.supports_check_run_worker_health
        ):
            return True
        return launcher.check_run_worker_health(run).status != WorkerStatus.NOT_FOUND

    def _files(self) -> dict[str, float]:
        """Return when each file changed that says what partitions are made of (seconds since the
        epoch).
        """
        rooms = (self._layout.home / "generations", self._layout.home / "sweeps")
        found = {str(path): path.stat().st_ctime for path in CODE if path.exists()}
        for root in (*self._configs, *rooms, self._layout.digests):
            paths = [root, *root.rglob("*")] if root.is_dir() else [root]
            found |= {str(path): path.stat().st_ctime for path in paths if path.exists()}
        return found
