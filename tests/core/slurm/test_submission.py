"""The steps of a submission, with a scheduler and a clock that do as they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from activeuf_core.errors import LaunchError
from activeuf_core.paths import Layout
from activeuf_core.slurm.scheduler import Scheduler, UnreachableError
from activeuf_core.slurm.submission import REFUSED_TRIES, Submissions
from activeuf_core.slurm.transport import Done, LoginNode
from activeuf_core.slurm.waves import Ledger, Owner, Wave

REFUSED = Done(1, "", "sbatch: error: Batch job submission failed: Invalid account")
SILENT = Done(None, "", "")
SETTLE_S = 10.0


class Said(LoginNode):
    """A login node whose commands answer what they are told, in this order."""

    def __init__(self, answers: Iterator[Done]) -> None:
        self.answers = answers
        self.calls: list[str] = []

    def run(self, command: Sequence[str], timeout_s: float, environment: object = None) -> Done:
        self.calls.append(command[0])
        return next(self.answers)


class Steps:
    """One wave of this process, and time as a number."""

    def __init__(self, folder: Path, *answers: Done) -> None:
        self.now = 100.0
        self.node = Said(iter(answers))
        self.ledger = Ledger(Layout(folder))
        self.wave = Wave("activeuf-x-1", "c", ("j",), {}, Owner.this_process(), 0.0)
        self.ledger.open(self.wave, ["/run"])
        self.submissions = Submissions(
            Scheduler(self.node, 1.0),
            self.ledger,
            lambda wave: ["script"],
            settle_s=SETTLE_S,
            lease_s=30.0,
            clock=lambda: self.now,
        )

    def step(self, later_s: float = 100.0, *, is_looked: bool = True) -> str:
        """Go on later, after a look that found no job."""
        self.now += later_s
        return self.submissions.step(self.wave, [] if is_looked else None)


def test_nothing_is_submitted_before_its_files_are_there(tmp_path: Path) -> None:
    steps = Steps(tmp_path, Done(0, "7\n", ""), Done(0, "", ""))
    there = iter([False, False, True])
    steps.submissions.prepare = lambda wave: next(there)
    assert [steps.step(), steps.step()] == ["submitting"] * 2
    assert steps.node.calls == []
    assert steps.ledger.submitting_since(steps.wave.token) is None
    assert steps.step() == "held"
    assert steps.node.calls == ["sbatch", "scontrol"]


def fails_with(error: LaunchError) -> Callable[[Wave], bool]:
    def prepare(wave: Wave) -> bool:
        raise error

    return prepare


def test_no_way_for_the_files_is_tried_again_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    steps = Steps(tmp_path)
    steps.submissions.prepare = fails_with(UnreachableError("no way"))
    assert steps.step() == "submitting"
    assert "Nothing was submitted yet" in steps.submissions.trouble(steps.wave.token)
    steps.submissions.prepare = fails_with(LaunchError("no model there"))
    assert steps.step() == "refused"
    assert steps.submissions.refusal(steps.wave.token) == "no model there"
    assert steps.node.calls == []


def test_a_wave_that_another_orchestrator_closed_is_not_submitted(tmp_path: Path) -> None:
    steps = Steps(tmp_path)
    steps.ledger.close(steps.wave.token, "its orchestrator was taken for dead")
    assert steps.step() == "abandoned"
    assert steps.node.calls == []


def test_a_refusal_is_believed_when_it_comes_again(tmp_path: Path) -> None:
    steps = Steps(tmp_path, *[REFUSED] * REFUSED_TRIES)
    states = [steps.step() for _ in range(2 * REFUSED_TRIES)]
    assert states[-1] == "refused"
    assert "Invalid account" in steps.submissions.refusal(steps.wave.token)


@pytest.mark.parametrize("silence", [SILENT, Done(1, "", "sbatch: error: Socket timed out")])
def test_silence_after_a_refusal_is_silence(tmp_path: Path, silence: Done) -> None:
    steps = Steps(tmp_path, REFUSED, silence, REFUSED)
    steps.step(is_looked=False)
    steps.step()
    assert len(steps.node.calls) == 2
    for _ in range(4):  # looks that come before the settling time is over
        steps.step(SETTLE_S / 5)
    assert len(steps.node.calls) == 2
    steps.step(SETTLE_S)
    assert len(steps.node.calls) == 3
