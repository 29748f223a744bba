"""The launcher on a real cluster where all goes well: facts, secrets, cancelling, attaching."""

from __future__ import annotations

import stat

import pytest

from activeuf_dagster.events import Event, Submitted
from tests.slurm.rig import A, Rig, completed, failures

pytestmark = pytest.mark.slurm
SECRET = "hush-b8c1f2"
"""Made up, to be searched for."""


def test_an_artifact_says_where_it_was_made_and_with_what(rig: Rig) -> None:
    rig.configure(defaults={"memory": "200M", "cpus": 2})
    assert completed(rig.run()) == {A}
    manifest = rig.manifest()
    assert manifest is not None
    facts = manifest.provenance
    assert facts["slurm_job_id"] == rig.workers()[0].slurm_job_id
    assert facts["nodes"] in rig.cluster.nodes
    assert (facts["cpus"], facts["gpus"], facts["slurm_restarts"]) == (2, 0, 0)
    assert 0 <= facts["queue_wait_s"] < 3600


def test_what_is_complete_is_adopted_without_a_job(rig: Rig) -> None:
    rig.run()
    assert completed(rig.run()) == {A}
    assert len(rig.jobs()) == 1


def test_secrets_reach_the_stage_and_nothing_else(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.configure(secrets=["TOY_SECRET"])
    monkeypatch.setenv("TOY_SECRET", SECRET)
    rig.tell("waits")
    orchestrator = rig.orchestrator()
    worker = rig.wait_for_worker()
    with open(f"/proc/{worker.pid}/environ") as environment:
        assert f"TOY_SECRET={SECRET}" in environment.read()
    folder = rig.layout.wave(rig.tokens()[0])
    assert stat.S_IMODE(folder.secrets.stat().st_mode) == 0o600
    shown = rig.cluster.run("scontrol", "show", "job", "-dd", worker.slurm_job_id).stdout
    assert SECRET not in shown
    rig.go()
    assert orchestrator.wait() == 0
    assert not folder.secrets.exists()
    holders = [
        path
        for root in (rig.folder, rig.cluster.folder)
        for path in root.rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    ]
    assert holders == []


@pytest.mark.parametrize(("phase", "begin"), [("queued", "now+1hour"), ("running", "now")])
def test_cancelled(rig: Rig, phase: str, begin: str) -> None:
    rig.tell("hangs")
    rig.configure(defaults={"memory": "200M", "extra_sbatch": [f"--begin={begin}"]})
    engine = rig.engine()
    events = engine.run([A])
    job_id = job_of(next(events))
    launcher = engine.launchers["cluster"]
    rig.wait_until(lambda: launcher.poll()[job_id].phase == phase and rig.jobs())
    if phase == "running":
        rig.wait_for_worker()
    assert engine.cancel() == [job_id]
    rig.wait_until(lambda: not rig.left_over())
    assert launcher.poll()[job_id].kind == "Cancelled"
    assert {job.state for job in rig.jobs()} == {"CANCELLED"}
    events.close()


def test_one_element_of_an_array_is_cancelled_alone(rig: Rig) -> None:
    rig.tell("waits")
    nodes = [(A[0], name) for name in ("exp-a", "exp-b", "exp-c")]
    engine = rig.engine()
    events = engine.run(nodes)
    job_ids = [job_of(next(events)) for _ in nodes]
    rig.wait_for_worker(nodes[1])
    engine.launchers["cluster"].cancel([job_ids[1]])
    rig.go()
    told = list(events)
    assert completed(told) == {nodes[0], nodes[2]}
    assert failures(told)[nodes[1]].failure.kind == "Cancelled"


def job_of(event: Event) -> str:
    """Return the job that an event says was submitted."""
    assert isinstance(event, Submitted)
    return event.job_id
