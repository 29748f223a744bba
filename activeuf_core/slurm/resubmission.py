"""From the cluster file's limits to a decision, and from a decision to what is asked for next."""

from __future__ import annotations

from activeuf_core.slurm import cluster as files
from activeuf_core.slurm.cluster import Resources
from activeuf_core.slurm.retries import Decision, Limits
from activeuf_core.slurm.values import kibibytes, minutes_of, time_of

EXCLUDE = "--exclude="


def limits_of(retries: files.Limits) -> Limits:
    """Return the budgets of a cluster file."""
    return Limits(
        node_failures=retries.node_failures,
        preemptions=retries.preemptions,
        resumes=retries.requeues,
        memory_growth=retries.memory_growth,
        time_growth=retries.time_growth,
        max_memory_mb=int(kibibytes(retries.memory) // 1024) if retries.memory else None,
        max_time_s=60 * minutes_of(retries.time) if retries.time else None,
    )


def next_resources(before: Resources, decision: Decision) -> Resources:
    """Return what the next attempt asks for: more, elsewhere, or the same."""
    changes: dict[str, object] = {}
    if decision.memory_mb is not None:
        changes["memory"] = f"{decision.memory_mb}M"
    if decision.time_limit_s is not None:
        changes["time"] = time_of(-(-decision.time_limit_s // 60))
    if decision.exclude_nodes:
        changes["extra_sbatch"] = _excluding(before.extra_sbatch, decision.exclude_nodes)
    return before.model_copy(update=changes)


def _excluding(options: tuple[str, ...], nodes: str) -> tuple[str, ...]:
    """Return options that keep away from more nodes; sbatch heeds the last --exclude only."""
    before = [option.removeprefix(EXCLUDE) for option in options if option.startswith(EXCLUDE)]
    others = tuple(option for option in options if not option.startswith(EXCLUDE))
    return (*others, EXCLUDE + ",".join([*before, nodes]))
