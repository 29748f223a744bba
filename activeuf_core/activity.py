"""What jobs do with a store at this moment: which artifacts they make, and which they read.

In: the run folders, attempts, submissions and locks of a home. Out: the artifacts that must stay
where they are. A job counts as at work until something says that it ended, or nothing has been
heard of it for long. Cost: one small file per execution, read once.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from activeuf_core.artifacts import ArtifactStore
from activeuf_core.attempts import Attempts
from activeuf_core.jobs import Job, load_job
from activeuf_core.launchers.base import Target
from activeuf_core.paths import Layout, RunFolder
from activeuf_core.slurm.evidence import has_said_its_end, open_units
from activeuf_core.slurm.waves import Ledger

SILENT_S = 30 * 86_400.0
"""A job that never began is given up after so long: it may wait for a slot of its machine, of which
its orchestrator alone knows.
"""
LEASE_S = 3_600.0
"""A job that began, holds no lock and has not said its end was killed; so was whoever took a number
for an artifact and submitted nothing. Both are given up after so long.
"""


class Activity:
    """The jobs of a home that have not ended. Call `refresh` to see those that came since."""

    def __init__(self, store: ArtifactStore) -> None:
        self.store = store
        self.layout: Layout = store.layout
        self._attempts = Attempts(store.layout)
        self._ledger = Ledger(store.layout)
        self._jobs: dict[str, Job | None] = {}
        self._live: dict[str, Job] = {}
        self._stamp: list[int] = []
        self._is_being_written = False
        self._tokens: set[str] = set()
        self._wave_of: dict[str, str] = {}
        self._reads: dict[Target, str] = {}
        self._makes: dict[Target, str] = {}
        self.refresh()

    @property
    def live(self) -> frozenset[str]:
        """Ids of the jobs that have not ended."""
        return frozenset(self._live)

    @property
    def jobs(self) -> dict[str, Job]:
        """All jobs that have a run folder, by id."""
        return {job_id: job for job_id, job in self._jobs.items() if job is not None}

    def refresh(self) -> None:
        """Look again at which jobs there are, and which of them have ended; as good as free when
        none came since.
        """
        stamp = [_changed(self.layout.runs), _changed(self.layout.slurm)]
        if stamp == self._stamp and not self._is_being_written:
            return
        self._stamp = stamp
        for token in set(_names(self.layout.slurm)) - self._tokens:
            if wave := self._ledger.read(token):
                self._tokens.add(token)
                self._wave_of |= dict.fromkeys(wave.job_ids, token)
        maybe = dict(self._live)  # what has ended stays so
        self._is_being_written = False
        for job_id in _names(self.layout.runs):
            if self._jobs.get(job_id) is not None:
                continue
            run = RunFolder(self.layout.run(job_id))
            job = self._jobs[job_id] = _job(run)
            if job is not None:
                maybe[job_id] = job
            elif time.time() - last_sign(run.path) < LEASE_S:  # job.json follows its folder
                self._is_being_written = True
        self._live = {key: job for key, job in maybe.items() if not self.has_ended(job)}
        self._makes = {
            (unit.asset, unit.fingerprint): job.job_id
            for job in self._live.values()
            for unit in job.units
        }
        self._reads = {
            (asset, one): job.job_id
            for job in self._live.values()
            for unit in job.units
            for asset, prints in unit.input_fingerprints.items()
            for one in prints.values()
        }

    def use_of(self, target: Target) -> str:
        """Return which job makes or reads an artifact now, '' for none."""
        if target in self._makes:
            return f"job {self._makes[target]} makes it"
        if target in self._reads:
            return f"job {self._reads[target]} reads it"
        attempt = self._attempts.latest(*target)
        if attempt is None or RunFolder(self.layout.run(attempt.job_id)).ended.exists():
            return ""
        if self._ledger.read(attempt.wave) is None:
            is_young = time.time() - attempt.opened < LEASE_S
            return f"job {attempt.job_id} is being submitted for it" if is_young else ""
        is_closed = self._ledger.closed_because(attempt.wave) is not None
        return "" if is_closed else f"job {attempt.job_id} makes it"

    def is_waited_for(self, job_id: str) -> bool:
        """Whether a job belongs to a submission that is not over, whose jobs are read together."""
        token = self._wave_of.get(job_id)
        return token is not None and self._ledger.closed_because(token) is None

    def has_ended(self, job: Job) -> bool:
        """Whether nothing more is to be expected of a job."""
        run = RunFolder(self.layout.run(job.job_id))
        if run.ended.exists():
            return True
        if self.is_waited_for(job.job_id):
            return False
        if job.job_id in self._wave_of or has_said_its_end(run):
            return True
        if any(self._is_locked(unit.asset, unit.fingerprint) for unit in job.units):
            return False
        patience = LEASE_S if run.start_numbers() else SILENT_S
        return time.time() - last_sign(run.path) > patience or not open_units(self.layout, job)

    def _is_locked(self, asset: str, fingerprint: str) -> bool:
        path = self.layout.claim(asset, fingerprint)
        return path.exists() and self.store.is_claimed(asset, fingerprint)


def _changed(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def last_sign(folder: Path) -> float:
    """Return when something was written last in a folder or the folders right below it (seconds
    since the epoch); 0 when it is gone.
    """
    try:
        newest = folder.lstat().st_mtime
        for entry in os.scandir(folder):
            newest = max(newest, entry.stat(follow_symlinks=False).st_mtime)
    except (FileNotFoundError, NotADirectoryError):
        return 0.0
    return newest


def _job(run: RunFolder) -> Job | None:
    try:
        return load_job(run.job)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name[0] != ".")
    except FileNotFoundError:
        return []
