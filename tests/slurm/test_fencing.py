"""A node is given up while its processes run on: the twin neither publishes nor overwrites."""

from __future__ import annotations

import pytest

from activeuf_core.artifacts import read_json
from activeuf_core.paths import RunFolder
from tests.slurm.rig import Rig, Worker, is_alive

pytestmark = pytest.mark.slurm


def node_of(rig: Rig, worker: Worker) -> str:
    """Return the node that a worker runs on, as its start wrote down."""
    return read_json(rig.run_folder().starts / f"{int(worker.restart) + 1}.json")["host"]


def states(run: RunFolder) -> set[str]:
    """Return what a start's wrapper wrote last of its units."""
    return set(read_json(run.status)["units"].values())


def test_a_requeued_job_takes_over_from_its_living_twin(own_rig: Rig) -> None:
    rig, cluster = own_rig, own_rig.cluster
    rig.tell("hangs once 1")
    orchestrator = rig.orchestrator()
    twin = rig.wait_for_worker()
    lost = node_of(rig, twin)
    cluster.lose_node(lost)
    assert is_alive(twin.pid)
    cluster.run_at_once(twin.slurm_job_id, avoid=lost)
    assert orchestrator.wait() == 0
    assert not orchestrator.events("Retried")
    rig.wait_until(lambda: not is_alive(twin.pid))
    newest = rig.workers()[-1]
    assert (newest.slurm_job_id, newest.restart) == (twin.slurm_job_id, "1")
    manifest = rig.manifest()
    assert manifest is not None
    assert (manifest.provenance["start"], manifest.provenance["slurm_restarts"]) == (2, 1)
    rig.wait_until(lambda: states(rig.run_folder()) == {"superseded"})
    assert rig.attempts() == 1


def test_a_new_attempt_takes_over_from_a_living_job(own_rig: Rig) -> None:
    rig, cluster = own_rig, own_rig.cluster
    rig.tell("hangs once 1")
    orchestrator = rig.orchestrator()
    twin = rig.wait_for_worker()
    lost, first_run = node_of(rig, twin), rig.run_folder()
    cluster.run("scontrol", "update", f"job={twin.slurm_job_id}", "Requeue=0", check=True)
    cluster.lose_node(lost)
    assert orchestrator.wait() == 0
    reason = orchestrator.events("Retried")[0]["reason"]
    assert "NodeFail: retry 1 of 3" in reason
    assert f"not on {lost}" in reason
    assert rig.attempts() == len(rig.workers()) == 2
    assert node_of(rig, rig.workers()[-1]) != lost
    rig.wait_until(lambda: not is_alive(twin.pid))
    rig.wait_until(lambda: states(first_run) == {"superseded"})


def test_a_job_that_is_requeued_after_it_published_runs_nothing(own_rig: Rig) -> None:
    rig, cluster = own_rig, own_rig.cluster
    rig.tell("1")
    orchestrator = rig.orchestrator()
    worker = rig.wait_for_worker()
    rig.wait_until(rig.is_complete)
    cluster.run("scontrol", "requeue", worker.slurm_job_id, check=True)
    assert orchestrator.wait() == 0
    cluster.run("scontrol", "update", f"job={worker.slurm_job_id}", "StartTime=now")
    rig.wait_until(lambda: not rig.left_over())
    assert len(rig.workers()) == 1
