"""Whether a running job still owns what it makes: fencing by attempt and by start.

SLURM gives up a node that does not answer and starts the job again elsewhere, while the processes
on the lost node run on. Both believe that they are the job. So every start registers itself under
the next number, and only the newest start of the job that holds an artifact's newest attempt may
publish. The older twin notices within a second, ends its stage and leaves.

Standard library only: the task wrapper imports it inside every SLURM task.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from activeuf_core.artifacts import create_json, read_json
from activeuf_core.attempts import Attempts
from activeuf_core.errors import ArtifactError
from activeuf_core.jobs import Job, Unit
from activeuf_core.paths import Layout, RunFolder


class SupersededError(ArtifactError):
    """The job was given up, or started again elsewhere: its work no longer counts."""


class Ownership:
    """The claim of one start of one job on the job's artifacts."""

    def __init__(self, layout: Layout, folder: RunFolder, job: Job) -> None:
        self.attempts = Attempts(layout)
        self.folder = folder
        self.job = job
        self.number = 0

    def register(self) -> RunFolder:
        """Become the newest start of the job; return the folder to work in.

        Raises: SupersededError when SLURM has already started the job more often than this.
        """
        restart = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
        with contextlib.ExitStack() as fences:
            for unit in sorted(self.job.units, key=lambda unit: (unit.asset, unit.fingerprint)):
                fences.enter_context(self.attempts.fence(unit.asset, unit.fingerprint))
            numbers = self.folder.start_numbers()
            for number in numbers:
                self._refuse_older_restart(number, restart)
            self.number = max(numbers, default=0) + 1
            create_json(self.folder.starts / f"{self.number}.json", self._record(restart))
        return self.folder.start(self.number)

    def loss(self, unit: Unit) -> str:
        """Return why a unit's artifact is no longer ours to make, '' while it is."""
        newest = self.folder.start_numbers()[-1]
        if newest > self.number:
            return f"start {newest} of job {self.job.job_id} took over from start {self.number}"
        latest = self.attempts.latest_number(unit.asset, unit.fingerprint) if unit.attempt else 0
        if latest > unit.attempt:
            return f"attempt {latest} took over from attempt {unit.attempt}"
        return ""

    @contextlib.contextmanager
    def permit(self, unit: Unit) -> Iterator[None]:
        """Allow a publication, in one step with the check. Raises: SupersededError."""
        with self.attempts.fence(unit.asset, unit.fingerprint):
            if loss := self.loss(unit):
                raise SupersededError(f"{unit.name} is not published: {loss}.")
            yield

    def _refuse_older_restart(self, number: int, restart: int) -> None:
        record = read_json(self.folder.starts / f"{number}.json")
        same_job = record["slurm_job_id"] == os.environ.get("SLURM_JOB_ID", "")
        if same_job and int(record["restart"]) > restart:
            raise SupersededError(
                f"job {self.job.job_id} was started again (restart {record['restart']}) before "
                f"this process (restart {restart}) began. It is a left-over of a lost node."
            )

    def _record(self, restart: int) -> dict[str, object]:
        return {
            "restart": restart,
            "slurm_job_id": os.environ.get("SLURM_JOB_ID", ""),
            "host": os.environ.get("SLURMD_NODENAME") or os.uname().nodename,
            "pid": os.getpid(),
            "time": time.time(),
        }
