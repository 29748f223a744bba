"""The orchestrator dies at every boundary of the protocol; whoever comes next goes on."""

from __future__ import annotations

import signal

import pytest

from tests.slurm.rig import A, Rig, completed

pytestmark = pytest.mark.slurm

BOUNDARIES = (
    "before-intent",
    "before-attempt",
    "after-attempt",
    "after-intent",
    "before-sbatch",
    "after-sbatch",
    "after-id",
    "after-release",
    "after-completion",
)


def assert_made_exactly_once(rig: Rig) -> None:
    """One worker, one whole artifact, one job, and nothing left in the queue."""
    assert len(rig.workers()) == 1
    assert rig.is_complete()
    rig.wait_until(lambda: not rig.left_over())
    assert [job.raw_id for job in rig.jobs()] == [rig.workers()[0].slurm_job_id]


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_killed_at_a_boundary_and_materialized_again(rig: Rig, boundary: str) -> None:
    first = rig.orchestrator(crash=boundary)
    assert first.wait() == -signal.SIGKILL
    assert first.mark.exists()
    assert completed(rig.run()) == {A}
    assert_made_exactly_once(rig)


def test_killed_while_the_job_runs(rig: Rig) -> None:
    rig.tell("2")
    first = rig.orchestrator()
    rig.wait_for_worker()
    first.kill()
    second = rig.orchestrator()
    assert second.wait() == 0
    assert second.events("Attached")
    assert not second.events("Submitted")
    assert_made_exactly_once(rig)


def test_killed_while_the_job_runs_and_back_after_its_end(rig: Rig) -> None:
    rig.tell("1")
    first = rig.orchestrator()
    rig.wait_for_worker()
    first.kill()
    rig.wait_until(rig.is_complete)
    second = rig.orchestrator()
    assert second.wait() == 0
    assert [event["is_adopted"] for event in second.events("Completed")] == [True]
    assert_made_exactly_once(rig)


def test_killed_again_and_again(rig: Rig) -> None:
    for boundary in ("after-attempt", "after-intent", "before-sbatch", "after-sbatch", "after-id"):
        doomed = rig.orchestrator(crash=boundary)
        doomed.mark.unlink(missing_ok=True)
        doomed.wait()
    assert completed(rig.run()) == {A}
    assert_made_exactly_once(rig)


def test_interrupted_it_names_what_goes_on_and_the_next_attaches(rig: Rig) -> None:
    rig.tell("2")
    first = rig.orchestrator()
    rig.wait_for_worker()
    first.send(signal.SIGTERM)
    assert first.wait() == 130
    job_id = first.events("Submitted")[0]["job_id"]
    named = first.events("Ended")[0]["left_behind"]
    assert named == {job_id: f"private job {rig.workers()[0].slurm_job_id}"}
    second = rig.orchestrator()
    assert second.wait() == 0
    assert second.events("Attached")[0]["job_id"] == job_id
    assert_made_exactly_once(rig)
