"""The controller dies, freezes or forgets: no job runs twice, no partition changes its state."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator

import pytest

from activeuf_core.slurm.submission import FRESH_S
from activeuf_core.slurm.waves import Ledger
from tests.slurm.rig import A, Rig, completed, is_alive

pytestmark = pytest.mark.slurm


def assert_made_once(rig: Rig) -> None:
    """One artifact, made by the newest of the attempts and published once; nothing waits."""
    manifest = rig.manifest()
    assert manifest is not None
    assert manifest.provenance["job_id"] == rig.run_folder().path.name
    assert not rig.layout.trash.exists()
    assert len(rig.workers()) == 1
    rig.wait_until(lambda: not rig.left_over())


@contextlib.contextmanager
def forgotten(rig: Rig) -> Iterator[None]:
    """Kill the controller after a block; back, it knows nothing of what the block did.

    It writes its state every five seconds at most: here just before the block, and not after it.
    """
    state, kept = rig.cluster.folder / "state", rig.cluster.folder / "state.kept"
    shutil.copytree(state, kept, ignore=shutil.ignore_patterns("*.new"))
    yield
    rig.cluster.kill("slurmctld")
    shutil.rmtree(state)
    kept.rename(state)
    rig.cluster.start()


def is_saved(rig: Rig) -> bool:
    """Whether our submission is in the controller's state on disk."""
    path = rig.cluster.folder / "state" / "job_state"
    return path.exists() and rig.tokens()[0].encode() in path.read_bytes()


def has_saved_since(rig: Rig, moment: float) -> bool:
    """Whether the controller has written its state after a moment."""
    path = rig.cluster.folder / "state" / "job_state"
    return path.exists() and path.stat().st_mtime > moment


@contextlib.contextmanager
def remembered(rig: Rig) -> Iterator[None]:
    """Kill the controller after a block, once what the block did is in its state on disk."""
    yield
    rig.wait_until(lambda: is_saved(rig))
    rig.cluster.kill("slurmctld")
    rig.cluster.start()
    assert rig.jobs()


@pytest.mark.parametrize("place", ["after-sbatch", "after-id", "after-release"])
@pytest.mark.parametrize("fault", [forgotten, remembered])
def test_killed_after_a_submission(
    own_rig: Rig, place: str, fault: Callable[[Rig], contextlib.AbstractContextManager[None]]
) -> None:
    rig = own_rig
    with fault(rig):
        orchestrator = rig.orchestrator(crash=place, crash_with="SIGSTOP")
        rig.wait_until(orchestrator.mark.exists)
    orchestrator.thaw()
    assert orchestrator.wait() == 0
    assert orchestrator.events("Completed")
    assert_made_once(rig)


@pytest.mark.parametrize("place", ["after-sbatch", "after-id"])
def test_a_forgotten_id_that_was_given_to_another_is_not_ours(own_rig: Rig, place: str) -> None:
    rig = own_rig
    with forgotten(rig):
        orchestrator = rig.orchestrator(crash=place, crash_with="SIGSTOP")
        rig.wait_until(orchestrator.mark.exists)
    assert not rig.jobs()
    foreign = rig.cluster.submit("--job-name=foreign", "--hold", "--wrap", "true")
    assert foreign in rig.cluster.submissions()[:-1]
    began = Ledger(rig.layout).submitting_since(rig.tokens()[0])
    rig.wait_until(lambda: began and time.time() > began + FRESH_S)
    orchestrator.thaw()
    assert orchestrator.wait() == 0
    assert_made_once(rig)
    assert rig.cluster.state(foreign) == "PENDING"


def test_frozen_at_submission_and_thawed_later(own_rig: Rig) -> None:
    rig = own_rig
    rig.configure(call_timeout_s=2.0)
    with rig.cluster.frozen():
        orchestrator = rig.orchestrator()
        rig.wait_until(lambda: "did not answer" in orchestrator.errors)
    assert orchestrator.wait() == 0
    assert orchestrator.events("Completed")
    assert len(rig.jobs()) == 1
    assert_made_once(rig)


def test_dead_for_a_while_in_the_middle(own_rig: Rig) -> None:
    rig = own_rig
    rig.tell("waits")
    orchestrator = rig.orchestrator()
    rig.wait_for_worker()
    rig.wait_until(lambda: has_saved_since(rig, rig.run_folder().starts.stat().st_mtime))
    rig.cluster.kill("slurmctld")
    rig.wait_until(lambda: "what was seen last stands" in orchestrator.errors)
    assert not orchestrator.events("Failed", "Retried")
    rig.cluster.start()
    rig.wait_until(lambda: "the scheduler answers again" in orchestrator.errors)
    rig.go()
    assert orchestrator.wait() == 0
    assert not orchestrator.events("Failed", "Retried")
    assert_made_once(rig)


def test_a_start_that_was_forgotten_happens_again_and_one_publishes(own_rig: Rig) -> None:
    rig = own_rig
    rig.tell("waits")
    rig.cluster.run("scontrol", "update", "partition=normal", "state=down", check=True)
    orchestrator = rig.orchestrator()
    rig.wait_until(lambda: "PartitionDown" in rig.cluster.squeue("--format=%r"))
    rig.wait_until(lambda: is_saved(rig))
    with forgotten(rig):
        rig.cluster.run("scontrol", "update", "partition=normal", "state=up", check=True)
        twin = rig.wait_for_worker()
    rig.cluster.run("scontrol", "update", "partition=normal", "state=up", check=True)
    rig.wait_for_worker(count=2)
    rig.wait_until(lambda: not is_alive(twin.pid))
    rig.go()
    assert orchestrator.wait() == 0
    manifest = rig.manifest()
    assert manifest is not None
    newest = (rig.run_folder().path.name, rig.run_folder().start_numbers()[-1])
    assert (manifest.provenance["job_id"], manifest.provenance["start"]) == newest


def test_an_artifact_counts_while_the_controller_is_dead(own_rig: Rig) -> None:
    rig = own_rig
    rig.tell("waits")
    orchestrator = rig.orchestrator()
    rig.wait_for_worker()
    rig.cluster.kill("slurmctld")
    rig.go()
    assert orchestrator.wait() == 0
    assert orchestrator.events("Completed")


def test_a_controller_that_was_never_there_is_waited_for(own_rig: Rig) -> None:
    rig = own_rig
    rig.cluster.kill("slurmctld")
    orchestrator = rig.orchestrator()
    rig.wait_until(lambda: "Unable to contact slurm controller" in orchestrator.errors)
    rig.cluster.start()
    assert orchestrator.wait() == 0
    assert completed(rig.run()) == {A}
    assert_made_once(rig)
