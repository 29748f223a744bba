"""The submission protocol: intent → token → held sbatch → id → release, each step durable.

`step` carries one wave as far as it can get now and never waits. What it does next follows from the
wave's files and from the queue alone, so the process that goes on need not be the one that began:

- sbatch is called by the wave's owner only, and never while a job may exist under its token: an
  answer that did not come is "unknown" until the token has been missing, for the settling time,
  from the queue of a controller that answers.
- A job runs only after its id is on disk. Should two jobs come to exist under one token all the
  same, the one whose id stands on disk is released and the other cancelled: it was held, and never
  ran.
- A controller that crashes may undo a release; so a release is written down when the queue has
  shown it some seconds later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

from activeuf_core.crash_points import reach
from activeuf_core.errors import LaunchError
from activeuf_core.slurm.queue import QueueRow
from activeuf_core.slurm.scheduler import NotSentError, Scheduler, UnreachableError
from activeuf_core.slurm.waves import Ledger, Owner, Wave

log = logging.getLogger("activeuf.slurm")
Standing = Literal["submitting", "held", "released", "refused", "abandoned"]
RELEASE_SEEN_S = 8.0
"""slurmctld writes its state every five seconds at most: what it did before that is kept."""
FRESH_S = 1.0
"""How long the id of an sbatch, counted from its call, is trusted without a look at the queue."""
HELD_BY_USER = "JobHeldUser"
RETRY_FIRST_S, RETRY_MAX_S = 1.0, 60.0
REFUSED_TRIES = 2
"""A refusal in SLURM's own words is believed when it comes twice and no job is there."""


@dataclass
class _Progress:
    """What a process remembers of a wave that it carries; all of it can be found out again."""

    next_try: float = 0.0
    backoff_s: float = RETRY_FIRST_S
    missing_since: float | None = None
    looks_missing: int = 0
    refusals: int = 0
    refusal: str = ""
    is_not_sent: bool = False
    released_at: float | None = None
    fresh_until: float = 0.0
    trouble: str = ""
    is_unknown: bool = False
    """The last sbatch got no answer, which says less than a refusal in SLURM's own words."""
    is_prepared: bool = False


@dataclass
class Submissions:
    """Carries waves from intent to release.

    `arguments` gives the sbatch arguments of a wave; `prepare` brings to the cluster what a wave
    needs there, and says whether that is done; `clock` counts seconds.
    """

    scheduler: Scheduler
    ledger: Ledger
    arguments: Callable[[Wave], Sequence[str]]
    settle_s: float
    lease_s: float
    clock: Callable[[], float] = time.monotonic
    prepare: Callable[[Wave], bool] = lambda wave: True
    _progress: dict[str, _Progress] = field(default_factory=dict)

    def step(self, wave: Wave, rows: Collection[QueueRow] | None) -> Standing:
        """Carry a wave on.

        Args: rows: the queue's rows under the wave's token, from a look that began after the last
        step; None when there was no such look or no answer.
        """
        if self.ledger.is_released(wave.token):
            return "released"
        slurm_id = self.ledger.slurm_id(wave.token)
        if slurm_id is None:
            slurm_id = self._find(wave, rows)
        if slurm_id is None:
            return self._submit(wave, rows)
        return self._release(wave, slurm_id, rows)

    def trouble(self, token: str) -> str:
        """Return what stands in the way of a wave, '' for nothing."""
        return self._of(token).trouble

    def refusal(self, token: str) -> str:
        """Return SLURM's words for not taking a wave."""
        return self._of(token).refusal

    def strays(self, wave: Wave, rows: Collection[QueueRow]) -> list[str]:
        """Return held jobs under a wave's token that are not the wave's: late twins of it."""
        slurm_id = self.ledger.slurm_id(wave.token)
        twins = {row.array_id for row in rows if row.array_id != slurm_id and row.phase != "ended"}
        return [str(twin) for twin in sorted(twins)] if slurm_id is not None else []

    def _find(self, wave: Wave, rows: Collection[QueueRow] | None) -> int | None:
        """Look for a job under the wave's token; write its id down."""
        progress = self._of(wave.token)
        if rows is None:
            return None
        # A refused submission has an id too, and a row that says FAILED: it was held, so no job
        # that ended before its release ever ran.
        waiting = [row for row in rows if row.phase != "ended"]
        if not waiting:
            progress.looks_missing += 1
            if progress.missing_since is None:
                progress.missing_since = self.clock()
            return None
        found = min(row.array_id for row in waiting)
        return self.ledger.mark_submitted(wave.token, found)

    def _submit(self, wave: Wave, rows: Collection[QueueRow] | None) -> Standing:
        """Call sbatch, if it is certain that there is no job and it is ours to call."""
        progress = self._of(wave.token)
        if wave.owner != Owner.this_process():
            return self._wait_for_owner(wave, rows)
        if progress.is_not_sent:
            return "refused"
        if self.ledger.submitting_since(wave.token) is not None and not self._is_settled(wave):
            return "submitting"
        if progress.refusals >= REFUSED_TRIES:
            return "refused"
        if self.clock() < progress.next_try:
            return "submitting"
        if self.ledger.closed_because(wave.token) is not None:  # by whoever took us for dead
            return "abandoned"
        if not progress.is_prepared and not self._prepare(wave, progress):
            return "refused" if progress.is_not_sent else "submitting"
        return self._call_sbatch(wave, progress)

    def _prepare(self, wave: Wave, progress: _Progress) -> bool:
        """Bring a wave's files to the cluster; without them it is not submitted."""
        try:
            progress.is_prepared = self.prepare(wave)
        except UnreachableError as error:
            progress.trouble = f"{error} Nothing was submitted yet; it is tried again."
            self._wait_longer(wave, progress)
        except LaunchError as error:
            progress.is_not_sent, progress.refusal = True, str(error)
        else:
            progress.trouble = "" if progress.is_prepared else "its files are being copied there"
        return progress.is_prepared

    def _wait_longer(self, wave: Wave, progress: _Progress) -> None:
        progress.next_try = self.clock() + progress.backoff_s
        progress.backoff_s = min(2 * progress.backoff_s, RETRY_MAX_S)
        log.warning("%s: %s", wave.token, progress.trouble)

    def _call_sbatch(self, wave: Wave, progress: _Progress) -> Standing:
        reach("before-sbatch")
        self.ledger.mark_submitting(wave.token)
        progress.missing_since, progress.looks_missing = None, 0
        called = self.clock()
        try:
            answer = self.scheduler.submit(self.arguments(wave))
        except UnreachableError as error:
            progress.trouble = f"{error} Whether a job exists is looked up before sbatch is tried "
            progress.trouble += "again."
            progress.is_unknown = True
        except NotSentError as error:
            progress.is_not_sent, progress.refusal = True, str(error)
            return "refused"
        except LaunchError as error:
            progress.refusals += 1
            progress.is_unknown = False
            progress.refusal = progress.trouble = str(error)
        else:
            reach("after-sbatch")
            slurm_id = self.ledger.mark_submitted(wave.token, answer)
            progress.trouble = ""
            progress.fresh_until = called + FRESH_S if slurm_id == answer else 0.0
            reach("after-id")
            return self._release(wave, slurm_id, None)
        self._wait_longer(wave, progress)
        return "submitting"

    def _is_settled(self, wave: Wave) -> bool:
        """Whether it is proven that the last call of sbatch left no job.

        A refusal in SLURM's own words needs one look; silence needs the settling time.
        """
        progress = self._of(wave.token)
        if progress.missing_since is None:
            return False
        if progress.refusals and not progress.is_unknown:
            return progress.looks_missing >= 1
        waited = self.clock() - progress.missing_since
        return progress.looks_missing >= 2 and waited >= self.settle_s

    def _wait_for_owner(self, wave: Wave, rows: Collection[QueueRow] | None) -> Standing:
        """Decide on another orchestrator's wave that has no id yet."""
        began = self.ledger.submitting_since(wave.token)
        age = time.time() - max(wave.opened, began or 0.0)
        alive = not wave.owner.is_gone() and age < self.lease_s
        if alive:
            return "submitting"
        if began is None:
            return "abandoned"
        return "abandoned" if rows is not None and self._is_settled(wave) else "submitting"

    def _release(self, wave: Wave, slurm_id: int, rows: Collection[QueueRow] | None) -> Standing:
        """Let a wave run, and write that down once the queue has shown it for long enough.

        An id is trusted in the moment that sbatch prints it, and later only beside our name: a
        controller that crashes in between may have given it to somebody's held job.
        """
        progress = self._of(wave.token)
        ours = [row for row in rows or () if row.array_id == slurm_id]
        is_held = any(row.reason == HELD_BY_USER for row in ours if row.phase == "queued")
        if is_held or self.clock() < progress.fresh_until:
            self._call_release(slurm_id, progress)
        elif ours and progress.released_at is None:
            progress.released_at = self.clock()  # by the process that we go on for
        elif ours and self.clock() - (progress.released_at or 0.0) > RELEASE_SEEN_S:
            self.ledger.mark_released(wave.token)
            return "released"
        return "held"

    def _call_release(self, slurm_id: int, progress: _Progress) -> None:
        progress.fresh_until = 0.0
        if self.clock() < progress.next_try:
            return
        try:
            self.scheduler.release(slurm_id)
        except LaunchError as error:
            progress.trouble = str(error)
            progress.next_try = self.clock() + progress.backoff_s
            progress.backoff_s = min(2 * progress.backoff_s, RETRY_MAX_S)
        else:
            progress.released_at, progress.trouble = self.clock(), ""
            progress.backoff_s = RETRY_FIRST_S
            reach("after-release")

    def _of(self, token: str) -> _Progress:
        return self._progress.setdefault(token, _Progress())
