"""The newest lines of the jobs' logs, now and then in the run's log.

An entry of a run's log costs 10 to 45 ms, and a thousand jobs print without end. So an entry is
written at most every ten seconds in all, and at most every minute per job; with more jobs than fit
into a minute, each has its turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from activeuf_core.launchers.local import tail_of
from activeuf_dagster.events import Progressed

EVERY_S = 10.0
PER_JOB_S = 60.0
ALIVE_S = 30.0
"""A job that was not heard of for this long is not counted among those that wait for a turn."""
LINES = 5
LINE_CHARACTERS = 300


class LiveLog:
    """Says which news of running jobs are due. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told_at = float("-inf")
        self._told: dict[str, float] = {}
        self._heard: dict[str, float] = {}

    def is_due(self, job_id: str) -> bool:
        """Whether news of a job may be told now; counts them as told."""
        now = self._clock()
        self._heard[job_id] = now
        if now - self._told_at < EVERY_S:
            return False
        alive = sum(now - heard < ALIVE_S for heard in self._heard.values())
        if now - self._told.get(job_id, float("-inf")) < max(PER_JOB_S, alive * EVERY_S):
            return False
        self._told_at = self._told[job_id] = now
        return True

    def newest_lines(self, event: Progressed) -> str:
        """Return the end of a running job's log, '' when there is none yet."""
        lines = tail_of(Path(event.log_path), LINES).splitlines() if event.log_path else []
        return "\n".join(f"  | {line[:LINE_CHARACTERS]}" for line in lines)
