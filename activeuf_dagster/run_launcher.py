"""The default run launcher, with two faults less: it notices that a run's worker is gone, and it
reaches a worker whose code server is gone.

Dagster's own launcher (1.13.27) has no health check, so a run whose worker died together with its
code server stays STARTED for ever, also with run monitoring on. And it cancels a run through the
code server that started it; a worker that outlived that server never hears of it.

In: the worker's pid, which Dagster notes in the run's events, and a hidden tag.
Out: what run monitoring acts on. A dead worker's run is marked failed and, being no failed step,
retried; the retry finds what is complete in the store and attaches to jobs that still run.
Cost: one query of the event log and one read of /proc per running run and poll.
Command: named in `configs/dagster.yaml`.
"""

from __future__ import annotations

import os
import re
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

from dagster import DagsterEventType, DagsterRun
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import (
    CheckRunHealthResult,
    DefaultRunLauncher,
    LaunchRunContext,
    WorkerStatus,
)
from dagster._core.storage.tags import HIDDEN_TAG_PREFIX

HOST_TAG = f"{HIDDEN_TAG_PREFIX}activeuf-host"
"""Where the run's worker was started: `<host name> <boot id>`. Dagster hides such a tag; lists of
runs would show this one and little else.
"""
NOTED = re.compile(r"(?:Started process for run|Executing steps in process) \(pid: (\d+)\)")
"""Events of Dagster 1.13.27 that hold the worker's pid: a launched run has both, a run in the
foreground the second.
"""
CLOCK_SLACK_S = 5.0
"""How much later than its own first event a worker may seem to have started: the kernel's boot time
has whole seconds, and clocks are adjusted.
"""


@dataclass(frozen=True)
class Host:
    """One boot of one machine."""

    name: str
    boot_id: str

    @classmethod
    def here(cls) -> Host:
        """Return this machine in its current boot."""
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return cls(socket.gethostname(), boot_id)

    @classmethod
    def parse(cls, tag: str) -> Host:
        """Return what `str` of a host wrote."""
        name, _, boot_id = tag.partition(" ")
        return cls(name, boot_id)

    def __str__(self) -> str:
        """Return the content of the run's tag."""
        return f"{self.name} {self.boot_id}"


@dataclass(frozen=True)
class Worker:
    """The process of a run, as it was noted."""

    host: Host
    pid: int
    noted_at: float
    """When the process said that it is there, in seconds since the epoch."""

    def health(self, here: Host, started_at: float | None) -> CheckRunHealthResult:
        """Return whether the process lives.

        `started_at` is when the process that has its pid here and now began, None without one.
        Where one cannot tell the worker counts as running: Dagster takes every other answer for a
        dead worker, and a run too much on another host is worse than one that is closed by hand.
        """
        if self.host.boot_id != here.boot_id:
            if self.host.name != here.name:
                return _running(f"its worker is on {self.host.name}, which {here.name} cannot see")
            return _dead(f"{here.name} was restarted under its worker (pid {self.pid})")
        if self.host.name != here.name:
            return _running(f"its worker is in another container ({self.host.name})")
        if started_at is None:
            return _dead(f"its worker (pid {self.pid}) is gone")
        if started_at > self.noted_at + CLOCK_SLACK_S:
            return _dead(f"its worker is gone, and its pid {self.pid} is another process now")
        return _running(f"pid {self.pid}")


def process_started_at(pid: int) -> float | None:
    """Return when a process of this machine began (seconds since the epoch), None if it ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in brackets, may itself hold brackets and blanks. After it: the state is field 3 of
    # proc(5), the start in ticks since boot field 22.
    state, *fields = stat.rpartition(")")[2].split()
    if state in "ZX":
        return None
    booted = re.search(r"^btime (\d+)$", Path("/proc/stat").read_text(encoding="ascii"), re.M)
    if booted is None:
        raise OSError("/proc/stat has no line `btime`, so that no process's start is known.")
    return int(booted[1]) + int(fields[18]) / os.sysconf("SC_CLK_TCK")


class HealthCheckedRunLauncher(DefaultRunLauncher):
    """Launches runs as processes of a code server, and looks after the processes themselves."""

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch a run; note on which host, which is this one: code servers listen on a socket."""
        self._instance.add_run_tags(context.dagster_run.run_id, {HOST_TAG: str(Host.here())})
        super().launch_run(context)

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Tell run monitoring that it may ask."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Return whether the run's worker lives. Run monitoring asks while the run is STARTED."""
        worker = self._worker(run)
        if worker is None:
            return _running("it was not launched here, or its worker has not said its pid yet")
        return worker.health(Host.here(), process_started_at(worker.pid))

    def terminate(self, run_id: str) -> bool:
        """Cancel a run: through its code server, or else by interrupting its worker as that would.

        Returns: whether somebody was told.
        """
        try:
            if super().terminate(run_id):
                return True
            lost: DagsterUserCodeUnreachableError | None = None
        except DagsterUserCodeUnreachableError as error:
            lost = error
        if self._interrupt(run_id):
            return True
        if lost is not None:
            raise lost
        return False

    def _interrupt(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        worker = self._worker(run) if run and not run.is_finished else None
        if run is None or worker is None or worker.host != Host.here():
            return False
        if worker.health(Host.here(), process_started_at(worker.pid)).status is not (
            WorkerStatus.RUNNING
        ):
            return False
        message = f"Its code server does not know the run: interrupting pid {worker.pid} itself."
        self._instance.report_engine_event(message, run, cls=self.__class__)
        os.kill(worker.pid, signal.SIGINT)
        return True

    def _worker(self, run: DagsterRun) -> Worker | None:
        tag = run.tags.get(HOST_TAG)
        if tag is None:
            return None
        entries = self._instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)
        noted = [(NOTED.search(entry.message), entry.timestamp) for entry in entries]
        workers = [Worker(Host.parse(tag), int(said[1]), at) for said, at in noted if said]
        return workers[-1] if workers else None


def _running(message: str) -> CheckRunHealthResult:
    return CheckRunHealthResult(WorkerStatus.RUNNING, message)


def _dead(message: str) -> CheckRunHealthResult:
    return CheckRunHealthResult(WorkerStatus.NOT_FOUND, message)
