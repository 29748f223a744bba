"""The interface of a launcher: where jobs run, on one page.

A launcher starts processes and says what became of them. It never says whether an artifact is
complete: the store does, and a verified manifest outranks whatever a launcher believes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from activeuf_core.jobs import Job

Phase = Literal["queued", "running", "ended"]


@dataclass(frozen=True)
class JobState:
    """What a launcher knows of a job.

    `detail` is the launcher's own word for the state (an exit code, a SLURM state and reason), for
    people.
    """

    phase: Phase
    detail: str = ""


class Launcher(Protocol):
    """Runs jobs somewhere."""

    name: str
    """How people call the place."""
    outlives_orchestrator: bool
    """Whether jobs go on when the orchestrator is interrupted; if not, an interruption cancels
    them.
    """

    def submit(self, jobs: Sequence[Job]) -> None:
        """Accept jobs. Raises: LaunchError, when it is certain that a job was not accepted."""
        ...

    def poll(self) -> Mapping[str, JobState]:
        """Return the state of every job that was submitted, by job id; start what may start."""
        ...

    def cancel(self, job_ids: Sequence[str]) -> None:
        """End jobs with everything that they started."""
        ...

    def tail(self, job_id: str, lines: int) -> str:
        """Return the last lines of a job's log, '' when there is none yet."""
        ...

    def log_path(self, job_id: str) -> str:
        """Return where a job's log lies."""
        ...
