"""The ledger of submissions: what was meant, what was tried, what SLURM answered.

A wave is one `sbatch`: a job, or an array of jobs of one asset with the same resources. Every step
of a submission leaves a file that is written once and flushed before the next step begins, so after
a crash at any point the next orchestrator knows what may exist:

    intent      nothing was submitted yet
    submitting  a job may exist under the wave's token: look for it, by name, before anything else
    submitted   SLURM answered this id; the job is held
    released    the job may run
    closed      nothing to wait for any more

The token is unique, and is the job's name and comment: an id alone proves nothing, because a
controller that crashes forgets ids and gives them out again.
"""

from __future__ import annotations

import os
import platform
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from activeuf_core.artifacts import create_json, read_json, write_json
from activeuf_core.paths import Layout, WaveFolder


@dataclass(frozen=True)
class Owner:
    """The orchestrator that opened a wave: a process of a machine."""

    host: str
    pid: int
    started: str
    """When the process started, in the kernel's ticks since boot: a pid alone is used again."""

    @classmethod
    def this_process(cls) -> Owner:
        """Return the owner that we are."""
        return cls(platform.node(), os.getpid(), _start_ticks(os.getpid()))

    def is_gone(self) -> bool:
        """Whether the process is known to be dead; of another machine's processes nothing is."""
        return self.host == platform.node() and _start_ticks(self.pid) != self.started

    def lives(self) -> bool | None:
        """Whether the process lives; None on another machine, where it cannot be seen."""
        return not self.is_gone() if self.host == platform.node() else None


@dataclass(frozen=True)
class Wave:
    """What a submission was meant to be. `job_ids` are ours; element n of the array is job n."""

    token: str
    cluster: str
    job_ids: tuple[str, ...]
    resources: Mapping[str, Any]
    owner: Owner
    opened: float

    @property
    def size(self) -> int:
        """Number of elements."""
        return len(self.job_ids)


def new_token(asset: str) -> str:
    """Return a token for a submission of one asset's jobs."""
    return f"activeuf-{asset}-{secrets.token_hex(5)}"


class Ledger:
    """The waves of one home."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def open(self, wave: Wave, runs: Sequence[str]) -> WaveFolder:
        """Write down the intent of a submission: durable on return, and nothing is submitted.

        Args: runs: the run folders as the nodes see them, in the order of the array.
        """
        folder = self.layout.wave(wave.token)
        folder.path.mkdir(parents=True)
        folder.jobs.write_text("".join(f"{run}\n" for run in runs), encoding="utf-8")
        write_json(folder.intent, asdict(wave))
        return folder

    def read(self, token: str) -> Wave | None:
        """Return a wave's intent, None when it was never finished."""
        try:
            body = read_json(self.layout.wave(token).intent)
        except FileNotFoundError:
            return None
        owner = Owner(**body.pop("owner"))
        return Wave(**{**body, "owner": owner, "job_ids": tuple(body["job_ids"])})

    def open_waves(self) -> Iterator[Wave]:
        """Yield the waves that are not closed."""
        try:
            tokens = sorted(os.listdir(self.layout.slurm))
        except FileNotFoundError:
            return
        for token in tokens:
            if not self.layout.wave(token).closed.exists():
                wave = self.read(token)
                if wave is not None:
                    yield wave

    def uncertain_waves(self) -> dict[str, float]:
        """Return the waves that were closed before their release was certain, and when: a
        controller that crashed may have brought their jobs back.
        """
        found: dict[str, float] = {}
        try:
            tokens = sorted(os.listdir(self.layout.slurm))
        except FileNotFoundError:
            return found
        for token in tokens:
            closed = _field(self.layout.wave(token).closed, "time")
            submitted = self.submitting_since(token) is not None
            if closed is not None and submitted and not self.is_released(token):
                found[token] = closed
        return found

    def mark_submitting(self, token: str) -> None:
        """Write down that sbatch is called now."""
        write_json(self.layout.wave(token).submitting, {"time": time.time()})

    def submitting_since(self, token: str) -> float | None:
        """Return when sbatch was called last, None when never."""
        return _field(self.layout.wave(token).submitting, "time")

    def mark_submitted(self, token: str, slurm_id: int) -> int:
        """Write down the id of a wave; return the one that stands there, whoever wrote it first."""
        path = self.layout.wave(token).submitted
        if create_json(path, {"slurm_job_id": slurm_id, "time": time.time()}):
            return slurm_id
        return int(read_json(path)["slurm_job_id"])

    def slurm_id(self, token: str) -> int | None:
        """Return the id that SLURM gave to a wave, None while it is not known."""
        found = _field(self.layout.wave(token).submitted, "slurm_job_id")
        return None if found is None else int(found)

    def mark_released(self, token: str) -> None:
        """Write down that a wave may run."""
        write_json(self.layout.wave(token).released, {"time": time.time()})

    def is_released(self, token: str) -> bool:
        """Whether a wave was released."""
        return self.layout.wave(token).released.exists()

    def wish_cancelled(self, token: str, job_id: str, message: str) -> None:
        """Write down that a job is not wanted any more, before anything is done about it."""
        path = self.layout.wave(token).cancellations / f"{job_id}.json"
        write_json(path, {"message": message, "time": time.time()})

    def unwanted(self, token: str) -> set[str]:
        """Return the jobs of a wave that are not wanted any more."""
        try:
            names = os.listdir(self.layout.wave(token).cancellations)
        except FileNotFoundError:
            return set()
        return {Path(name).stem for name in names if name[0] != "."}

    def why_unwanted(self, token: str, job_id: str) -> str:
        """Return who said when that a job is not wanted any more."""
        return str(read_json(self.layout.wave(token).cancellations / f"{job_id}.json")["message"])

    def close(self, token: str, reason: str) -> None:
        """Write down that there is nothing to wait for; the wave's secrets are removed."""
        folder = self.layout.wave(token)
        folder.secrets.unlink(missing_ok=True)
        write_json(folder.closed, {"reason": reason, "time": time.time()})

    def closed_because(self, token: str) -> str | None:
        """Return why a wave was closed, None while it is open."""
        try:
            return str(read_json(self.layout.wave(token).closed)["reason"])
        except FileNotFoundError:
            return None


def _field(path: Path, name: str) -> float | None:
    try:
        return float(read_json(path)[name])
    except FileNotFoundError:
        return None


def _start_ticks(pid: int) -> str:
    """Return when a process started, '' when there is none (a zombie is none)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
