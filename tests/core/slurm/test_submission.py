"""The submission protocol, with a scheduler whose answers the test scripts."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from activeuf_core.errors import LaunchError
from activeuf_core.paths import Layout
from activeuf_core.slurm.queue import QueueRow
from activeuf_core.slurm.scheduler import NotSentError, UnreachableError
from activeuf_core.slurm.submission import (
    FRESH_S,
    HELD_BY_USER,
    RELEASE_SEEN_S,
    Standing,
    Submissions,
)
from activeuf_core.slurm.waves import Ledger, Owner, Wave

TOKEN = "activeuf-prompts-0123456789"
SETTLE_S = 10.0


class ScriptedScheduler:
    """Answers sbatch with what was scripted, in order; counts and keeps what it was asked."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.answers: list[int | LaunchError] = []
        self.release_answers: list[LaunchError | None] = []
        self.takes_s = 0.0
        self.submitted = 0
        self.released: list[int] = []

    def submit(self, arguments: Sequence[str]) -> int:
        self.submitted += 1
        self.clock.now += self.takes_s
        answer = self.answers.pop(0)
        if isinstance(answer, LaunchError):
            raise answer
        return answer

    def release(self, job_id: int) -> None:
        self.released.append(job_id)
        answer = self.release_answers.pop(0) if self.release_answers else None
        if answer is not None:
            raise answer


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """One wave, one scheduler, and the protocol between them."""

    def __init__(self, layout: Layout) -> None:
        self.clock = Clock()
        self.scheduler = ScriptedScheduler(self.clock)
        self.ledger = Ledger(layout)
        self.wave = Wave(TOKEN, "far", ("job-1",), {}, Owner.this_process(), time.time())
        self.ledger.open(self.wave, ["/run"])
        self.submissions = self.another_process()

    def another_process(self) -> Submissions:
        """Return the protocol without any memory, as after a restart."""
        return Submissions(
            self.scheduler,  # pyright: ignore[reportArgumentType]
            self.ledger,
            lambda wave: [],
            settle_s=SETTLE_S,
            lease_s=30.0,
            clock=self.clock,
        )

    def step(self, *rows: QueueRow, after_s: float = 0.0) -> Standing:
        """Take a step with a look at the queue, some seconds later."""
        self.clock.now += after_s
        return self.submissions.step(self.wave, rows)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A wave that nobody has submitted yet."""
    return Desk(Layout(tmp_path))


def row(job_id: int, state: str = "PENDING", reason: str = HELD_BY_USER) -> QueueRow:
    return QueueRow(job_id, None, job_id, TOKEN, state, reason)


def test_a_printed_id_is_on_disk_before_the_job_is_released(desk: Desk) -> None:
    desk.scheduler.answers = [7]
    assert desk.submissions.step(desk.wave, None) == "held"
    assert desk.ledger.slurm_id(TOKEN) == 7
    assert desk.scheduler.released == [7]


def test_a_release_counts_when_the_queue_has_shown_it_for_long_enough(desk: Desk) -> None:
    desk.scheduler.answers = [7]
    desk.step()
    assert desk.step(row(7, reason="Priority"), after_s=1) == "held"
    assert desk.step(row(7, "RUNNING", ""), after_s=RELEASE_SEEN_S + 1) == "released"
    assert desk.ledger.is_released(TOKEN)


def test_a_release_that_a_crash_undid_is_done_again(desk: Desk) -> None:
    desk.scheduler.answers = [7]
    desk.step()
    desk.step(row(7), after_s=3)
    assert desk.scheduler.released == [7, 7]


def test_a_slow_answer_is_not_trusted_without_a_look(desk: Desk) -> None:
    desk.scheduler.answers, desk.scheduler.takes_s = [7], FRESH_S + 1
    desk.step()
    assert desk.scheduler.released == []
    desk.step(row(7), after_s=1)
    assert desk.scheduler.released == [7]


def test_another_s_id_is_never_released(desk: Desk) -> None:
    desk.ledger.mark_submitting(TOKEN)
    desk.ledger.mark_submitted(TOKEN, 7)
    for _ in range(3):
        assert desk.step(row(8), after_s=5) == "held"
    assert desk.scheduler.released == []


def test_silence_is_unknown_until_the_job_has_been_missing_for_long(desk: Desk) -> None:
    desk.scheduler.answers = [UnreachableError("no answer"), 9]
    desk.step()
    for _ in range(4):
        assert desk.step(after_s=SETTLE_S / 5) == "submitting"
    assert desk.scheduler.submitted == 1
    desk.step(after_s=SETTLE_S)
    assert desk.scheduler.submitted == 2
    assert desk.ledger.slurm_id(TOKEN) == 9


def test_without_an_answering_controller_nothing_is_submitted_again(desk: Desk) -> None:
    desk.scheduler.answers = [UnreachableError("no answer")]
    desk.step()
    for _ in range(5):
        desk.clock.now += SETTLE_S
        assert desk.submissions.step(desk.wave, None) == "submitting"
    assert desk.scheduler.submitted == 1


def test_a_job_that_came_after_the_silence_is_taken(desk: Desk) -> None:
    desk.scheduler.answers = [UnreachableError("no answer")]
    desk.step()
    assert desk.step(row(5), after_s=2) == "held"
    assert (desk.ledger.slurm_id(TOKEN), desk.scheduler.released) == (5, [5])
    assert desk.scheduler.submitted == 1


def test_of_two_jobs_under_one_token_the_other_is_a_stray(desk: Desk) -> None:
    desk.scheduler.answers = [UnreachableError("no answer")]
    desk.step()
    rows = [row(6), row(5)]
    desk.step(*rows, after_s=2)
    assert desk.scheduler.released == [5]
    assert desk.submissions.strays(desk.wave, rows) == ["6"]


def test_a_late_twin_of_a_known_job_is_a_stray(desk: Desk) -> None:
    desk.scheduler.answers = [UnreachableError("no answer"), 9]
    desk.step()
    desk.step(after_s=1)
    desk.step(after_s=SETTLE_S + 60)
    rows = [row(9, "RUNNING", ""), row(4)]
    assert desk.submissions.strays(desk.wave, rows) == ["4"]


def test_refused_twice_is_refused(desk: Desk) -> None:
    desk.scheduler.answers = [LaunchError("bad partition"), LaunchError("bad partition")]
    assert desk.step() == "submitting"
    desk.step(after_s=5)
    assert desk.scheduler.submitted == 2
    assert desk.step(after_s=5) == "refused"
    assert desk.submissions.refusal(TOKEN) == "bad partition"


def test_a_refusal_that_left_a_job_is_none(desk: Desk) -> None:
    desk.scheduler.answers = [LaunchError("strange words")]
    desk.step()
    assert desk.step(row(3), after_s=2) == "held"
    assert desk.scheduler.submitted == 1


def test_what_never_reached_slurm_is_refused_at_once(desk: Desk) -> None:
    desk.scheduler.answers = [NotSentError("no sbatch here")]
    assert desk.step() == "refused"
    assert desk.step(after_s=5) == "refused"
    assert desk.scheduler.submitted == 1


def test_after_a_restart_a_release_goes_by_name_and_id(desk: Desk) -> None:
    desk.scheduler.answers = [7]
    desk.scheduler.release_answers = [UnreachableError("no answer")]
    desk.step()
    desk.submissions = desk.another_process()
    desk.step()
    assert desk.scheduler.released == [7]
    desk.step(row(7), after_s=2)
    assert desk.scheduler.released == [7, 7]


def test_another_s_wave_is_never_submitted(desk: Desk) -> None:
    desk.wave = dataclasses.replace(desk.wave, owner=Owner("another-host", 1, "1"))
    assert desk.step() == "submitting"
    assert desk.scheduler.submitted == 0


def test_a_dead_owner_s_wave_is_abandoned_before_sbatch_and_settles_after(desk: Desk) -> None:
    desk.wave = dataclasses.replace(desk.wave, owner=Owner(Owner.this_process().host, 1, "gone"))
    assert desk.step() == "abandoned"
    desk.ledger.mark_submitting(TOKEN)
    desk.submissions = desk.another_process()
    assert desk.step() == "submitting"
    assert desk.step(after_s=SETTLE_S + 1) == "abandoned"


def test_a_dead_owner_s_job_is_released(desk: Desk) -> None:
    desk.wave = dataclasses.replace(desk.wave, owner=Owner(Owner.this_process().host, 1, "gone"))
    desk.ledger.mark_submitting(TOKEN)
    assert desk.step(row(4)) == "held"
    assert (desk.ledger.slurm_id(TOKEN), desk.scheduler.released) == (4, [4])
