"""From a decision to what is asked for next."""

from __future__ import annotations

from activeuf_core.slurm import cluster
from activeuf_core.slurm.cluster import Resources
from activeuf_core.slurm.resubmission import limits_of, next_resources
from activeuf_core.slurm.retries import Decision

BEFORE = Resources(memory="1G", time="01:00:00", extra_sbatch=("--nice=5",))


def test_the_limits_of_a_cluster_file() -> None:
    limits = limits_of(cluster.Limits(memory="2G", time="02:30:00", requeues=3))
    assert (limits.max_memory_mb, limits.max_time_s, limits.resumes) == (2048, 9000, 3)


def test_no_limits_mean_no_growth() -> None:
    limits = limits_of(cluster.Limits())
    assert limits.max_memory_mb is limits.max_time_s is None


def test_more_memory_and_more_time() -> None:
    after = next_resources(BEFORE, Decision("retry", "", memory_mb=1500, time_limit_s=3601))
    assert (after.memory, after.minutes) == ("1500M", 61)
    assert after.extra_sbatch == BEFORE.extra_sbatch


def test_nodes_to_keep_away_from_add_up_in_one_option() -> None:
    once = next_resources(BEFORE, Decision("retry", "", exclude_nodes="node1"))
    twice = next_resources(once, Decision("retry", "", exclude_nodes="node2"))
    assert twice.extra_sbatch == ("--nice=5", "--exclude=node1,node2")


def test_a_plain_retry_asks_for_the_same() -> None:
    assert next_resources(BEFORE, Decision("retry", "")) == BEFORE
