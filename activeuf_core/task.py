"""The task wrapper: run one job's stage process and publish each unit the moment it is done.

In: a run folder with job.json. Out: artifacts in the store, `status.json`, `stage.log`. The wrapper
holds a lock on every artifact that it works on: a second wrapper of the same artifact waits, and
finds it complete; it publishes only what it still owns (`ownership.py`). SIGTERM and SIGINT end the
stage's whole process tree, after a grace time for a checkpoint. SIGUSR1, SLURM's warning before the
time limit, does the same and puts the job back into the queue, to go on from the checkpoint.

Standard library only, because the start of an interpreter with imports is most of a small task's
time. Commands: `python -m activeuf_core.task RUN_FOLDER [-- PREFIX…]`, and for an element of a
SLURM array `python -m activeuf_core.task --wave WAVE_FOLDER [-- PREFIX…]`; the prefix, for instance
`srun --nodes=2 python -m activeuf_core.launch --`, is put before the stage's command.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from activeuf_core import allocation
from activeuf_core.artifacts import ArtifactStore, Manifest, read_json, write_json
from activeuf_core.digests import DigestCache, changed_source
from activeuf_core.errors import ArtifactError
from activeuf_core.jobs import Job, Unit, load_job
from activeuf_core.ownership import Ownership, SupersededError
from activeuf_core.paths import Layout, RunFolder, UnitFolder, WaveFolder
from activeuf_core.shared_fate import die_with_parent

POLL_S = 0.1
CLAIM_POLL_S = 0.5
CLAIM_PATIENCE_S = 60.0
"""How long a job that took over waits for the lock of the one it took over from, which leaves
within a second unless its machine is frozen."""
FENCE_EVERY_S = 1.0
GRACE_S = 10.0
EXIT_UNIT_FAILED, EXIT_SUPERSEDED = 3, 4
STAGE_PYTHON = "ACTIVEUF_STAGE_PYTHON"
SILENT = "CompletedWithoutArtifact"
SRUN = "srun"
"""It takes SIGTERM for an order to kill its tasks within seconds, and hands SIGUSR1 on to them."""
TIME_LIMIT = "TimeLimitNear"
"""Kind of the failure of a unit that was stopped before the job's time limit."""


class Task:
    """One execution of one job."""

    def __init__(
        self, folder: Path, wave: WaveFolder | None = None, prefix: Sequence[str] = ()
    ) -> None:
        """Args: wave: the SLURM submission that the job belongs to. prefix: put before the stage's
        command.
        """
        job_folder = RunFolder(folder)
        has_own = job_folder.node_job.exists()
        self.job: Job = load_job(job_folder.node_job if has_own else job_folder.job)
        layout = Layout(Path(self.job.home))
        self.store = ArtifactStore(layout)
        self.owner = Ownership(layout, job_folder, self.job)
        self.folder = job_folder  # of this start, once it is registered
        self.wave = wave
        self.prefix = tuple(prefix)
        self.states: dict[str, str] = {unit.name: "waiting" for unit in self.job.units}
        self.started_again: set[str] = set()
        self.child: subprocess.Popen[bytes] | None = None
        self.stopped_by: int | None = None
        self.is_warned = False
        self.started = self.unit_began = time.time()

    def run(self) -> int:
        """Run to the end; return the exit code: 0 when every unit is complete."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGUSR1, self._warn)
        self.folder = self.owner.register()
        with contextlib.ExitStack() as claims:
            # One order for all tasks, or two of them could wait for one another.
            for unit in sorted(self.job.units, key=lambda unit: (unit.asset, unit.fingerprint)):
                claims.enter_context(self._claimed(unit))
            self._salvage()
            self._settle()
            self._leave_what_is_lost()
            self._refuse_changed_sources()
            self._write_status("running")
            exit_code = self._run_stages()
            if self.is_warned and self._is_open():
                self._ask_for_another_turn()
        return self._finish(exit_code)

    def _finish(self, exit_code: int) -> int:
        """Write the last status; return the exit code."""
        states = set(self.states.values())
        if states == {"published"}:
            self._write_status("succeeded", exit_code)
            return 0
        self._write_status("failed", exit_code)
        return exit_code or (EXIT_SUPERSEDED if "superseded" in states else EXIT_UNIT_FAILED)

    @contextlib.contextmanager
    def _claimed(self, unit: Unit) -> Iterator[None]:
        """Hold the lock on a unit's artifact, waiting for whoever works on it now.

        One that we took over from notices and leaves; should its machine be frozen, the fence keeps
        it from publishing, and we go on without the lock.
        """
        took_over = self.owner.number > 1 or unit.attempt > 1
        deadline = time.monotonic() + (CLAIM_PATIENCE_S if took_over else float("inf"))
        while time.monotonic() < deadline:
            with self.store.claim(unit.asset, unit.fingerprint) as ours:
                if ours:
                    yield
                    return
            self.states[unit.name] = "waiting for another task"
            self._write_status("running")
            if self.owner.loss(unit) or self.is_warned:
                break
            time.sleep(CLAIM_POLL_S)
        yield

    def _run_stages(self) -> int:
        """Run the stage over the open units; return its exit code.

        A process that dies takes the unit that it worked on with it, not those after it: the stage
        is started again for them.
        """
        exit_code = 0
        while self._is_open() and self.stopped_by is None and not self.is_warned:
            num_open = self._num_open()
            exit_code = self._run_stage() or exit_code
            if self._is_asked_again():
                continue
            still_open = [unit for unit in self.job.units if self._is_unit_open(unit)]
            begun = [u for u in still_open if self.folder.unit(u.name).output.exists()]
            if not begun and len(still_open) < num_open:
                continue  # of several processes, one failed with a unit, and all ended
            if not begun or len(begun) == len(still_open):
                self._note_silence(exit_code, still_open)
                break
            for unit in begun:
                message = f"the stage process ended with exit code {exit_code} while it worked on "
                self._fail(unit, "StageDied", f"{message}{unit.asset}[{unit.partition}].")
        return exit_code

    def _is_asked_again(self) -> bool:
        """Whether the stage ended in order to be started afresh: at most once per unit."""
        asking = [
            unit
            for unit in self.job.units
            if self._is_unit_open(unit) and self.folder.unit(unit.name).again.exists()
        ]
        for unit in asking:
            folder = self.folder.unit(unit.name)
            folder.again.unlink()
            folder.failure.unlink(missing_ok=True)  # of the processes that were left alone
        fresh = [unit for unit in asking if unit.name not in self.started_again]
        self.started_again |= {unit.name for unit in asking}
        return bool(fresh)

    def _note_silence(self, exit_code: int, units: Sequence[Unit]) -> None:
        """Say of units that the stage left without a result, though it says that all is well."""
        for unit in units if exit_code == 0 else ():
            self._fail(unit, SILENT, f"the stage ended well and made no {unit.asset}.")

    def _run_stage(self) -> int:
        still_open = tuple(unit for unit in self.job.units if self._is_unit_open(unit))
        write_json(self.folder.stage, dataclasses.replace(self.job, units=still_open).to_json())
        python = os.environ.get(STAGE_PYTHON) or sys.executable  # of an image, behind the prefix
        command = [*self.prefix, python, "-m", self.job.module]
        command += ["--config", str(self.folder.stage), "--run-dir", str(self.folder.path)]
        with self.folder.log.open("ab") as log:
            self.child = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self._environment(),
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        try:
            self._attend(self.child)
        finally:
            _signal_group(self.child, signal.SIGKILL)  # what the stage started and left behind
        code = self.child.returncode
        return code if code >= 0 else 128 - code  # as a shell reports a signal

    def _attend(self, child: subprocess.Popen[bytes]) -> None:
        """Publish, watch our ownership, and enforce the grace time, until the stage has ended."""
        looked = time.monotonic()
        while child.returncode is None:
            self._settle()
            self._enforce_grace()
            if time.monotonic() - looked > FENCE_EVERY_S:
                looked = time.monotonic()
                if self._leave_what_is_lost():
                    _signal_group(child, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(POLL_S)
        self._settle()
        if self.stopped_by is None and not self.is_warned and child.returncode < 0:
            self._note_death(-child.returncode)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.job.environment, **allocation.secrets(self.wave)}

    def _leave_what_is_lost(self) -> bool:
        """Give up units that another job or start took over; return whether there were any."""
        lost = {
            unit.name: loss
            for unit in self.job.units
            if self._is_unit_open(unit) and (loss := self.owner.loss(unit))
        }
        for name in lost:
            self.states[name] = "superseded"
        return bool(lost)

    def _salvage(self) -> None:
        """Publish what an earlier start of the job finished and could not publish any more.

        A result is written last, so its output is whole; and the earlier start is gone, or its lock
        would not be ours.
        """
        for number in reversed(self.owner.folder.start_numbers()[:-1]):
            earlier = self.owner.folder.start(number)
            for unit in self.job.units:
                folder = earlier.unit(unit.name)
                if self._is_unit_open(unit) and folder.result.exists() and folder.output.exists():
                    self._publish(unit, folder)

    def _settle(self) -> None:
        """Publish what is done, note what failed."""
        for unit in self.job.units:
            if not self._is_unit_open(unit):
                continue
            folder = self.folder.unit(unit.name)
            if self.store.inspect(unit.asset, unit.fingerprint).is_complete:
                self.states[unit.name] = "published"
            elif folder.result.exists():
                self._publish(unit, folder)
            elif self._has_failed(folder) and not self.is_warned:
                self.states[unit.name] = "failed"
            else:
                continue
            self._write_status("running")

    def _has_failed(self, folder: UnitFolder) -> bool:
        return folder.failure.exists() and not folder.again.exists()

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

    def _publish(self, unit: Unit, folder: UnitFolder) -> None:
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
            provenance={**result["provenance"], **self._provenance(unit)},
        )
        try:
            self.store.publish(manifest, folder.output, self.owner.permit(unit))
        except SupersededError:
            self.states[unit.name] = "superseded"
        except (ArtifactError, OSError) as error:
            self._fail(unit, type(error).__name__, str(error))
        else:
            self.states[unit.name] = "published"
            self.unit_began = manifest.provenance["published"]

    def _provenance(self, unit: Unit) -> dict[str, Any]:
        """Return where, when and at which try a unit was made. Its run time is the job's since its
        start or the unit before, so that those of all units sum up to the job's.
        """
        now = time.time()
        return {
            "job_id": self.job.job_id,
            "attempt": unit.attempt,
            "start": self.owner.number,
            "history": list(self.job.history),
            "host": os.environ.get("SLURMD_NODENAME") or os.uname().nodename,
            "published": now,
            "run_time_s": round(now - self.unit_began, 2),
            "launcher": "local",
            **allocation.facts(self.wave, self.started),
        }

    def _ask_for_another_turn(self) -> None:
        """After SLURM's warning: back into the queue, or else say that the time was too short."""
        self._write_status("requeued")
        problem = "the job was started again as often as the cluster file allows (retries.requeues)"
        if allocation.may_requeue():
            problem = allocation.requeue()
        message = (
            f"the stage was stopped before the job's time limit, and not put back: {problem}. It "
            "goes on from its checkpoint when it is materialized again."
        )
        for unit in self.job.units:
            if self._is_unit_open(unit):
                self._fail(unit, TIME_LIMIT, message, retryable=True)

    def _note_death(self, number: int) -> None:
        """Say that the process was killed of the units that it worked on, or of all if of none: it
        could not say so itself.
        """
        name = signal.Signals(number).name
        hint = " The kernel does this when memory runs out." if number == signal.SIGKILL else ""
        message = f"the stage process was ended by {name}.{hint} Look at {self.folder.log}."
        still_open = [unit for unit in self.job.units if self._is_unit_open(unit)]
        begun = [unit for unit in still_open if self.folder.unit(unit.name).output.exists()]
        for unit in begun or still_open:
            self._fail(unit, "Killed", message, retryable=number == signal.SIGKILL)

    def _is_open(self) -> bool:
        return self._num_open() > 0

    def _num_open(self) -> int:
        return sum(self._is_unit_open(unit) for unit in self.job.units)

    def _is_unit_open(self, unit: Unit) -> bool:
        return self.states[unit.name] not in ("published", "failed", "superseded")

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

    def _warn(self, number: int, frame: FrameType | None) -> None:
        """SLURM's warning before the time limit: let the stage write its checkpoint."""
        del number, frame
        self.is_warned = True
        self.stop_time = time.monotonic()
        if self.child is None:
            return
        if self.prefix[:1] == (SRUN,):
            self.child.send_signal(signal.SIGUSR1)
        else:
            _signal_group(self.child, signal.SIGTERM)

    def _enforce_grace(self) -> None:
        if self.child is None or (self.stopped_by is None and not self.is_warned):
            return
        grace = GRACE_S if self.stopped_by is not None else allocation.warning_grace()
        if time.monotonic() - self.stop_time > grace:
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job that the command line names. Raises: SystemExit for a wrong command line."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    prefix: list[str] = []
    if "--" in given:
        cut = given.index("--")
        given, prefix = given[:cut], given[cut + 1 :]
    if len(given) == 2 and given[0] == "--wave":
        wave = WaveFolder(Path(given[1]))
        return _run(allocation.element(wave), wave, prefix)
    if len(given) == 1:
        return _run(Path(given[0]), None, prefix)
    raise SystemExit("usage: python -m activeuf_core.task (RUN_FOLDER | --wave FOLDER) [-- PREFIX]")


def _run(folder: Path, wave: WaveFolder | None, prefix: Sequence[str]) -> int:
    try:
        return Task(folder, wave, prefix).run()
    except SupersededError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_SUPERSEDED


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # taking the interpreter down in order costs a tenth of the wrapper's own time
