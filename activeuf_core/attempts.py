"""Attempts: which job makes an artifact, so that exactly one does.

An attempt is a numbered file below `<home>/attempts/<asset>/<fingerprint>/`, written once. The job
of the highest number owns the artifact. A number is taken by hard-linking a finished file to its
name, which succeeds for one process only, also on a network file system; so two orchestrators that
both see a dead attempt end with one new job. A job whose attempt is no longer the highest may not
publish: its node was given up, whatever its processes still do.

Standard library only: the task wrapper imports it inside every SLURM task.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from activeuf_core.artifacts import create_json, read_json
from activeuf_core.paths import Layout

FENCE_PATIENCE_S = 30.0
"""A fence is held for milliseconds; one that is held longer belongs to a frozen machine."""
FENCE_POLL_S = 0.01


@dataclass(frozen=True)
class Attempt:
    """One attempt at an artifact: its number (from 1), the job that makes it, the wave that the job
    was submitted in, and when (seconds since the epoch).
    """

    number: int
    job_id: str
    wave: str
    opened: float


class Attempts:
    """The attempts at all artifacts of one home."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def latest(self, asset: str, fingerprint: str) -> Attempt | None:
        """Return the attempt that owns an artifact, None when there was none."""
        number = self.latest_number(asset, fingerprint)
        if not number:
            return None
        return Attempt(**read_json(self._path(asset, fingerprint, number)))

    def latest_number(self, asset: str, fingerprint: str) -> int:
        """Return the number of the attempt that owns an artifact, 0 when there was none."""
        try:
            names = os.listdir(self.layout.attempts(asset, fingerprint))
        except FileNotFoundError:
            return 0
        return max((int(name[:-5]) for name in names if name[0] != "."), default=0)

    def open(self, asset: str, fingerprint: str, after: int, *, job_id: str, wave: str) -> bool:
        """Try to become the owner of an artifact after attempt number `after`; durable on return.

        Returns: False when somebody else was first.
        """
        attempt = {"number": after + 1, "job_id": job_id, "wave": wave, "opened": time.time()}
        with self.fence(asset, fingerprint):
            if self.latest_number(asset, fingerprint) != after:
                return False
            return create_json(self._path(asset, fingerprint, after + 1), attempt)

    @contextlib.contextmanager
    def fence(self, asset: str, fingerprint: str) -> Iterator[None]:
        """Order a publication and a change of owner: neither happens within the other."""
        path = self.layout.fence(asset, fingerprint)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as handle:
            deadline = time.monotonic() + FENCE_PATIENCE_S
            while time.monotonic() < deadline:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(FENCE_POLL_S)
            yield

    def _path(self, asset: str, fingerprint: str, number: int) -> Path:
        return self.layout.attempts(asset, fingerprint) / f"{number:03d}.json"
