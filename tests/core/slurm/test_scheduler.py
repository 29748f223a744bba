from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from activeuf_core.errors import LaunchError
from activeuf_core.slurm.scheduler import (
    NAMES_PER_CALL,
    NotSentError,
    Scheduler,
    UnreachableError,
)
from activeuf_core.slurm.transport import Done, LoginNode


class Killed(LoginNode):
    """A way to the cluster on which every command is killed."""

    def run(
        self, command: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None
    ) -> Done:
        return Done(-9, "", "")


def test_an_sbatch_that_was_killed_says_nothing_about_its_job() -> None:
    with pytest.raises(UnreachableError, match="sbatch was ended by signal 9"):
        Scheduler(Killed(), 5).submit([])


class Scripted(LoginNode):
    """A way to the cluster that gives one answer, and keeps what was asked."""

    def __init__(self, returncode: int | None = 0, stdout: str = "", stderr: str = "") -> None:
        self.answer = Done(returncode, stdout, stderr)
        self.asked: list[list[str]] = []

    def run(
        self, command: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None
    ) -> Done:
        self.asked.append(list(command))
        return self.answer


@pytest.mark.parametrize(
    ("code", "stderr", "kind"),
    [
        (None, "", UnreachableError),
        (1, "sbatch: error: Batch job submission failed: Socket timed out", UnreachableError),
        (1, "sbatch: error: Unable to contact slurm controller", UnreachableError),
        (127, "timeout: failed to run command 'sbatch': No such file", NotSentError),
        (1, "sbatch: unrecognized option '--nope'", NotSentError),
        (1, "sbatch: error: Batch job submission failed: Invalid partition name", LaunchError),
    ],
)
def test_what_is_known_after_an_sbatch_that_failed(
    code: int | None, stderr: str, kind: type[LaunchError]
) -> None:
    with pytest.raises(LaunchError) as raised:
        Scheduler(Scripted(code, "", stderr), 5).submit([])
    assert type(raised.value) is kind


def test_an_answer_without_an_id_is_no_answer() -> None:
    with pytest.raises(LaunchError, match="one job id was expected"):
        Scheduler(Scripted(0, "Hello"), 5).submit([])


def test_all_under_a_name_is_cancelled_in_one_call() -> None:
    way = Scripted()
    Scheduler(way, 5).cancel("token")
    assert way.asked == [["scancel", "--me", "--name=token"]]


def test_an_id_that_does_not_bear_the_name_is_not_cancelled() -> None:
    way = Scripted()
    Scheduler(way, 5).cancel("token", ["7_1"])
    assert [asked[0] for asked in way.asked] == ["squeue"]


def test_one_call_for_all_names_and_none_for_none() -> None:
    way = Scripted()
    scheduler = Scheduler(way, 5)
    assert scheduler.queue([]) == scheduler.history([]) == []
    scheduler.queue(["a", "b"])
    scheduler.queue([f"t{number}" for number in range(NAMES_PER_CALL + 1)])
    assert [[word for word in asked if "--name" in word] for asked in way.asked] == [
        ["--name=a,b"],
        [],
    ]


def test_accounting_that_does_not_answer_stops_nothing() -> None:
    assert Scheduler(Scripted(1, "", "Slurm accounting storage is disabled"), 5).history([7]) == []


def test_settings_are_asked_for_once() -> None:
    way = Scripted(0, "MaxArraySize            = 1001\nMaxJobCount = 5\n")
    scheduler = Scheduler(way, 5)
    assert (scheduler.setting("MaxArraySize"), scheduler.setting("None")) == ("1001", "")
    assert len(way.asked) == 1
