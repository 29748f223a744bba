"""Jobs as processes on this machine: the default, with no account and no cluster.

Each job is a task wrapper in a process group of its own. At most `slots` of weight run at a time,
whoever started them (`slots.py`); jobs of weight 0 do not count but are bounded too. Cancelling,
and an interruption of the orchestrator, end a job with everything that it started: SIGTERM, and
SIGKILL after a grace time. An orchestrator that is killed outright cannot do that: its jobs go on
and publish.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from activeuf_core.artifacts import write_json
from activeuf_core.errors import LaunchError
from activeuf_core.jobs import Job
from activeuf_core.launch import launch_arguments
from activeuf_core.launchers.base import JobState, Target
from activeuf_core.paths import PROJECT, Layout, RunFolder
from activeuf_core.slots import Slots
from activeuf_core.slurm.cluster import Processes

GRACE_S = 12.0
"""A little longer than the task's own grace, so that the task can still say what it was doing."""
LIGHT_PER_SLOT = 2
"""Jobs of weight 0 that run per slot: each is an interpreter all the same."""
TAIL_BYTES = 64 * 1024
ONE_PROCESS = Processes()


class LocalLauncher:
    """Runs jobs as processes on this machine."""

    name = "local"

    def __init__(
        self,
        layout: Layout,
        slots: int | None = None,
        stages: Mapping[str, Processes] | None = None,
    ) -> None:
        """Args: slots: weight that runs at a time; null: one per core. stages: per asset, how many
        processes.
        """
        self.cores = os.cpu_count() or 1
        self.layout = layout
        self.slots = slots or self.cores
        self._stages = stages or {}
        self._slots = Slots(layout.slots(socket.gethostname()), self.slots)
        self._queue: deque[Job] = deque()
        self._running: dict[str, tuple[Job, subprocess.Popen[bytes]]] = {}
        self._states: dict[str, JobState] = {}

    def units_per_job(self, asset: str) -> int:
        """One: a process of this machine waits in no queue."""
        del asset
        return 1

    def submit(self, jobs: Sequence[Job]) -> Collection[str]:
        """Queue jobs and start as many as the slots allow."""
        for job in jobs:
            if job.job_id in self._states:
                raise LaunchError(f"job {job.job_id} was submitted before; a job id is used once.")
            write_json(self._folder(job.job_id).job, job.to_json())
            self._queue.append(job)
            self._states[job.job_id] = JobState("queued", "waits for a free slot")
        self._start_what_fits()
        return ()

    def in_flight(self, wanted: Collection[Target]) -> Mapping[Target, str]:
        """Return nothing: a process of another orchestrator shows by its lock alone."""
        del wanted
        return {}

    def poll(self) -> Mapping[str, JobState]:
        """Reap what ended, start what fits, and return the state of every job."""
        for job_id, (_, process) in list(self._running.items()):
            if process.poll() is not None:
                del self._running[job_id]
                self._states[job_id] = JobState("ended", _describe_exit(process.returncode))
        self._start_what_fits()
        return dict(self._states)

    def cancel(self, job_ids: Collection[str]) -> None:
        """End jobs and everything that they started; return when they are gone."""
        wanted = set(job_ids)
        for job in [job for job in self._queue if job.job_id in wanted]:
            self._queue.remove(job)
            self._states[job.job_id] = JobState("ended", "cancelled before it started")
        processes = [self._running[job_id][1] for job_id in wanted if job_id in self._running]
        _signal_groups(processes, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        while time.monotonic() < deadline and any(process.poll() is None for process in processes):
            time.sleep(0.05)
        _signal_groups(processes, signal.SIGKILL)
        self.poll()

    def let_go(self) -> Mapping[str, str]:
        """End all jobs: nobody would watch them."""
        self.cancel([job_id for job_id, state in self.poll().items() if state.phase != "ended"])
        return {}

    def tail(self, job_id: str, lines: int) -> str:
        """Return the last lines of the stage's log, or of the wrapper's own when the stage never
        started.
        """
        folder = self._folder(job_id)
        return tail_of(folder.latest_start().log, lines) or tail_of(folder.task_log, lines)

    def log_path(self, job_id: str) -> str:
        """Return the path of the stage's log."""
        return str(self._folder(job_id).log)

    def _folder(self, job_id: str) -> RunFolder:
        return RunFolder(self.layout.run(job_id))

    def _start_what_fits(self) -> None:
        full = self.slots + 1
        for job in list(self._queue):
            weight = min(self._weight(job), self.slots)
            if weight >= full or (weight == 0 and self._has_enough_light_jobs()):
                continue
            with self._slots.taken(weight) as files:
                if files is None:
                    full = weight
                    continue
                threads = self._threads(job)
                self._queue.remove(job)
                self._start(job, threads, files)

    def _has_enough_light_jobs(self) -> bool:
        weights = [job.weight for job, _ in self._running.values()]
        return weights.count(0) >= LIGHT_PER_SLOT * self.slots

    def _threads(self, job: Job) -> int:
        """Return the share of the cores of each process of a queued job: all of them for one that
        has the machine to itself.
        """
        waiting = sum(self._weight(one) for one in self._queue)
        wanted = waiting + sum(self._weight(one) for one, _ in self._running.values())
        beside = min(self.slots, max(1, wanted))
        return max(1, self.cores // max(beside, self._processes(job).processes_per_node))

    def _processes(self, job: Job) -> Processes:
        """Return how a job's stage is started; light work is never divided."""
        asset = job.units[0].asset
        return self._stages.get(asset, ONE_PROCESS) if job.weight else ONE_PROCESS

    def _weight(self, job: Job) -> int:
        return job.weight * self._processes(job).processes_per_node

    def _prefix(self, job: Job) -> list[str]:
        """Return what the task puts before the stage's command."""
        asked = self._processes(job)
        if not asked.is_launched:
            return []
        config = asked.accelerate and str(PROJECT / asked.accelerate)
        return ["--", sys.executable, *launch_arguments(asked.processes_per_node, config)]

    def _start(self, job: Job, threads: int, slots: Sequence[int]) -> None:
        folder = self._folder(job.job_id)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")])
            ),
            "PYTHONUNBUFFERED": "1",
            "TOKENIZERS_PARALLELISM": "false",
            # Threads that spin while they wait take the cores that the other slots need: an
            # evaluation took 14 minutes beside other jobs with spinning threads, 1 without.
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive"),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        }
        command = [sys.executable, "-m", "activeuf_core.task", str(folder.path), *self._prefix(job)]
        with folder.task_log.open("ab") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
                pass_fds=slots,
            )
        self._running[job.job_id] = (job, process)
        self._states[job.job_id] = JobState("running", f"pid {process.pid}")


def tail_of(path: Path, lines: int) -> str:
    """Return the last lines of a text file, '' when it does not exist; of one that cannot be read,
    why: a log that is out of reach ends no orchestrator.
    """
    try:
        with path.open("rb") as handle:
            handle.seek(max(0, path.stat().st_size - TAIL_BYTES))
            text = handle.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{path} cannot be read: {error}"
    return "\n".join(text.splitlines()[-lines:])


def _signal_groups(processes: Sequence[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    """Signal whole process groups; a group outlives its leader, so one that ended is signalled too
    on SIGKILL.
    """
    for process in processes:
        if number == signal.SIGKILL or process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)


def _describe_exit(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
