"""Why a SLURM job ended without its artifact: from what SLURM and the stage say to one class.

In: an `Ending`, what is known of the job. Out: its class (`classify`) and the words for people
(`explain`); what happens next is in `retries`. A job that ended with its artifact never comes here,
whatever SLURM says of it. Pure, standard library only.
"""

from __future__ import annotations

import re
import signal as signals
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from activeuf_core.slurm.failure_classes import FAILURES, FailureClass
from activeuf_core.slurm.queue import phase_of

OUTPUT_NOT_OPENED = 53
"""The "signal" of a job whose output file SLURM could not open."""
EXIT_SUPERSEDED = 4
"""Exit code of the task wrapper (activeuf_core.task) when its work no longer counts."""
PERMANENT_KINDS = frozenset({"ConfigError", "DataError", "ArtifactError", "SourceChanged"})
SILENT_KIND = "CompletedWithoutArtifact"
"""Kind that the task wrapper records when a stage ended well and made nothing."""
TIME_KIND = "TimeLimitNear"
"""Kind that the task wrapper records when it stops a unit before the job's time limit."""
MEMORY_KINDS = frozenset({"MemoryError"})
_MEMORY = re.compile(
    r"exceeded (?:job |step )?memory limit|oom.kill event|out-of-memory handler", re.IGNORECASE
)
_NODE_LOST = re.compile(r"\*\*\* (?:JOB|STEP) .* DUE TO NODE FAILURE")
"""What slurmstepd writes when it ends a job of a node that was given up and came back. Killed like
that within its first second, a job was FAILED with exit code 1 instead of NODE_FAIL (22.05)."""
_CUDA_MEMORY = re.compile(r"CUDA out of memory|torch\.OutOfMemoryError|CUDA_ERROR_OUT_OF_MEMORY")
_DEVICE = re.compile(
    r"uncorrectable (?:NVLink|ECC) error|NCCL error|nccl(?:System|Remote|Internal)Error|"
    r"no CUDA-capable device|CUDA-capable device\(s\) is/are busy|fallen off the bus|"
    r"CUDA driver initialization failed"
)
_RAISED = re.compile(r"RaisedSignal:(\d+)")
_LAUNCH_REASONS = frozenset({"JobLaunchFailure", "launch failed requeued held", "Prolog"})
_NEVER_REASONS = frozenset(
    {
        "AccountNotAllowed",
        "BadConstraints",
        "InvalidAccount",
        "InvalidQOS",
        "PartitionConfig",
        "PartitionNodeLimit",
        "PartitionTimeLimit",
        "QOSNotAllowed",
        "QOSMaxWallDurationPerJobLimit",
        "AssocMaxWallDurationPerJobLimit",
    }
)


@dataclass(frozen=True)
class Ending:
    """What is known of a job that ended without its artifact.

    Args:
        state: SLURM's last word, "" when it no longer knows the job.
        reason, exit_code, signal, nodes, elapsed_s: as in a queue row.
        slurm_job_id: "23_4" or "7", "" when there never was one.
        stage_failure: the unit's failure record {kind, message, retryable}, None when there is
            none.
        log_tail: the end of the stage's own log.
        slurm_log_tail: the end of what the task wrapper and SLURM wrote.
        checkpoint_advanced: whether the job left a newer checkpoint than it found.
        vanished_waiting: whether it was last seen waiting and SLURM still knows other tasks of its
            array. Only a cancellation does that: such a task leaves squeue and sacct at once.
        memory_mb: the memory that the job had asked for, None when not known.
        time_limit_s: the time limit that it had asked for, None when not known.
    """

    state: str
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    elapsed_s: int | None = None
    nodes: str = ""
    slurm_job_id: str = ""
    stage_failure: Mapping[str, Any] | None = None
    log_tail: str = ""
    slurm_log_tail: str = ""
    checkpoint_advanced: bool = False
    vanished_waiting: bool = False
    memory_mb: int | None = None
    time_limit_s: int | None = None

    @property
    def stage_kind(self) -> str:
        """The kind of error that the stage recorded, "" when it recorded none."""
        return str((self.stage_failure or {}).get("kind", ""))

    @property
    def is_retryable(self) -> bool:
        """Whether the stage said that the same job may well succeed when run again."""
        return bool((self.stage_failure or {}).get("retryable", False))


_BY_STATE = {
    "BOOT_FAIL": "BootFail",
    "DEADLINE": "Deadline",
    "NODE_FAIL": "NodeFail",
    "OUT_OF_MEMORY": "OutOfMemory",
    "PREEMPTED": "Preempted",
    "REVOKED": "Preempted",
    "TIMEOUT": "Timeout",
}
"""What SLURM says outright."""


def classify(ending: Ending) -> FailureClass:
    """Return why a job ended without its artifact. Unknown states are Lost, never a success."""
    return FAILURES[_class_name(ending)]


def pending_problem(state: str, reason: str) -> FailureClass | None:
    """Return why a job that waits will never run, None for one that may still run."""
    if phase_of(state) != "queued":
        return None
    if reason == "DependencyNeverSatisfied":
        return FAILURES["DependencyNeverSatisfied"]
    if reason == "launch failed requeued held":
        return FAILURES["LaunchFailure"]
    return FAILURES["NeverStarts"] if reason in _NEVER_REASONS else None


def explain(ending: Ending, failure_class: FailureClass, log_path: str) -> str:
    """Return what a person needs to know, in a few lines: what ended how and where, what that
    means, what the stage said, and the next thing to do.
    """
    job = f"SLURM job {ending.slurm_job_id}" if ending.slurm_job_id else "a SLURM job"
    state = ending.state or "not known to SLURM any more"
    reason = f" ({ending.reason})" if ending.reason not in ("", "None") else ""
    after = f", {_elapsed_words(ending.elapsed_s)}"
    place = f", on {ending.nodes}" if ending.nodes else ""
    lines = [
        f"{failure_class.name}: {job}: {state}{reason}{_exit_words(ending)}{after}{place}.",
        failure_class.meaning,
    ]
    if ending.stage_failure:
        lines.append(f"The stage said: {ending.stage_kind}: {ending.stage_failure.get('message')}")
    lines += [f"Next: {failure_class.remedy}", f"Log: {log_path}"]
    return "\n".join(lines)


def _class_name(ending: Ending) -> str:
    """What only the stage can know comes first, then what SLURM did to the job, then the job's own
    end: a node that fails makes processes fail in many ways.
    """
    if ending.stage_kind == "Superseded" or _is_superseded(ending):
        return "Superseded"
    if ending.stage_kind == SILENT_KIND:
        return SILENT_KIND
    if ending.stage_kind in PERMANENT_KINDS:
        return "StageError"
    if ending.state in _BY_STATE:
        return _BY_STATE[ending.state]
    if ending.stage_kind == TIME_KIND:
        return "Timeout"
    if _NODE_LOST.search(_last_line(ending.slurm_log_tail)):
        return "NodeFail"
    if _ran_out_of_memory(ending):
        return "OutOfMemory"
    if ending.state == "CANCELLED" or ending.vanished_waiting:
        never = ending.reason == "DependencyNeverSatisfied"
        return "DependencyNeverSatisfied" if never else "CancelledByOther"
    return _named_by_text(ending) or _by_end(ending)


def _is_superseded(ending: Ending) -> bool:
    return ending.state == "FAILED" and (ending.exit_code, ending.signal) == (EXIT_SUPERSEDED, 0)


def _last_line(text: str) -> str:
    """Return the last line: a log goes on over the restarts of its job."""
    return (text.rstrip().splitlines() or [""])[-1]


def _ran_out_of_memory(ending: Ending) -> bool:
    """Whether main memory ran out where SLURM only says FAILED: polled limits, or an error of
    Python's.
    """
    return ending.stage_kind in MEMORY_KINDS or bool(_MEMORY.search(ending.slurm_log_tail))


def _named_by_text(ending: Ending) -> str:
    """Look for known words: in what the stage recorded, or else in the logs, where a stage may
    also mention what it recovered from.
    """
    text = f"{ending.log_tail}\n{ending.slurm_log_tail}"
    if ending.stage_failure:
        text = f"{ending.stage_kind}: {ending.stage_failure.get('message', '')}"
    if ending.stage_kind == "OutOfMemoryError" or _CUDA_MEMORY.search(text):
        return "CudaOutOfMemory"
    if _DEVICE.search(text):
        return "DeviceFailure"
    return "StageError" if ending.stage_failure else ""


def _by_end(ending: Ending) -> str:
    if problem := pending_problem(ending.state, ending.reason):
        return problem.name
    if ending.state == "COMPLETED":
        return "CompletedWithoutArtifact"
    if ending.state != "FAILED":
        return "Lost"
    # A refused submission takes an id and stays in queue and accounting as a failed job without
    # nodes; accounting leaves out the reason.
    unexplained = not ending.reason and ending.exit_code and not ending.elapsed_s
    if not ending.nodes and (ending.reason in _NEVER_REASONS or unexplained):
        return "SubmissionRejected"
    number = signal_of(ending)
    if number == OUTPUT_NOT_OPENED:
        return "OutputNotWritable"
    # Above the named signals SLURM's own error numbers show through.
    if number >= signals.SIGRTMIN or (
        ending.reason in _LAUNCH_REASONS and not number and not ending.exit_code
    ):
        return "LaunchFailure"
    return "Signal" if number else "NonZeroExit"


def signal_of(ending: Ending) -> int:
    """Return the signal that ended a job, also where a shell made 137 of SIGKILL; 0 for none."""
    if ending.signal:
        return ending.signal
    if match := _RAISED.match(ending.reason):
        return int(match[1])
    code = ending.exit_code or 0
    return code - 128 if 128 < code < 128 + signals.SIGRTMIN else 0


def _exit_words(ending: Ending) -> str:
    if ending.signal == OUTPUT_NOT_OPENED:
        return ", output file not opened"
    if ending.signal:
        known = {number.value: number.name for number in signals.Signals}
        return f", ended by {known.get(ending.signal, f'signal {ending.signal}')}"
    return "" if ending.exit_code is None else f", exit code {ending.exit_code}"


def _elapsed_words(seconds: int | None) -> str:
    if seconds is None:
        return "after an unknown time"
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    return f"after {hours}:{minute:02d}:{second:02d}"
