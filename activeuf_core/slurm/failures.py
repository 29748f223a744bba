"""Why a SLURM job ended without its artifact, and what to do about it: pure functions, one table.

In: an `Ending`, what is known of the job. Out: its class (`classify`), what happens next
(`decide`) and the words for people (`explain`). A job that ended with its artifact never comes
here, whatever SLURM says of it. Standard library only.
"""

from __future__ import annotations

import re
import signal as signals
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from activeuf_core.slurm.queue import phase_of

Action = Literal["give_up", "retry", "retry_more_memory", "retry_more_time", "wait"]
LimitName = Literal[
    "node_failures",
    "device_failures",
    "preemptions",
    "lost",
    "stage_retries",
    "memory_retries",
    "time_retries",
]
OUTPUT_NOT_OPENED = 53
"""The "signal" of a job whose output file SLURM could not open."""
LAST_SIGNAL = 64
EXIT_SUPERSEDED = 4
"""Exit code of the task wrapper (activeuf_core.task) when its work no longer counts."""
PERMANENT_KINDS = frozenset({"ConfigError", "DataError", "ArtifactError", "SourceChanged"})
TIME_KIND = "TimeLimitNear"
"""Kind that the task wrapper records when it stops a unit before the job's time limit."""
MEMORY_KINDS = frozenset({"MemoryError"})
_MEMORY = re.compile(r"exceeded (?:job |step )?memory limit|oom.kill event|out-of-memory handler")
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


@dataclass(frozen=True)
class Limits:
    """How often a job is tried again, per budget, and how far its resources may grow.

    A budget counts the earlier attempts at the same artifact that ended in one of its classes.
    """

    node_failures: int = 3
    device_failures: int = 1
    preemptions: int = 20
    lost: int = 2
    stage_retries: int = 1
    memory_retries: int = 2
    time_retries: int = 1
    resumes: int = 20
    memory_growth: float = 1.5
    time_growth: float = 2.0
    max_memory_mb: int | None = None
    max_time_s: int | None = None


@dataclass(frozen=True)
class FailureClass:
    """One way to end without an artifact.

    Args:
        name: as people and metadata see it.
        meaning: one sentence.
        action: what happens while the budget lasts; after that it is given up.
        remedy: the next thing for a person to do.
        budget: the field of Limits that counts its retries, None for none.
        exclude_nodes: whether a retry keeps away from the nodes that it failed on.
    """

    name: str
    meaning: str
    action: Action
    remedy: str
    budget: LimitName | None = None
    exclude_nodes: bool = False


@dataclass(frozen=True)
class Decision:
    """What happens next.

    Args:
        action: give up, try again, or wait for somebody else's job.
        reason: one sentence for the log and the metadata.
        memory_mb: what to ask for next, None for as before.
        time_limit_s: what to ask for next, None for as before.
        exclude_nodes: node list to keep away from, "" for none.
    """

    action: Action
    reason: str
    memory_mb: int | None = None
    time_limit_s: int | None = None
    exclude_nodes: str = ""

    @property
    def is_retry(self) -> bool:
        """Whether the job is submitted again."""
        return self.action.startswith("retry")


_TABLE = (
    FailureClass(
        "StageError",
        "The stage itself said why it cannot go on.",
        "give_up",
        "Mend what its message names, then materialize again.",
    ),
    FailureClass(
        "NonZeroExit",
        "The job ended with an error code and the stage recorded no reason.",
        "give_up",
        "Read the end of the log; mend the cause, then materialize again.",
    ),
    FailureClass(
        "CompletedWithoutArtifact",
        "SLURM says COMPLETED, but no artifact was published.",
        "give_up",
        "Read the whole log: something ended the stage with exit code 0. Is the home folder the "
        "same on the node as here?",
    ),
    FailureClass(
        "Signal",
        "A signal ended the job.",
        "give_up",
        "Read the end of the log. SIGKILL without a message is most often memory: ask for more "
        "in the cluster file; SIGSEGV is a crash in native code.",
    ),
    FailureClass(
        "OutOfMemory",
        "The job used more main memory than it had asked for.",
        "retry_more_memory",
        "Raise the stage's memory in the cluster file, or lower its batch size.",
        "memory_retries",
    ),
    FailureClass(
        "CudaOutOfMemory",
        "The GPU's memory ran out.",
        "give_up",
        "Lower the stage's batch size (gradient accumulation keeps the global one), or choose a "
        "larger GPU in the cluster file.",
    ),
    FailureClass(
        "DeviceFailure",
        "A GPU, its driver or the link between GPUs failed.",
        "retry",
        "Report the node to the cluster's administrators; add it to `exclude` in the cluster file.",
        "device_failures",
        exclude_nodes=True,
    ),
    FailureClass(
        "Timeout",
        "The job reached its time limit.",
        "retry_more_time",
        "Raise the stage's time in the cluster file; a stage with checkpoints goes on from its "
        "last one.",
        "time_retries",
    ),
    FailureClass(
        "Deadline",
        "The job's --deadline passed.",
        "give_up",
        "Move or remove --deadline in `extra_sbatch` of the cluster file, then materialize again.",
    ),
    FailureClass(
        "NodeFail",
        "A node of the job failed.",
        "retry",
        "Materialize again; if it stays so, exclude the node in the cluster file.",
        "node_failures",
        exclude_nodes=True,
    ),
    FailureClass(
        "BootFail",
        "A node did not boot for the job.",
        "retry",
        "Materialize again; if it stays so, exclude the node in the cluster file.",
        "node_failures",
        exclude_nodes=True,
    ),
    FailureClass(
        "LaunchFailure",
        "SLURM could not start the job's script on its node.",
        "retry",
        "Ask the administrators about the node; exclude it in the cluster file until it is mended.",
        "node_failures",
        exclude_nodes=True,
    ),
    FailureClass(
        "Preempted",
        "A job of higher priority took the nodes.",
        "retry",
        "Materialize again, or choose a partition or QOS that is not preempted.",
        "preemptions",
    ),
    FailureClass(
        "CancelledByOther",
        "Somebody or something other than this orchestrator cancelled the job.",
        "give_up",
        "Find out who cancelled it and why, then materialize again.",
    ),
    FailureClass(
        "DependencyNeverSatisfied",
        "The job waited for another job that did not end as it had to.",
        "give_up",
        "Look at the job that it depended on, then materialize again: what is upstream comes "
        "first.",
    ),
    FailureClass(
        "OutputNotWritable",
        "SLURM could not open the job's output file, so that the script never ran.",
        "give_up",
        "Make the home folder exist and writable on the compute nodes, then materialize again.",
    ),
    FailureClass(
        "NeverStarts",
        "The job asks for what its partition, account or QOS never grants, and would wait for "
        "ever.",
        "give_up",
        "Cancel it; ask for less (nodes, time) or for another partition in the cluster file.",
    ),
    FailureClass(
        "SubmissionRejected",
        "sbatch refused the job.",
        "give_up",
        "Mend what sbatch's message names in the cluster file; `activeuf cluster check` tries it.",
    ),
    FailureClass(
        "SchedulerUnreachable",
        "SLURM did not answer, and whether the job was taken is not known.",
        "wait",
        "Wait: the job is looked for by its name before anything is submitted again.",
    ),
    FailureClass(
        "Lost",
        "SLURM no longer knows the job, and there is no artifact.",
        "retry",
        "Materialize again; if it stays so, ask whether the controller lost its state.",
        "lost",
    ),
    FailureClass(
        "Superseded",
        "Another attempt owns the artifact, so that this job may not publish.",
        "wait",
        "Nothing: the attempt that took over publishes. `activeuf jobs` shows it.",
    ),
)
FAILURES: Mapping[str, FailureClass] = {row.name: row for row in _TABLE}
"""Every failure class by name, in the order in which people should read about them."""

_BY_STATE = {
    "BOOT_FAIL": "BootFail",
    "COMPLETED": "CompletedWithoutArtifact",
    "DEADLINE": "Deadline",
    "NODE_FAIL": "NodeFail",
    "OUT_OF_MEMORY": "OutOfMemory",
    "PREEMPTED": "Preempted",
    "REVOKED": "Preempted",
    "TIMEOUT": "Timeout",
}
_BY_ENVIRONMENT = frozenset(_BY_STATE) - {"COMPLETED"}


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


_UNKNOWN_OUTCOME = re.compile(
    r"Socket timed out|Unable to contact slurm controller|temporarily unable|"
    r"Zero Bytes were transmitted|Connection (?:refused|reset|timed out)|"
    r"(?:Communication|Transport).*(?:failure|shutdown)|Job submission timed out|"
    r"backup controller|Slurm is not (?:running|responding)"
)


def classify_submission(stderr: str) -> FailureClass:
    """Return what a failed sbatch means: SLURM refused, or its answer was not heard."""
    unknown = not stderr.strip() or _UNKNOWN_OUTCOME.search(stderr)
    return FAILURES["SchedulerUnreachable" if unknown else "SubmissionRejected"]


def decide(
    failure_class: FailureClass, ending: Ending, tries: Mapping[str, int], limits: Limits
) -> Decision:
    """Say what happens after a job ended without its artifact.

    Args:
        tries: per class name, how many earlier attempts at the artifact ended so; without this one.
    """
    if failure_class.action == "wait":
        return Decision("wait", failure_class.remedy)
    if failure_class.name == "StageError" and ending.is_retryable:
        return _retry(failure_class, "retry", "stage_retries", ending, tries, limits)
    if failure_class.budget is None:
        return Decision("give_up", f"{failure_class.name} is not tried again.")
    if failure_class.name == "Timeout" and ending.checkpoint_advanced:
        return _resume(tries, limits)
    if failure_class.name == "Timeout":
        return _more_time(failure_class, ending, tries, limits)
    if failure_class.name == "OutOfMemory":
        return _more_memory(failure_class, ending, tries, limits)
    return _retry(failure_class, "retry", failure_class.budget, ending, tries, limits)


def explain(ending: Ending, failure_class: FailureClass, log_path: str) -> str:
    """Return what a person needs to know, in a few lines: what ended how and where, what that
    means, what the stage said, and the next thing to do.
    """
    job = f"SLURM job {ending.slurm_job_id}" if ending.slurm_job_id else "a SLURM job"
    state = ending.state or "not known to SLURM any more"
    reason = f" ({ending.reason})" if ending.reason not in ("", "None") else ""
    lines = [
        f"{failure_class.name}: {job}: {state}{reason}{_exit_words(ending)}, "
        f"{_elapsed_words(ending.elapsed_s)}{f', on {ending.nodes}' if ending.nodes else ''}.",
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
    if ending.stage_kind in PERMANENT_KINDS:
        return "StageError"
    if ending.state in _BY_ENVIRONMENT:
        return _BY_STATE[ending.state]
    if ending.stage_kind == TIME_KIND:
        return "Timeout"
    if _ran_out_of_memory(ending):
        return "OutOfMemory"
    if by_log := _named_by_log(ending):
        return by_log
    if ending.stage_failure:
        return "StageError"
    return _by_end(ending)


def _is_superseded(ending: Ending) -> bool:
    return ending.state == "FAILED" and (ending.exit_code, ending.signal) == (EXIT_SUPERSEDED, 0)


def _ran_out_of_memory(ending: Ending) -> bool:
    """Whether main memory ran out where SLURM only says FAILED: polled limits, or an error of
    Python's.
    """
    return ending.stage_kind in MEMORY_KINDS or bool(_MEMORY.search(ending.slurm_log_tail))


def _named_by_log(ending: Ending) -> str:
    text = f"{ending.stage_kind}: {(ending.stage_failure or {}).get('message', '')}"
    text = f"{text}\n{ending.log_tail}\n{ending.slurm_log_tail}"
    if ending.stage_kind == "OutOfMemoryError" or _CUDA_MEMORY.search(text):
        return "CudaOutOfMemory"
    return "DeviceFailure" if _DEVICE.search(text) else ""


def _by_end(ending: Ending) -> str:
    if ending.state == "CANCELLED":
        never = ending.reason == "DependencyNeverSatisfied"
        return "DependencyNeverSatisfied" if never else "CancelledByOther"
    if ending.state in _BY_STATE:
        return _BY_STATE[ending.state]
    if problem := pending_problem(ending.state, ending.reason):
        return problem.name
    return _by_exit(ending) if ending.state == "FAILED" else "Lost"


def _by_exit(ending: Ending) -> str:
    number = signal_of(ending)
    if number == OUTPUT_NOT_OPENED:
        return "OutputNotWritable"
    if 0 < number <= LAST_SIGNAL and number < signals.SIGRTMIN:
        return "Signal"
    if number or (ending.reason in _LAUNCH_REASONS and not ending.exit_code):
        return "LaunchFailure"
    return "NonZeroExit"


def signal_of(ending: Ending) -> int:
    """Return the signal that ended a job, also where a shell made 137 of SIGKILL; 0 for none."""
    if ending.signal:
        return ending.signal
    if match := _RAISED.match(ending.reason):
        return int(match[1])
    code = ending.exit_code or 0
    return code - 128 if 128 < code < 128 + signals.SIGRTMIN else 0


def _spent(budget: str, tries: Mapping[str, int]) -> int:
    """Classes with the same budget share it: a bad node fails in more than one way."""
    return sum(count for name, count in tries.items() if _budget_of(name) == budget)


def _budget_of(name: str) -> str:
    row = FAILURES.get(name)
    return "" if row is None else row.budget or ("stage_retries" if name == "StageError" else "")


def _retry(
    failure_class: FailureClass,
    action: Action,
    budget: LimitName,
    ending: Ending,
    tries: Mapping[str, int],
    limits: Limits,
) -> Decision:
    spent, allowed = _spent(budget, tries), int(getattr(limits, budget))
    if spent >= allowed:
        return Decision("give_up", f"{failure_class.name} after {spent} of {allowed} retries.")
    excluded = ending.nodes if failure_class.exclude_nodes else ""
    place = f", not on {excluded}" if excluded else ""
    return Decision(
        action,
        f"{failure_class.name}: retry {spent + 1} of {allowed}{place}.",
        exclude_nodes=excluded,
    )


def _resume(tries: Mapping[str, int], limits: Limits) -> Decision:
    spent = tries.get("Timeout", 0)
    if spent >= limits.resumes:
        return Decision("give_up", f"Timeout after {spent} of {limits.resumes} resumptions.")
    return Decision(
        "retry", f"Timeout: goes on from its checkpoint ({spent + 1} of {limits.resumes})."
    )


def _more_time(
    failure_class: FailureClass, ending: Ending, tries: Mapping[str, int], limits: Limits
) -> Decision:
    before = ending.time_limit_s
    after = _grown(before, limits.time_growth, limits.max_time_s)
    if before is not None and after == before:
        return Decision("give_up", f"Timeout at {before} s, and no more time is allowed.")
    decision = _retry(failure_class, "retry_more_time", "time_retries", ending, tries, limits)
    if not decision.is_retry or after is None:
        return decision
    reason = f"{decision.reason[:-1]}, with {after} s instead of {before} s."
    return Decision(decision.action, reason, time_limit_s=after)


def _more_memory(
    failure_class: FailureClass, ending: Ending, tries: Mapping[str, int], limits: Limits
) -> Decision:
    before = ending.memory_mb
    after = _grown(before, limits.memory_growth, limits.max_memory_mb)
    if before is not None and after == before:
        return Decision("give_up", f"OutOfMemory at {before} MB, and no more is allowed.")
    decision = _retry(failure_class, "retry_more_memory", "memory_retries", ending, tries, limits)
    if not decision.is_retry or after is None:
        return decision
    reason = f"{decision.reason[:-1]}, with {after} MB instead of {before} MB."
    return Decision(decision.action, reason, memory_mb=after)


def _grown(before: int | None, growth: float, most: int | None) -> int | None:
    """Return the next size of a resource; never less than before, never more than the limit."""
    if before is None:
        return None
    wanted = round(before * growth)
    return max(before, wanted if most is None else min(wanted, most))


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
