"""What the launcher remembers of a job that it watches; all of it can be found out again."""

from __future__ import annotations

from dataclasses import dataclass

from activeuf_core.jobs import Job
from activeuf_core.launchers.base import JobState
from activeuf_core.slurm.queue import QueueRow


@dataclass
class Tracked:
    """One job: element `index` of the wave `token`."""

    job: Job
    token: str
    index: int
    state: JobState
    is_found: bool = False
    """Another orchestrator, or an earlier life of this one, submitted it."""
    was_alive: bool = False
    """The queue showed it waiting or running while we watched."""
    gone_since: float | None = None
    """Since when SLURM says that it ended, or does not know it any more."""

    @property
    def is_open(self) -> bool:
        """Whether there is still something to wait for."""
        return self.state.phase != "ended"


def describe(row: QueueRow) -> str:
    """Return SLURM's row of a job in words."""
    reason = f" ({row.reason})" if row.phase == "queued" and row.reason else ""
    where = f" on {row.nodes}" if row.nodes else ""
    restarts = f", restart {row.restarts}" if row.restarts else ""
    return f"SLURM job {row.task_id}: {row.state}{reason}{where}{restarts}"
