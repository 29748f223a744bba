"""What happens after a job ended without its artifact."""

from __future__ import annotations

from dataclasses import replace

import pytest

from activeuf_core.slurm.failure_classes import FAILURES
from activeuf_core.slurm.failures import Ending
from activeuf_core.slurm.retries import Decision, Limits, decide

LIMITS = Limits(max_memory_mb=10_000, max_time_s=7200)
ENDING = Ending("FAILED", nodes="node1", memory_mb=4000, time_limit_s=3600)


def after(name: str, ending: Ending = ENDING, **tries: int) -> Decision:
    return decide(FAILURES[name], ending, tries, LIMITS)


@pytest.mark.parametrize(
    "name",
    [
        "NonZeroExit",
        "StageError",
        "CompletedWithoutArtifact",
        "Signal",
        "CudaOutOfMemory",
        "Deadline",
        "CancelledByOther",
        "DependencyNeverSatisfied",
        "OutputNotWritable",
        "NeverStarts",
        "SubmissionRejected",
    ],
)
def test_what_fails_again_is_given_up_at_once(name: str) -> None:
    assert after(name) == Decision("give_up", f"{name} is not tried again.")


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("NodeFail", 3),
        ("BootFail", 3),
        ("LaunchFailure", 3),
        ("DeviceFailure", 1),
        ("Preempted", 20),
        ("Lost", 2),
    ],
)
def test_a_budget_is_spent_exactly(name: str, allowed: int) -> None:
    assert after(name, **{name: allowed - 1}).action == "retry"
    assert after(name, **{name: allowed}).action == "give_up"


def test_failures_of_nodes_share_a_budget() -> None:
    assert after("NodeFail", BootFail=1, LaunchFailure=1).action == "retry"
    assert after("NodeFail", BootFail=2, LaunchFailure=1).action == "give_up"


def test_other_failures_cost_no_budget() -> None:
    assert after("Lost", Preempted=9, NodeFail=3, StageError=1, Gone=4).action == "retry"


@pytest.mark.parametrize(("nodes", "excluded"), [("node1", "node1"), ("n[1-2]", ""), ("a,b", "")])
def test_a_retry_keeps_away_from_the_one_node_that_failed(nodes: str, excluded: str) -> None:
    assert after("NodeFail", replace(ENDING, nodes=nodes)).exclude_nodes == excluded


def test_a_preempted_job_may_return_to_its_node() -> None:
    assert after("Preempted").exclude_nodes == ""


def test_a_stage_that_says_so_is_tried_once_more() -> None:
    ending = replace(ENDING, stage_failure={"kind": "LaunchError", "retryable": True})
    assert after("StageError", ending).action == "retry"
    assert after("StageError", ending, StageError=1).action == "give_up"


def test_memory_grows_up_to_the_limit_and_then_ends() -> None:
    asked = [4000]
    while (decision := after("OutOfMemory", replace(ENDING, memory_mb=asked[-1]))).is_retry:
        assert decision.action == "retry_more_memory"
        asked.append(decision.memory_mb or 0)
    assert asked == [4000, 6000, 9000, 10_000]
    assert decision.reason == "OutOfMemory with 10000 MB; more is not allowed."


def test_time_grows_up_to_the_limit_and_then_ends() -> None:
    decision = after("Timeout")
    assert (decision.action, decision.time_limit_s) == ("retry_more_time", 7200)
    assert after("Timeout", replace(ENDING, time_limit_s=7200)).action == "give_up"


def test_a_job_with_a_new_checkpoint_goes_on_with_the_same_time() -> None:
    ending = replace(ENDING, checkpoint_advanced=True)
    assert after("Timeout", ending, Timeout=19) == Decision("retry", "Timeout: retry 20 of 20.")
    assert after("Timeout", ending, Timeout=20).action == "give_up"


@pytest.mark.parametrize("name", ["OutOfMemory", "Timeout"])
def test_nothing_grows_without_a_limit_or_from_an_unknown_size(name: str) -> None:
    assert decide(FAILURES[name], ENDING, {}, Limits()).action == "give_up"
    assert after(name, replace(ENDING, memory_mb=None, time_limit_s=None)).action == "give_up"


def test_growth_never_stands_still() -> None:
    limits = Limits(memory_growth=1.01, max_memory_mb=12)
    decision = decide(FAILURES["OutOfMemory"], replace(ENDING, memory_mb=10), {}, limits)
    assert decision.memory_mb == 11


def test_the_attempt_that_took_over_is_waited_for() -> None:
    assert after("Superseded").action == "wait"


@pytest.mark.parametrize("name", list(FAILURES))
def test_every_row_of_retries_ends(name: str) -> None:
    ending = replace(ENDING, checkpoint_advanced=True, memory_mb=10_000)
    assert not after(name, ending, **{name: 1000}).is_retry
