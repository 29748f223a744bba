"""The task wrapper: run one job's stage process and publish each unit the moment it is done.

In: a run folder with job.json. Out: artifacts in the store, `status.json`, `stage.log`. The wrapper
holds a lock on every artifact that it works on: a second wrapper of the same artifact waits, and
finds it complete. SIGTERM and SIGINT end the stage's whole process tree, after a grace time for a
checkpoint.

Standard library only, because the start of an interpreter with imports is most of a small task's
time. Command: `python -m activeuf_core.task RUN_FOLDER`.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from activeuf_core.artifacts import ArtifactStore, Manifest, read_json, write_json
from activeuf_core.digests import DigestCache, changed_source
from activeuf_core.errors import ArtifactError
from activeuf_core.jobs import Job, Unit, load_job
from activeuf_core.paths import Layout, RunFolder

POLL_S = 0.1
CLAIM_POLL_S = 0.5
GRACE_S = 10.0
EXIT_UNIT_FAILED = 3
PR_SET_PDEATHSIG = 1
SLURM_FACTS = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT")


class Task:
    """One execution of one job."""

    def __init__(self, folder: Path) -> None:
        self.folder = RunFolder(folder)
        self.job: Job = load_job(self.folder.job)
        self.store = ArtifactStore(Layout(Path(self.job.home)))
        self.states: dict[str, str] = {unit.name: "waiting" for unit in self.job.units}
        self.child: subprocess.Popen[bytes] | None = None
        self.stopped_by: int | None = None
        self.started = time.time()

    def run(self) -> int:
        """Run to the end; return the exit code: 0 when every unit is complete."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        with contextlib.ExitStack() as claims:
            # One order for all tasks, or two of them could wait for one another.
            for unit in sorted(self.job.units, key=lambda unit: (unit.asset, unit.fingerprint)):
                claims.enter_context(self._claimed(unit))
            self._forget_earlier_attempt()
            self._settle()
            self._refuse_changed_sources()
            self._write_status("running")
            exit_code = self._run_stage() if self._is_open() else 0
        all_complete = all(state == "published" for state in self.states.values())
        self._write_status("succeeded" if all_complete else "failed", exit_code)
        return 0 if all_complete else exit_code or EXIT_UNIT_FAILED

    @contextlib.contextmanager
    def _claimed(self, unit: Unit) -> Iterator[None]:
        """Hold the lock on a unit's artifact, waiting for whoever works on it now."""
        while True:
            with self.store.claim(unit.asset, unit.fingerprint) as ours:
                if ours:
                    yield
                    return
            self.states[unit.name] = "waiting for another task"
            self._write_status("running")
            time.sleep(CLAIM_POLL_S)

    def _run_stage(self) -> int:
        still_open = tuple(unit for unit in self.job.units if self._is_unit_open(unit))
        write_json(self.folder.stage, dataclasses.replace(self.job, units=still_open).to_json())
        command = [sys.executable, "-m", self.job.module]
        command += ["--config", str(self.folder.stage), "--run-dir", str(self.folder.path)]
        with self.folder.log.open("ab") as log:
            self.child = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self._environment(),
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        try:
            self._attend(self.child)
        finally:
            _signal_group(self.child, signal.SIGKILL)  # what the stage started and left behind
        return self.child.returncode

    def _attend(self, child: subprocess.Popen[bytes]) -> None:
        """Publish, and enforce the grace time, until the stage has ended."""
        while child.poll() is None:
            self._settle()
            self._enforce_grace()
            time.sleep(POLL_S)
        self._settle()
        if self.stopped_by is None and child.returncode < 0:
            self._note_death(-child.returncode)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.job.environment}

    def _settle(self) -> None:
        """Publish what is done, note what failed."""
        for unit in self.job.units:
            if not self._is_unit_open(unit):
                continue
            folder = self.folder.unit(unit.name)
            if self.store.inspect(unit.asset, unit.fingerprint).is_complete:
                self.states[unit.name] = "published"
            elif folder.result.exists():
                self._publish(unit)
            elif folder.failure.exists():
                self.states[unit.name] = "failed"
            else:
                continue
            self._write_status("running")

    def _forget_earlier_attempt(self) -> None:
        """Let a run folder be run again: old failures are void, a result counts with its files."""
        for unit in self.job.units:
            folder = self.folder.unit(unit.name)
            folder.failure.unlink(missing_ok=True)
            if not folder.output.exists():
                folder.result.unlink(missing_ok=True)

    def _refuse_changed_sources(self) -> None:
        for unit in self.job.units:
            problem = self._source_problem(unit) if self._is_unit_open(unit) else ""
            if problem:
                self._fail(unit, "SourceChanged", problem)

    def _source_problem(self, unit: Unit) -> str:
        cache = DigestCache(self.store.layout.digests)
        return changed_source(unit.config, unit.locations, cache)

    def _fail(self, unit: Unit, kind: str, message: str, *, retryable: bool = False) -> None:
        record = {"kind": kind, "message": message, "retryable": retryable}
        write_json(self.folder.unit(unit.name).failure, record)
        self.states[unit.name] = "failed"

    def _publish(self, unit: Unit) -> None:
        folder = self.folder.unit(unit.name)
        if problem := self._source_problem(unit):
            self._fail(unit, "SourceChanged", problem)
            return
        result = read_json(folder.result)
        manifest = Manifest(
            asset=unit.asset,
            partition=unit.partition,
            fingerprint=unit.fingerprint,
            version=unit.version,
            generation=unit.generation,
            config=unit.config,
            inputs=unit.input_fingerprints,
            metadata=result["metadata"],
            checks=tuple(result["checks"]),
            provenance={**result["provenance"], **self._provenance()},
        )
        try:
            self.store.publish(manifest, folder.output)
        except (ArtifactError, OSError) as error:
            self._fail(unit, type(error).__name__, str(error))
        else:
            self.states[unit.name] = "published"

    def _provenance(self) -> dict[str, Any]:
        slurm = {name.lower(): os.environ[name] for name in SLURM_FACTS if name in os.environ}
        return {
            "job_id": self.job.job_id,
            "host": platform.node(),
            "published": time.time(),
            **slurm,
        }

    def _note_death(self, number: int) -> None:
        """Say of every unit that the process was killed under it: it could not say so itself."""
        name = signal.Signals(number).name
        hint = " The kernel does this when memory runs out." if number == signal.SIGKILL else ""
        message = f"the stage process was ended by {name}.{hint} Look at {self.folder.log}."
        for unit in self.job.units:
            if self._is_unit_open(unit):
                self._fail(unit, "Killed", message, retryable=number == signal.SIGKILL)

    def _is_open(self) -> bool:
        return any(self._is_unit_open(unit) for unit in self.job.units)

    def _is_unit_open(self, unit: Unit) -> bool:
        return self.states[unit.name] not in ("published", "failed")

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Pass the signal on once; a second one, or the end of the grace time, kills."""
        del frame
        if self.child is None:
            self._write_status("cancelled")
            raise SystemExit(128 + number)
        again = self.stopped_by is not None
        self.stopped_by = number
        self.stop_time = time.monotonic()
        _signal_group(self.child, signal.SIGKILL if again else signal.SIGTERM)

    def _enforce_grace(self) -> None:
        if (
            self.stopped_by is not None
            and time.monotonic() - self.stop_time > GRACE_S
            and self.child
        ):
            _signal_group(self.child, signal.SIGKILL)

    def _write_status(self, state: str, exit_code: int | None = None) -> None:
        if self.stopped_by is not None and state == "failed":
            state = "cancelled"
        status = {
            "state": state,
            "exit_code": exit_code,
            "pid": os.getpid(),
            "started": self.started,
            "updated": time.time(),
            "units": self.states,
        }
        write_json(self.folder.status, status)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal a stage and everything that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when the wrapper is killed: its lock is free then."""
    with contextlib.suppress(OSError, AttributeError):  # not Linux: the wrapper's own care remains
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> int:
    """Run the job in the folder that the command line names."""
    return Task(Path(sys.argv[1])).run()


if __name__ == "__main__":
    sys.exit(main())
