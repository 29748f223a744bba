"""The scheduler's commands, each with a time limit, each saying what is known afterwards.

An sbatch that failed proves nothing: a controller that did not answer in time may create the job
later. So `submit` raises for everything but a printed id, and whoever calls it looks for the job by
its name before anything else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from activeuf_core.errors import LaunchError
from activeuf_core.slurm.queue import (
    ACCOUNTING_FORMAT,
    QUEUE_FORMAT,
    QueueRow,
    parse_accounting,
    parse_job_ids,
    parse_queue,
)
from activeuf_core.slurm.transport import Done, Transport

EPOCH_TIMES = {"SLURM_TIME_FORMAT": "%s"}
NAMES_PER_CALL = 400
"""Beyond this the names are not worth a filter: all of the user's jobs are asked for."""
UNREACHABLE = re.compile(
    r"Unable to contact slurm controller|Socket timed out|Connection (refused|reset|timed out)"
    r"|Transport endpoint|Zero Bytes were transmitted|temporarily unable|in standby mode"
    r"|Resource temporarily unavailable|Protocol authentication error|Unable to resolve",
    re.IGNORECASE,
)


NEVER_SENT = re.compile(
    r"Could not establish a configuration source|command not found|No such file or directory: "
    r"|failed to run command|unrecognized option|Unable to open file|invalid option",
    re.IGNORECASE,
)


class UnreachableError(LaunchError):
    """The scheduler did not answer: nothing is known."""


class NotSentError(LaunchError):
    """The command did not get as far as asking the scheduler: it certainly did nothing."""


class Scheduler:
    """The commands of one cluster."""

    def __init__(self, transport: Transport, timeout_s: float) -> None:
        self._transport = transport
        self._timeout_s = timeout_s
        self._settings: dict[str, str] = {}

    def submit(self, arguments: Sequence[str]) -> int:
        """Call sbatch; return the id that it printed.

        Raises: NotSentError when there is certainly no job; UnreachableError when no answer came,
        LaunchError with SLURM's words for another failure. After the last two a job may exist.
        """
        done = self._run(["sbatch", *arguments])
        if done.returncode != 0 and NEVER_SENT.search(done.stderr):
            raise NotSentError(
                f"sbatch could not ask SLURM (exit {done.returncode}): {done.stderr.strip()}"
            )
        if done.returncode != 0:
            raise LaunchError(f"sbatch failed (exit {done.returncode}): {done.stderr.strip()}")
        return parse_job_ids(done.stdout)

    def release(self, job_id: int) -> None:
        """Let a held job run. Raises: LaunchError."""
        self._checked(["scontrol", "release", str(job_id)])

    def queue(self, names: Sequence[str]) -> list[QueueRow]:
        """Return our jobs with these names: waiting, running, and ended ones that the controller
        still remembers. One call, whatever the number. Raises: LaunchError.
        """
        if not names:
            return []
        command = ["squeue", "--me", *QUEUE_FORMAT]
        if len(names) <= NAMES_PER_CALL:
            command.append(f"--name={','.join(names)}")
        done = self._checked(command, EPOCH_TIMES)
        wanted = set(names)
        return [row for row in parse_queue(done.stdout) if row.name in wanted]

    def history(self, job_ids: Sequence[int]) -> list[QueueRow]:
        """Return what accounting remembers of jobs, [] when there is no accounting or it does not
        answer: nothing waits for it.
        """
        if not job_ids:
            return []
        wanted = ",".join(map(str, job_ids))
        try:
            done = self._checked(["sacct", *ACCOUNTING_FORMAT, "-j", wanted], EPOCH_TIMES)
            return parse_accounting(done.stdout)
        except LaunchError:
            return []

    def cancel(self, name: str, targets: Sequence[str] = ()) -> None:
        """Cancel what is queued or running under a name: all of it, or these ids ("7", "23_4") as
        far as they bear that name now, for an id may be another's.

        The queue is asked for that: scancel with a filter takes the waiting rest of an array for
        one job, and cancels all of it where one task was named (22.05). Raises: LaunchError.
        """
        if not targets:
            self._checked(["scancel", "--me", f"--name={name}"])
            return
        rows = [row for row in self.queue([name]) if row.phase != "ended"]
        ours = {row.task_id for row in rows} | {str(row.array_id) for row in rows}
        if named := [target for target in targets if target in ours]:
            self._checked(["scancel", *named])

    def setting(self, name: str) -> str:
        """Return a line of the cluster's configuration, '' when it has none by that name.

        Raises: LaunchError.
        """
        if not self._settings:
            done = self._checked(["scontrol", "show", "config"])
            pairs = (line.partition("=") for line in done.stdout.splitlines())
            self._settings = {key.strip(): value.strip() for key, _, value in pairs}
        return self._settings.get(name, "")

    def _checked(self, command: Sequence[str], environment: dict[str, str] | None = None) -> Done:
        done = self._run(command, environment)
        if done.returncode != 0:
            raise LaunchError(
                f"{command[0]} failed (exit {done.returncode}): {done.stderr.strip()}"
            )
        return done

    def _run(self, command: Sequence[str], environment: dict[str, str] | None = None) -> Done:
        done = self._transport.run(command, self._timeout_s, environment)
        if done.returncode is None:
            raise UnreachableError(
                f"{command[0]} did not answer within {self._timeout_s:g} s. {done.stderr.strip()}"
            )
        if done.returncode < 0:
            raise UnreachableError(f"{command[0]} was ended by signal {-done.returncode}.")
        if done.returncode != 0 and UNREACHABLE.search(done.stderr):
            raise UnreachableError(f"{command[0]}: {done.stderr.strip()}")
        return done
