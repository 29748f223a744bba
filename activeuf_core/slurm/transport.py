"""How a scheduler command is run: here, on a login node; other ways implement the same page.

Commands are lists of arguments and never pass through a shell on their way to the scheduler.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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

    def push(self, paths: Sequence[Path]) -> None:
        """Bring files and folders to the cluster; nothing to do on a shared file system."""
        ...

    def pull(self, paths: Sequence[Path]) -> None:
        """Bring what the cluster wrote there back; nothing to do on a shared file system."""
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

    def push(self, paths: Sequence[Path]) -> None:
        """Nothing to do."""

    def pull(self, paths: Sequence[Path]) -> None:
        """Nothing to do."""
