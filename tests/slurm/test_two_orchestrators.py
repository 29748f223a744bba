"""Two orchestrators want the same artifacts: one job each, and both get the results."""

from __future__ import annotations

import signal

import pytest

from tests.slurm.rig import A, Rig

pytestmark = pytest.mark.slurm


def test_at_once(rig: Rig) -> None:
    nodes = [(A[0], name) for name in ("exp-a", "exp-b", "exp-c")]
    rig.tell("1")
    one = rig.orchestrator(*nodes)
    other = rig.orchestrator(*nodes)
    assert (one.wait(), other.wait()) == (0, 0)
    for each in (one, other):
        done = {event["node"] for event in each.events("Completed")}
        assert done == {"@".join(node) for node in nodes}
    assert [len(rig.workers(node)) for node in nodes] == [1, 1, 1]
    assert [rig.attempts(node) for node in nodes] == [1, 1, 1]


@pytest.mark.parametrize("place", ["after-attempt", "before-sbatch", "after-sbatch", "after-id"])
def test_one_comes_while_the_other_is_frozen_in_its_submission(rig: Rig, place: str) -> None:
    rig.configure(lease_s=1.0)
    slow = rig.orchestrator(crash=place, crash_with="SIGSTOP")
    rig.wait_until(slow.mark.exists)
    quick = rig.orchestrator()
    assert quick.wait() == 0
    slow.thaw()
    assert slow.wait() == 0
    assert slow.events("Completed")
    assert len(rig.workers()) == 1
    rig.wait_until(lambda: not rig.left_over())


def test_both_follow_a_retry_to_the_same_job(rig: Rig) -> None:
    rig.tell("1 stumbles once 1")
    one = rig.orchestrator()
    other = rig.orchestrator()
    assert (one.wait(), other.wait()) == (0, 0)
    assert len(rig.workers()) == rig.attempts() == 2
    assert len(rig.jobs()) == 2


def test_a_failure_is_told_to_both(rig: Rig) -> None:
    rig.tell("1 fails")
    one = rig.orchestrator()
    other = rig.orchestrator()
    assert (one.wait(), other.wait()) == (0, 0)
    told = [each.events("Failed")[0]["kind"] for each in (one, other)]
    assert told == ["DataError", "DataError"]


def test_the_first_leaves_and_the_second_stays(rig: Rig) -> None:
    rig.tell("2")
    first = rig.orchestrator()
    second = rig.orchestrator()
    rig.wait_for_worker()
    second.wait_for("Began")
    first.send(signal.SIGTERM)
    first.wait()
    assert second.wait() == 0
    assert len(rig.workers()) == 1
    assert rig.is_complete()
