"""What happens after a SLURM job ended without its artifact: tried again, given up, or waited for.

In: the class of the ending, the ending, how often the artifact was tried, the limits of the cluster
file. Out: a `Decision`. Pure, standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from activeuf_core.slurm.failure_classes import FAILURES, Action, BudgetName, FailureClass
from activeuf_core.slurm.failures import Ending


@dataclass(frozen=True)
class Limits:
    """How often a job is tried again, per budget, and how far its resources may grow.

    A budget counts the earlier attempts at the same artifact that ended in one of its classes.
    `max_memory_mb` and `max_time_s` are the most that a retry may ask for, None for no more than
    before.
    """

    node_failures: int = 3
    device_failures: int = 1
    preemptions: int = 20
    lost: int = 2
    stage_retries: int = 1
    resumes: int = 20
    memory_growth: float = 1.5
    time_growth: float = 2.0
    max_memory_mb: int | None = None
    max_time_s: int | None = None


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


def decide(
    failure_class: FailureClass, ending: Ending, tries: Mapping[str, int], limits: Limits
) -> Decision:
    """Say what happens after a job ended without its artifact.

    Args:
        tries: per class name, how many earlier attempts at the artifact ended so; without this one.
    """
    name = failure_class.name
    if name == "StageError" and ending.is_retryable:
        return _retry(failure_class, "stage_retries", ending, tries, limits)
    if name == "OutOfMemory":
        return _more_memory(ending, limits)
    if name == "Timeout" and not ending.checkpoint_advanced:
        return _more_time(ending, limits)
    if failure_class.budget:
        return _retry(failure_class, failure_class.budget, ending, tries, limits)
    if failure_class.action == "wait":
        return Decision("wait", failure_class.meaning)
    return Decision("give_up", f"{name} is not tried again.")


def _retry(
    failure_class: FailureClass,
    budget: BudgetName,
    ending: Ending,
    tries: Mapping[str, int],
    limits: Limits,
) -> Decision:
    # Classes of one budget share it: a bad node fails in more than one way.
    spent = sum(count for name, count in tries.items() if _budget(name) == budget)
    allowed = int(getattr(limits, budget))
    if spent >= allowed:
        return Decision(
            "give_up",
            f"{failure_class.name}: {spent} earlier of {allowed} allowed retries ({budget}).",
        )
    excluded = _single_node(ending.nodes) if failure_class.exclude_nodes else ""
    place = f", not on {excluded}" if excluded else ""
    reason = f"{failure_class.name}: retry {spent + 1} of {allowed}{place}."
    return Decision("retry", reason, exclude_nodes=excluded)


def _budget(name: str) -> str:
    if name == "StageError":
        return "stage_retries"
    return (FAILURES[name].budget or "") if name in FAILURES else ""


def _single_node(nodes: str) -> str:
    """Return the node to keep away from, "" for several: which one failed is not known, and SLURM
    itself keeps away from one that is down.
    """
    return "" if "," in nodes or "[" in nodes else nodes


def _more_memory(ending: Ending, limits: Limits) -> Decision:
    before = ending.memory_mb
    after = _grown(before, limits.memory_growth, limits.max_memory_mb)
    if after is None:
        return Decision("give_up", f"OutOfMemory with {_shown(before)} MB; more is not allowed.")
    reason = f"OutOfMemory with {before} MB: retry with {after} MB."
    return Decision("retry_more_memory", reason, memory_mb=after)


def _more_time(ending: Ending, limits: Limits) -> Decision:
    before = ending.time_limit_s
    after = _grown(before, limits.time_growth, limits.max_time_s)
    if after is None:
        return Decision(
            "give_up",
            f"Timeout after {_shown(before)} s without a new checkpoint; more is not allowed.",
        )
    reason = f"Timeout after {before} s without a new checkpoint: retry with {after} s."
    return Decision("retry_more_time", reason, time_limit_s=after)


def _grown(before: int | None, growth: float, most: int | None) -> int | None:
    """Return the next size of a resource, None when it cannot grow. It grows at every retry and
    never beyond the limit, so that the retries end.
    """
    if before is None or most is None or before >= most:
        return None
    return min(max(before + 1, round(before * growth)), most)


def _shown(value: int | None) -> str:
    return "an unknown number of" if value is None else str(value)
