"""The interface of a launcher: where jobs run, on one page.

A launcher starts processes and says what became of them. It never says whether an artifact is
complete: the store does, and a verified manifest outranks whatever a launcher believes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from activeuf_core.jobs import Job

Phase = Literal["queued", "running", "ended"]


Target = tuple[str, str]
"""An artifact to make: (asset, fingerprint)."""
UNDECIDED = ""
"""In place of a job's id: whether a job makes an artifact cannot be said now; ask again."""


@dataclass(frozen=True)
class JobState:
    """What a launcher knows of a job.

    `detail` is the launcher's own word for the state (an exit code, a SLURM state and reason), for
    people. Of a job that ended without its artifacts, `kind` and `message` say why and what to do,
    where the launcher knows; `successor` is the job that was started in its place, '' for none.
    """

    phase: Phase
    detail: str = ""
    kind: str = ""
    message: str = ""
    successor: str = ""


class Launcher(Protocol):
    """Runs jobs somewhere."""

    name: str
    """How people call the place."""

    def units_per_job(self, asset: str) -> int:
        """Return how many artifacts of an asset one job makes at most, one after the other."""
        ...

    def submit(self, jobs: Sequence[Job]) -> Collection[str]:
        """Accept jobs; return the names of the units that are not part of them any more, because
        another orchestrator was a moment faster: ask `in_flight` for those.

        Raises: LaunchError, when it is certain that no job was accepted.
        """
        ...

    def in_flight(self, wanted: Collection[Target]) -> Mapping[Target, str]:
        """Return which of these artifacts a queued or running job makes already, whoever submitted
        it: its job id, from here on part of `poll`; or UNDECIDED.
        """
        ...

    def poll(self) -> Mapping[str, JobState]:
        """Return the state of every job that was submitted, by job id; start what may start."""
        ...

    def cancel(self, job_ids: Collection[str]) -> None:
        """End jobs with everything that they started."""
        ...

    def let_go(self) -> Mapping[str, str]:
        """The orchestrator leaves: end the jobs that cannot do without it; return those that go on
        with the name that people cancel them by.
        """
        ...

    def tail(self, job_id: str, lines: int) -> str:
        """Return the last lines of a job's log, '' when there is none yet."""
        ...

    def log_path(self, job_id: str) -> str:
        """Return where a job's log lies."""
        ...
