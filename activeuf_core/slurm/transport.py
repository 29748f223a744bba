"""How a scheduler command is run: here, on a login node; other ways implement the same page.

Commands are lists of arguments and never pass through a shell on their way to the scheduler.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from activeuf_core.jobs import Job
from activeuf_core.paths import WaveFolder
from activeuf_core.slurm.script import submission_environment

KILL_AFTER_S = 2.0


@dataclass(frozen=True)
class Done:
    """What a command came to. `returncode` is None when it was given up after its time."""

    returncode: int | None
    stdout: str
    stderr: str


class Transport(Protocol):
    """A way to the cluster."""

    def run(
        self, command: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None
    ) -> Done:
        """Run a command on the login node. Raises: LaunchError when there is no way to it."""
        ...

    def seen_from_nodes(self, path: Path) -> str:
        """Return the path under which the nodes see a file or folder of ours."""
        ...

    def job_for_nodes(self, job: Job) -> Job | None:
        """Return a job with the paths that the nodes see; None where they are the same as ours."""
        ...

    def push(self, paths: Sequence[Path]) -> None:
        """Bring files and folders of the home to the cluster; nothing to do where files are shared.

        Raises: UnreachableError when it may work later, LaunchError when it cannot work.
        """
        ...

    def pull(self, paths: Sequence[Path]) -> None:
        """Bring what the cluster wrote there back. Raises: as `push`."""
        ...

    def hand_over(self, wave: WaveFolder, jobs: Sequence[Job]) -> bool:
        """Bring to the cluster what a wave needs there, and make sure of the rest; return whether
        that is done: call again until it is. Raises: as `push`.
        """
        ...

    def bring_back(self, waves: Sequence[WaveFolder], jobs: Sequence[Job]) -> Collection[str]:
        """Bring back what open jobs wrote: logs, progress, and artifacts that are complete there.

        Returns: the ids of the jobs of which all that they had written when this was called is
        here now. Nothing is said of the others: ask again.
        """
        ...

    def forget_secrets(self, wave: WaveFolder) -> None:
        """Remove the cluster's own copy of a wave's secrets, if it has one."""
        ...


class LoginNode:
    """This machine is a login node: sbatch is on PATH, and the file system is shared."""

    def run(
        self, command: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None
    ) -> Done:
        """Run a command with little of our environment.

        `timeout` ends it even when this process is killed: an sbatch that waits for a full queue
        would otherwise submit long after everybody has stopped counting on it.
        """
        bounded = ["timeout", f"--kill-after={KILL_AFTER_S}", str(timeout_s), *command]
        try:
            done = subprocess.run(
                bounded,
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                timeout=timeout_s + 2 * KILL_AFTER_S,
                env={**submission_environment(os.environ), **(environment or {})},
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            return Done(None, "", str(error))
        timed_out = done.returncode in (124, 137)
        return Done(None if timed_out else done.returncode, done.stdout, done.stderr)

    def seen_from_nodes(self, path: Path) -> str:
        """Return the path itself."""
        return str(path)

    def job_for_nodes(self, job: Job) -> Job | None:
        """Return None: the paths are the same."""

    def push(self, paths: Sequence[Path]) -> None:
        """Nothing to do."""

    def pull(self, paths: Sequence[Path]) -> None:
        """Nothing to do."""

    def hand_over(self, wave: WaveFolder, jobs: Sequence[Job]) -> bool:
        """Return True: everything is there."""
        return True

    def bring_back(self, waves: Sequence[WaveFolder], jobs: Sequence[Job]) -> Collection[str]:
        """Return all jobs: everything is here."""
        return [job.job_id for job in jobs]

    def forget_secrets(self, wave: WaveFolder) -> None:
        """Nothing to do: there is one copy."""
