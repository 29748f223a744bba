"""From what SLURM, the wrapper and the stage say to a class: states of a real SLURM 22.05."""

from __future__ import annotations

from typing import Any

import pytest

from activeuf_core import task
from activeuf_core.slurm import failures
from activeuf_core.slurm.failures import Ending, classify, explain, pending_problem, signal_of

STEP_KILLED = (
    "slurmstepd-n1: error: Detected 1 oom-kill event(s) in StepId=33.batch. Some of your processes "
    "may have been killed by the cgroup out-of-memory handler."
)
POLLED = "slurmstepd: error: StepId=9.batch exceeded memory limit (434638848 > 104857600)"
CUDA = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
NCCL = "RuntimeError: NCCL error in: ProcessGroupNCCL.cpp: unhandled system error"


NODE_LOST = (
    "slurmstepd-n1: error: *** JOB 2 ON n1 CANCELLED AT 2026-11-22T10:56:26 DUE TO NODE FAILURE, "
    "SEE SLURMCTLD LOG FOR DETAILS ***\n"
)
BACK = f"{NODE_LOST}the next start says something\n"


def ending(state: str, reason: str = "", code: int = 0, signal: int = 0, **known: Any) -> Ending:
    facts = {"nodes": "node1", "slurm_job_id": "23_4", "elapsed_s": 61, **known}
    return Ending(state, reason, code, signal, **facts)


def failed(kind: str, message: str = "", retryable: bool = False) -> dict[str, Any]:
    return {"kind": kind, "message": message, "retryable": retryable}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (ending("FAILED", "NonZeroExitCode", 3), "NonZeroExit"),
        (ending("FAILED", "NonZeroExitCode", 1), "NonZeroExit"),
        (ending("FAILED", "NonZeroExitCode", 137), "Signal"),
        (ending("FAILED", "JobLaunchFailure", 0, 11), "Signal"),
        (ending("FAILED", "JobLaunchFailure", 0, 9), "Signal"),
        (ending("FAILED", "RaisedSignal:9(Killed)"), "Signal"),
        (ending("FAILED", "RaisedSignal:53(Real-time_signal_19)", 0, 53), "OutputNotWritable"),
        (ending("FAILED", "JobLaunchFailure", 0, 53), "OutputNotWritable"),
        (ending("FAILED", "JobLaunchFailure", 0, 41), "LaunchFailure"),
        (ending("FAILED", "JobLaunchFailure"), "LaunchFailure"),
        (Ending("FAILED", "JobLaunchFailure"), "LaunchFailure"),
        (Ending("FAILED"), "NonZeroExit"),
        (ending("FAILED", "BadConstraints", 0, 1, nodes=""), "SubmissionRejected"),
        (ending("FAILED", "", 1, nodes="", elapsed_s=0), "SubmissionRejected"),
        (ending("FAILED", "NonZeroExitCode", task.EXIT_SUPERSEDED), "Superseded"),
        (ending("COMPLETED", "None"), "CompletedWithoutArtifact"),
        (ending("OUT_OF_MEMORY", "OutOfMemory", 0, 125), "OutOfMemory"),
        (ending("FAILED", "JobLaunchFailure", 0, 9, slurm_log_tail=POLLED), "OutOfMemory"),
        (ending("FAILED", "NonZeroExitCode", 137, slurm_log_tail=STEP_KILLED), "OutOfMemory"),
        (ending("FAILED", "NonZeroExitCode", 1, log_tail=CUDA), "CudaOutOfMemory"),
        (ending("FAILED", "NonZeroExitCode", 1, log_tail=NCCL), "DeviceFailure"),
        (ending("TIMEOUT", "TimeLimit", 0, 15), "Timeout"),
        (ending("DEADLINE", "DeadLine"), "Deadline"),
        (ending("NODE_FAIL", "NodeDown", 0, 15), "NodeFail"),
        (ending("FAILED", "NonZeroExitCode", 1, slurm_log_tail=NODE_LOST), "NodeFail"),
        (ending("FAILED", "NonZeroExitCode", 1, slurm_log_tail=BACK), "NonZeroExit"),
        (ending("BOOT_FAIL"), "BootFail"),
        (ending("PREEMPTED", "None", 0, 15), "Preempted"),
        (ending("REVOKED"), "Preempted"),
        (ending("CANCELLED", "None", 0, 15), "CancelledByOther"),
        (ending("CANCELLED", "JobArrayTaskLimit", nodes=""), "CancelledByOther"),
        (ending("CANCELLED", "DependencyNeverSatisfied", nodes=""), "DependencyNeverSatisfied"),
        (ending("PENDING", "DependencyNeverSatisfied", nodes=""), "DependencyNeverSatisfied"),
        (ending("PENDING", "launch failed requeued held"), "LaunchFailure"),
        (ending("PENDING", "PartitionNodeLimit", nodes=""), "NeverStarts"),
        (ending("PENDING", "PartitionConfig", nodes=""), "NeverStarts"),
        (Ending(""), "Lost"),
        (Ending("", vanished_waiting=True), "CancelledByOther"),
        (Ending("A_WORD_OF_A_LATER_SLURM"), "Lost"),
    ],
)
def test_what_slurm_says(given: Ending, name: str) -> None:
    assert classify(given).name == name


@pytest.mark.parametrize(
    ("kind", "message", "name"),
    [
        ("DataError", "row 3 has no prompt", "StageError"),
        ("ConfigError", "", "StageError"),
        ("SourceChanged", "", "StageError"),
        ("LaunchError", "", "StageError"),
        ("KeyError", "'CUDA'", "StageError"),
        ("MemoryError", "", "OutOfMemory"),
        ("OutOfMemoryError", "CUDA out of memory.", "CudaOutOfMemory"),
        ("RuntimeError", "CUDA out of memory.", "CudaOutOfMemory"),
        ("DistBackendError", "NCCL error in ...", "DeviceFailure"),
        ("TimeLimitNear", "", "Timeout"),
        ("Superseded", "", "Superseded"),
    ],
)
def test_what_the_stage_recorded(kind: str, message: str, name: str) -> None:
    given = ending("FAILED", "NonZeroExitCode", 3, stage_failure=failed(kind, message))
    assert classify(given).name == name


@pytest.mark.parametrize(
    ("state", "name"),
    [("NODE_FAIL", "NodeFail"), ("PREEMPTED", "Preempted"), ("OUT_OF_MEMORY", "OutOfMemory")],
)
def test_what_slurm_did_outranks_the_errors_that_it_caused(state: str, name: str) -> None:
    given = ending(state, stage_failure=failed("RuntimeError", NCCL), log_tail=NCCL)
    assert classify(given).name == name


@pytest.mark.parametrize("state", ["PREEMPTED", "TIMEOUT", "COMPLETED", "FAILED", ""])
def test_an_error_of_the_input_outranks_what_slurm_did_later(state: str) -> None:
    given = ending(state, stage_failure=failed("DataError", "row 3 has no prompt"))
    assert classify(given).name == "StageError"


def test_a_stage_that_recovered_from_full_gpu_memory_is_judged_by_what_it_recorded() -> None:
    given = ending("FAILED", log_tail=CUDA, stage_failure=failed("KeyError", "'score'"))
    assert classify(given).name == "StageError"


def test_a_cancelled_job_is_cancelled_whatever_its_log_says() -> None:
    assert classify(ending("CANCELLED", log_tail=CUDA)).name == "CancelledByOther"


def test_the_wrapper_means_the_same_words() -> None:
    assert failures.EXIT_SUPERSEDED == task.EXIT_SUPERSEDED
    assert failures.TIME_KIND == task.TIME_LIMIT
    assert failures.SILENT_KIND == task.SILENT


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("PENDING", "Resources"),
        ("PENDING", "Priority"),
        ("PENDING", "JobHeldUser"),
        ("PENDING", "BeginTime"),
        ("PENDING", "QOSMaxJobsPerUserLimit"),
        ("RUNNING", "PartitionNodeLimit"),
        ("COMPLETED", "DependencyNeverSatisfied"),
    ],
)
def test_what_may_still_run_is_no_problem(state: str, reason: str) -> None:
    assert pending_problem(state, reason) is None


@pytest.mark.parametrize(
    ("given", "number"),
    [
        (ending("FAILED", code=137), 9),
        (ending("FAILED", signal=11), 11),
        (ending("FAILED", "RaisedSignal:15(Terminated)"), 15),
        (ending("FAILED", code=128), 0),
        (ending("FAILED", code=255), 0),
        (Ending("FAILED"), 0),
    ],
)
def test_signals_in_every_spelling(given: Ending, number: int) -> None:
    assert signal_of(given) == number


def test_an_explanation_says_what_ended_how_and_where_and_what_to_do() -> None:
    given = ending("FAILED", "Why", 3, stage_failure=failed("DataError", "row 3"))
    assert explain(given, classify(given), "/home/runs/x/stage.log").splitlines() == [
        "StageError: SLURM job 23_4: FAILED (Why), exit code 3, after 0:01:01, on node1.",
        "The stage itself said why it cannot go on.",
        "The stage said: DataError: row 3",
        "Next: Mend what its message names, then materialize again.",
        "Log: /home/runs/x/stage.log",
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (ending("FAILED", signal=9), "ended by SIGKILL"),
        (ending("FAILED", signal=53), "output file not opened"),
        (ending("OUT_OF_MEMORY", signal=125), "ended by signal 125"),
        (Ending(""), "a SLURM job: not known to SLURM any more, after an unknown time."),
        (ending("TIMEOUT", elapsed_s=90061), "after 25:01:01"),
    ],
)
def test_an_explanation_in_words(given: Ending, words: str) -> None:
    assert words in explain(given, classify(given), "log")
