"""Jobs on a SLURM cluster: submitted exactly once, found again, watched, and retried by rule.

A group of jobs of one asset with the same resources is one wave: one `sbatch`, one array. The
launcher never waits: `poll` carries every wave on as far as it can get, with one `squeue` for all
of them, and more rarely while nothing moves or the controller is slow. What SLURM says of a job
counts only where there is no artifact.

Nothing that matters is in this object's memory: whoever comes next finds attempts and waves on disk
(`attempts.py`, `slurm/waves.py`) and goes on.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from activeuf_core.artifacts import ArtifactStore
from activeuf_core.attempts import Attempt, Attempts
from activeuf_core.crash_points import reach
from activeuf_core.errors import LaunchError
from activeuf_core.jobs import Job, load_job, new_job_id
from activeuf_core.launchers.base import UNDECIDED, JobState, Target
from activeuf_core.launchers.local import tail_of
from activeuf_core.paths import Layout, RunFolder
from activeuf_core.slurm import cancellation, evidence
from activeuf_core.slurm.cluster import Resources, SlurmCluster
from activeuf_core.slurm.disk import FullDisk
from activeuf_core.slurm.failure_classes import FAILURES, FailureClass
from activeuf_core.slurm.failures import Ending, classify, explain, pending_problem
from activeuf_core.slurm.leftovers import cancel_leftovers
from activeuf_core.slurm.looks import Looks
from activeuf_core.slurm.opening import WaveOpener
from activeuf_core.slurm.queue import QueueRow
from activeuf_core.slurm.resubmission import limits_of, next_resources
from activeuf_core.slurm.retries import Decision, decide
from activeuf_core.slurm.scheduler import Scheduler
from activeuf_core.slurm.ssh import transport_of
from activeuf_core.slurm.submission import Standing, Submissions
from activeuf_core.slurm.tracked import Tracked, describe
from activeuf_core.slurm.transport import Transport
from activeuf_core.slurm.waves import Ledger, Wave, new_token

log = logging.getLogger("activeuf.slurm")
FILE_LAG_S = 5.0
"""How much later than the end of its job an artifact may show up on a network file system."""


_Retry = tuple[Tracked, Decision, FailureClass, Ending]


class SlurmLauncher:
    """Runs jobs on one cluster."""

    def __init__(
        self,
        layout: Layout,
        cluster: SlurmCluster,
        name: str = "slurm",
        transport: Transport | None = None,
    ) -> None:
        self.name = name
        self.layout = layout
        self.cluster = cluster
        self._transport = transport or transport_of(layout, cluster)
        self._scheduler = Scheduler(self._transport, cluster.call_timeout_s)
        self._ledger = Ledger(layout)
        self._attempts = Attempts(layout)
        self._store = ArtifactStore(layout)
        self._looks = Looks(self._scheduler, cluster.poll_s, cluster.poll_max_s)
        self._opener = WaveOpener(layout, cluster, name, self._transport, self._scheduler)
        self._submissions = Submissions(
            self._scheduler, self._ledger, self._opener.arguments, cluster.settle_s, cluster.lease_s
        )
        self._submissions.prepare = self._opener.prepare
        self._full_disk = FullDisk()
        self._waves: dict[str, Wave] = {}
        self._jobs: dict[str, Tracked] = {}
        self._whole: Collection[str] = ()
        """Jobs of which all that they had left behind at the last look is here."""

    def units_per_job(self, asset: str) -> int:
        """Return what the cluster file says."""
        return self.cluster.resources_for(asset).units_per_job

    def submit(self, jobs: Sequence[Job]) -> Collection[str]:
        """Submit jobs as waves; return the names of units that another orchestrator took first."""
        groups: dict[tuple[str, Resources], list[Job]] = {}
        for job in jobs:
            asset = job.units[0].asset
            resources = self.cluster.resources_for(asset, light=job.weight == 0)
            groups.setdefault((asset, resources), []).append(job)
        lost: set[str] = set()
        for (asset, resources), group in groups.items():
            lost |= self._submit_group(asset, resources, group)
        return lost

    def in_flight(self, wanted: Collection[Target]) -> Mapping[Target, str]:
        """Return which artifacts a job of this cluster makes already, whoever submitted it."""
        attempts = {target: self._attempts.latest(*target) for target in wanted}
        known = {target: attempt for target, attempt in attempts.items() if attempt is not None}
        for target, attempt in attempts.items():
            self._opener.seen[target] = attempt.number if attempt else 0
        found = [attempt for attempt in known.values() if self._find(attempt)]
        if found:
            self._looks.ask_now()
            self.poll()
        verdicts = {target: self._verdict(attempt) for target, attempt in known.items()}
        for target, verdict in verdicts.items():  # it may have been brought here by this look
            if verdict is None and self._store.inspect(*target).is_complete:
                verdicts[target] = UNDECIDED
        return {target: verdict for target, verdict in verdicts.items() if verdict is not None}

    def poll(self) -> Mapping[str, JobState]:
        """Carry every wave on, look at the queue when it is time, and return every job's state."""
        is_fresh = self._looks.look(list(self._waves))
        if is_fresh:
            open_jobs = [tracked.job for tracked in self._jobs.values() if tracked.is_open]
            waves = [self.layout.wave(token) for token in self._waves]
            self._whole = self._transport.bring_back(waves, open_jobs)
        retries: list[_Retry] = []
        for wave in list(self._waves.values()):
            with self._full_disk.survived():
                retries += self._carry_on(wave, is_fresh)
        with self._full_disk.survived():
            self._retry(retries)
        return {job_id: tracked.state for job_id, tracked in self._jobs.items()}

    def cancel(self, job_ids: Collection[str]) -> None:
        """Cancel jobs, queued or running, and write down that it was on purpose.

        Raises: LaunchError when the scheduler does not answer: the jobs then go on.
        """
        by_wave: dict[str, list[Tracked]] = {}
        for job_id in job_ids:
            tracked = self._jobs.get(job_id)
            if tracked is not None and tracked.is_open:
                by_wave.setdefault(tracked.token, []).append(tracked)
        for token, tracked_jobs in by_wave.items():
            ids = [tracked.job.job_id for tracked in tracked_jobs]
            message = cancellation.by_whom("its run was cancelled")
            cancellation.cancel(self.layout, self._scheduler, self._waves[token], ids, message)
            for tracked in tracked_jobs:
                kind = cancellation.CANCELLED
                tracked.state = JobState("ended", kind, kind, message)
        for token in by_wave:
            self._close_if_done(self._waves[token])

    def let_go(self) -> Mapping[str, str]:
        """Leave the cluster alone; return the jobs that go on: ours to SLURM's id."""
        for wave in list(self._waves.values()):
            for tracked in self._jobs_of(wave):
                if tracked.is_open and not evidence.open_units(self.layout, tracked.job):
                    tracked.state = JobState("ended", "complete")
                    row = self._row(tracked)
                    if row is not None and row.phase == "queued":  # requeued though it was done
                        self._cancel(wave.token, [row.task_id])
            with self._full_disk.survived():
                self._close_if_done(wave)
        if not self._looks.trouble:
            cancel_leftovers(self._scheduler, self._ledger)
        return {
            job_id: self._task_id(tracked)
            for job_id, tracked in self._jobs.items()
            if tracked.is_open
        }

    def tail(self, job_id: str, lines: int) -> str:
        """Return the last lines of the stage's log, or what SLURM and the wrapper printed."""
        tracked = self._jobs.get(job_id)
        run = RunFolder(self.layout.run(job_id))
        text = tail_of(run.latest_start().log, lines)
        return text or (tail_of(self._slurm_log(tracked), lines) if tracked else "")

    def log_path(self, job_id: str) -> str:
        """Return the path of the newest start's log."""
        return str(RunFolder(self.layout.run(job_id)).latest_start().log)

    # ------------------------------------------------------------------ submitting

    def _submit_group(self, asset: str, resources: Resources, jobs: Sequence[Job]) -> set[str]:
        """Submit jobs of one asset as arrays; return the names of lost units."""
        lost: set[str] = set()
        size = self._opener.array_size()
        for first in range(0, len(jobs), size):
            token = new_token(asset)
            self._opener.spec(token, min(size, len(jobs)), resources)  # what is wrong is said now
            reach("before-attempt")
            taken = [self._opener.take(job, token) for job in jobs[first : first + size]]
            for job, owned in zip(jobs[first : first + size], taken, strict=True):
                lost |= {unit.name for unit in job.units} - {unit.name for unit in owned.units}
            self._begin(token, [job for job in taken if job.units], resources)
        return lost

    def _begin(self, token: str, jobs: Sequence[Job], resources: Resources) -> None:
        """Open a wave and submit it as far as that goes now."""
        if not jobs:
            return
        wave = self._opener.open(token, jobs, resources)
        self._remember(wave, jobs, is_found=False)
        self._submissions.step(wave, None)
        self._looks.soon()

    def _remember(self, wave: Wave, jobs: Iterable[Job], *, is_found: bool) -> None:
        self._waves[wave.token] = wave
        for index, job in enumerate(jobs):
            state = JobState("queued", "is being submitted")
            self._jobs[job.job_id] = Tracked(job, wave.token, index, state, is_found)

    # ------------------------------------------------------------- finding what exists

    def _find(self, attempt: Attempt) -> bool:
        """Take up the wave of an attempt if it may still be alive; return whether it is new."""
        if attempt.wave in self._waves or self._is_dead(attempt):
            return False
        wave = self._ledger.read(attempt.wave)
        if wave is None or wave.cluster != self.name:
            return False
        jobs = [load_job(RunFolder(self.layout.run(job_id)).job) for job_id in wave.job_ids]
        self._remember(wave, jobs, is_found=True)
        return True

    def _is_dead(self, attempt: Attempt) -> bool:
        """Whether the files alone say that nobody works on an attempt."""
        if RunFolder(self.layout.run(attempt.job_id)).ended.exists():
            return True
        wave = self._ledger.read(attempt.wave)
        if wave is None:
            return time.time() - attempt.opened > self.cluster.lease_s
        return wave.cluster != self.name or self._ledger.closed_because(wave.token) is not None

    def _verdict(self, attempt: Attempt) -> str | None:
        """Return the job of a live attempt, UNDECIDED, or None for a dead one."""
        tracked = self._jobs.get(attempt.job_id)
        if tracked is None:
            return None if self._is_dead(attempt) else UNDECIDED
        if not tracked.is_open:
            return None
        return UNDECIDED if tracked.is_found and not tracked.was_alive else attempt.job_id

    # ------------------------------------------------------------------------ watching

    def _carry_on(self, wave: Wave, is_fresh: bool) -> list[_Retry]:
        """Bring a wave as far as it gets; return the jobs that are to be tried again."""
        rows = self._looks.rows(wave.token) if is_fresh else None
        if is_fresh or self._ledger.slurm_id(wave.token) is None:
            self._heed_wishes(wave)
        if not any(tracked.is_open for tracked in self._jobs_of(wave)):
            self._close_if_done(wave)  # before it was submitted
            return []
        standing = self._submissions.step(wave, rows)
        if rows is not None:
            self._cancel_strays(wave, rows)
        still_open = [tracked for tracked in self._jobs_of(wave) if tracked.is_open]
        found = [self._update(wave, tracked, standing, is_fresh) for tracked in still_open]
        if is_fresh:
            self._close_if_done(wave)
        return [retry for retries in found for retry in retries]

    def _heed_wishes(self, wave: Wave) -> None:
        """End the jobs that a person cancelled from another process."""
        unwanted = self._ledger.unwanted(wave.token)
        found = [
            tracked
            for tracked in (self._jobs[job_id] for job_id in unwanted)
            if tracked.is_open and evidence.open_units(self.layout, tracked.job)
        ]
        named = cancellation.targets(self._ledger.slurm_id(wave.token), wave, unwanted)
        if not found or named is None:  # SLURM may have no name for them yet
            return
        self._cancel(wave.token, named)
        for tracked in found:
            message = self._ledger.why_unwanted(wave.token, tracked.job.job_id)
            self._end(tracked, cancellation.CANCELLED, message)

    def _update(
        self, wave: Wave, tracked: Tracked, standing: Standing, is_fresh: bool
    ) -> list[_Retry]:
        """Bring a job's state up to date; return what is to be tried again."""
        if standing == "submitting":
            trouble = self._submissions.trouble(wave.token)
            tracked.state = JobState("queued", trouble or "is being submitted")
            return []
        if standing == "abandoned":
            self._end(tracked, "Abandoned", "its orchestrator ended before it was submitted.")
            return []
        if standing == "refused":
            refusal = self._submissions.refusal(wave.token)
            remedy = FAILURES["SubmissionRejected"].remedy
            self._end(tracked, "SubmissionRejected", f"{refusal}\nNext: {remedy}")
            return []
        if standing == "held" and (trouble := self._submissions.trouble(wave.token)):
            tracked.state = JobState("queued", trouble)
        if not is_fresh:
            return []
        row = self._row(tracked)
        problem = pending_problem(row.state, row.reason) if row else None
        if row is not None and problem is not None:
            return self._never_runs(tracked, row, problem)
        if row is not None and row.phase != "ended":
            tracked.gone_since, tracked.was_alive = None, True
            tracked.state = JobState(row.phase, describe(row))
            return []
        return self._gone(tracked, row)

    def _gone(self, tracked: Tracked, row: QueueRow | None) -> list[_Retry]:
        """Decide on a job that SLURM has ended or does not know."""
        if not evidence.open_units(self.layout, tracked.job):
            tracked.state = JobState("ended", "complete")
            return []
        if tracked.job.job_id not in self._whole:
            return []
        now = time.monotonic()
        tracked.gone_since = now if tracked.gone_since is None else tracked.gone_since
        run = RunFolder(self.layout.run(tracked.job.job_id))
        if row is None and not evidence.has_said_its_end(run):
            if now - tracked.gone_since < self.cluster.settle_s:
                return []
            if any(self._store.is_claimed(u.asset, u.fingerprint) for u in tracked.job.units):
                tracked.was_alive = True
                tracked.state = JobState("running", "unknown to SLURM, and its process is at work")
                return []
            row = self._from_accounting(tracked)
        is_success = row is not None and row.state == "COMPLETED" and row.exit_code == 0
        if is_success and now - tracked.gone_since < FILE_LAG_S:
            return []
        ending = self._ending(tracked, row)
        return self._judge(tracked, classify(ending), ending)

    def _never_runs(self, tracked: Tracked, row: QueueRow, problem: FailureClass) -> list[_Retry]:
        """Take a job out of the queue that would wait there for ever."""
        self._cancel(tracked.token, [row.task_id])
        if not evidence.open_units(self.layout, tracked.job):
            tracked.state = JobState("ended", "complete")
            return []
        return self._judge(tracked, problem, self._ending(tracked, row))

    def _judge(self, tracked: Tracked, failure: FailureClass, ending: Ending) -> list[_Retry]:
        """End a job, or return it to be tried again."""
        unit = evidence.open_units(self.layout, tracked.job)[0]
        latest = self._attempts.latest(unit.asset, unit.fingerprint)
        if latest is not None and latest.job_id != tracked.job.job_id:
            detail = f"attempt {latest.number} took over"
            tracked.state = JobState("ended", detail, successor=latest.job_id)
            return []
        tries = Counter(str(entry["kind"]) for entry in tracked.job.history)
        decision = decide(failure, ending, tries, limits_of(self.cluster.retries))
        had_ended = tracked.is_found and not tracked.was_alive  # before it was asked for again
        if decision.is_retry and not had_ended:
            return [(tracked, decision, failure, ending)]
        text = explain(ending, failure, self.log_path(tracked.job.job_id))
        self._end(tracked, failure.name, f"{text}\n{decision.reason}")
        return []

    def _ending(self, tracked: Tracked, row: QueueRow | None) -> Ending:
        was_waiting = tracked.was_alive and tracked.state.phase == "queued"
        return evidence.ending_of(
            RunFolder(self.layout.run(tracked.job.job_id)),
            evidence.open_units(self.layout, tracked.job)[0],
            row,
            self._slurm_log(tracked),
            Resources.model_validate(self._waves[tracked.token].resources),
            self._task_id(tracked),
            vanished_waiting=row is None and was_waiting and bool(self._looks.rows(tracked.token)),
        )

    def _end(self, tracked: Tracked, kind: str, message: str) -> None:
        """Write down, for everybody, that a job ended without all of its artifacts."""
        cancellation.write_end(self.layout, tracked.job.job_id, kind, message)
        tracked.state = JobState("ended", kind, kind, message)

    def _row(self, tracked: Tracked) -> QueueRow | None:
        """Return SLURM's row of a job: by name, id and index, for an id alone may be another's."""
        slurm_id = self._ledger.slurm_id(tracked.token)
        index = tracked.index if self._waves[tracked.token].size > 1 else None
        return self._looks.row(tracked.token, slurm_id, index)

    def _from_accounting(self, tracked: Tracked) -> QueueRow | None:
        """Return the last that accounting knows of a job, if it ended by that."""
        slurm_id = self._ledger.slurm_id(tracked.token)
        index = tracked.index if self._waves[tracked.token].size > 1 else None
        for row in self._scheduler.history([slurm_id] if slurm_id else []):
            mine = (row.array_id, row.index, row.comment) == (slurm_id, index, tracked.token)
            if mine and row.phase == "ended":
                return row
        return None

    def _cancel_strays(self, wave: Wave, rows: Collection[QueueRow]) -> None:
        strays = self._submissions.strays(wave, rows)
        if strays:
            log.warning("%s: cancelled late twins that never ran: %s", wave.token, strays)
            self._cancel(wave.token, strays)

    def _cancel(self, token: str, task_ids: Sequence[str]) -> None:
        """Tidy up in the queue; what the scheduler does not hear now is tried at the next look."""
        try:
            self._scheduler.cancel(token, task_ids)
        except LaunchError as error:
            log.warning("%s", error)

    def _close_if_done(self, wave: Wave) -> None:
        if all(not tracked.is_open for tracked in self._jobs_of(wave)):
            self._transport.forget_secrets(self.layout.wave(wave.token))
            self._ledger.close(wave.token, "all jobs have ended")
            self._waves.pop(wave.token, None)

    def _jobs_of(self, wave: Wave) -> list[Tracked]:
        return [self._jobs[job_id] for job_id in wave.job_ids]

    def _task_id(self, tracked: Tracked) -> str:
        slurm_id = self._ledger.slurm_id(tracked.token)
        if slurm_id is None:
            return tracked.token
        wave = self._ledger.read(tracked.token)
        return f"{slurm_id}_{tracked.index}" if wave and wave.size > 1 else str(slurm_id)

    def _slurm_log(self, tracked: Tracked) -> Path:
        wave = self._ledger.read(tracked.token)
        size = wave.size if wave else 1
        return evidence.slurm_log(self.layout.wave(tracked.token), tracked.index, size)

    # ------------------------------------------------------------------------ retrying

    def _retry(self, retries: Sequence[_Retry]) -> None:
        """Start jobs in the place of those that failed, those alike in one wave."""
        groups: dict[tuple[str, Resources], list[tuple[Tracked, Job]]] = {}
        for tracked, decision, failure, ending in retries:
            old = Resources.model_validate(self._waves[tracked.token].resources)
            asset = tracked.job.units[0].asset
            job = self._next_job(tracked, decision, failure, ending)
            groups.setdefault((asset, next_resources(old, decision)), []).append((tracked, job))
        for (asset, resources), group in groups.items():
            lost = self._submit_group(asset, resources, [job for _, job in group])
            for tracked, job in group:
                self._follow(tracked, job, lost)

    def _next_job(
        self, tracked: Tracked, decision: Decision, failure: FailureClass, ending: Ending
    ) -> Job:
        """Return the job that goes on where another failed, and remember why."""
        run = RunFolder(self.layout.run(tracked.job.job_id))
        units = []
        for unit in evidence.open_units(self.layout, tracked.job):
            said = evidence.failure_of(run, unit)
            if said is None or said.get("retryable"):
                units.append(unit)
            self._opener.seen[unit.asset, unit.fingerprint] = unit.attempt
        entry = {
            "job_id": tracked.job.job_id,
            "kind": failure.name,
            "detail": explain(ending, failure, str(run.latest_start().log)).splitlines()[0],
            "action": decision.reason,
        }
        return dataclasses.replace(
            tracked.job,
            job_id=new_job_id(tracked.job.units[0].asset),
            units=tuple(units),
            history=(*tracked.job.history, entry),
        )

    def _follow(self, tracked: Tracked, job: Job, lost: Collection[str]) -> None:
        """Point from a job to the one in its place: ours, or that of a faster orchestrator."""
        successor = job.job_id
        if all(unit.name in lost for unit in job.units):
            unit = job.units[0]
            latest = self._attempts.latest(unit.asset, unit.fingerprint)
            successor = latest.job_id if latest else ""
        reason = job.history[-1]
        kind, detail = str(reason["kind"]), str(reason["detail"])
        cancellation.write_end(self.layout, tracked.job.job_id, kind, detail, successor)
        text = f"{reason['detail']} {reason['action']}"
        tracked.state = JobState("ended", text, str(reason["kind"]), text, successor)
