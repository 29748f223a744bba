"""A run of the whole graph dies, or loses its database: what is complete is never made again."""

from __future__ import annotations

import shutil
import signal
import sys

import dagster as dg
import pytest

from tests.slurm.rig import A, Orchestrator, Rig

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
MATERIALIZE = [sys.executable, "-m", "activeuf_dagster.cli", "materialize", "exp-a"]
MADE = (A, ("dpo_model", "exp-a"), ("reward_model", "exp-a"), ("gsm8k_score", "exp-a"))


def materialize(rig: Rig, crash: str = "") -> int:
    """Run `activeuf materialize exp-a` to its end; return the exit code."""
    return Orchestrator(rig, MATERIALIZE, crash).wait()


def recorded(asset: str) -> list[str]:
    """Return the partitions of an asset that the instance has on record."""
    with dg.DagsterInstance.get() as instance:
        return sorted(instance.get_materialized_partitions(dg.AssetKey(asset)))


def test_killed_before_an_event_then_without_its_database(rig: Rig) -> None:
    (rig.folder / "dagster").mkdir()
    assert materialize(rig, "before-event") == -signal.SIGKILL  # what was complete is recorded
    assert recorded(A[0]) == []
    assert materialize(rig) == 0
    assert recorded(A[0]) == ["exp-a"]
    jobs = [job.raw_id for job in rig.jobs()]
    shutil.rmtree(rig.folder / "dagster")
    (rig.folder / "dagster").mkdir()
    assert materialize(rig) == 0
    assert recorded(A[0]) == recorded("gsm8k_score") == ["exp-a"]
    assert [job.raw_id for job in rig.jobs()] == jobs
    assert [len(rig.workers(node)) for node in MADE] == [1, 1, 1, 1]
