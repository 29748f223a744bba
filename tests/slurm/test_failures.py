"""Every way to fail that a real cluster shows: its class, what people read, what comes next."""

from __future__ import annotations

import re

import pytest

from activeuf_dagster.events import Failure, Retried
from tests.slurm.rig import A, Rig, completed, failures

pytestmark = pytest.mark.slurm
FACTS = re.compile(r"(\w+): SLURM job (\S+): (\w+).*after \d+:\d\d:\d\d", re.DOTALL)


def failure_of(rig: Rig) -> Failure:
    """Run until the artifact has failed; return why."""
    events = rig.run()
    assert set(failures(events)) == {A}
    return failures(events)[A].failure


def assert_tells_everything(rig: Rig, failure: Failure, state: str) -> None:
    """Job id, state, elapsed time, node, what next, where the log is, and its end."""
    facts = FACTS.search(failure.message)
    assert facts, failure.message
    assert facts.group(2, 3) == (rig.workers()[-1].slurm_job_id, state)
    assert any(f"on {node}" in failure.message for node in rig.cluster.nodes)
    assert "Next: " in failure.message
    assert f"Log: {failure.log_path}" in failure.message
    assert "works as told" in failure.log_tail


@pytest.mark.parametrize(
    ("words", "kind", "state"),
    [
        ("fails", "DataError", "FAILED"),
        ("exits", "NonZeroExit", "FAILED"),
        ("silent", "CompletedWithoutArtifact", "FAILED"),
    ],
)
def test_a_stage_that_fails_is_not_tried_again(rig: Rig, words: str, kind: str, state: str) -> None:
    rig.tell(words)
    failure = failure_of(rig)
    assert failure.kind == kind
    assert_tells_everything(rig, failure, state)
    assert len(rig.workers()) == 1


def test_a_failed_one_is_tried_again_when_it_is_asked_for_again(rig: Rig) -> None:
    rig.tell("fails once")
    assert failure_of(rig).kind == "DataError"
    assert completed(rig.run()) == {A}


def test_a_stage_that_is_killed_is_tried_once_more(rig: Rig) -> None:
    rig.tell("dies")
    failure = failure_of(rig)
    assert "SIGKILL" in failure.message
    assert_tells_everything(rig, failure, "FAILED")
    assert len(rig.workers()) == 2


def test_a_job_that_a_signal_ends_says_which(rig: Rig) -> None:
    rig.tell("hangs")
    orchestrator = rig.orchestrator()
    job = rig.wait_for_worker().slurm_job_id
    rig.cluster.run("scancel", "--signal=11", "--batch", job, check=True)
    assert orchestrator.wait() == 0
    told = orchestrator.events("Failed")[0]
    assert told["kind"] == "Signal"
    assert "SIGSEGV" in told["message"]


def test_out_of_memory_gets_more_until_the_limit(rig: Rig) -> None:
    rig.configure(defaults={"memory": "100M"}, retries={"memory": "150M", "memory_growth": 2.0})
    rig.tell("eats")
    events = rig.run()
    retries = [event.reason for event in events if isinstance(event, Retried)]
    assert len(retries) == 1
    assert "OutOfMemory with 100 MB: retry with 150 MB" in retries[0]
    message = failures(events)[A].failure.message
    assert "OutOfMemory with 150 MB; more is not allowed" in message


def test_out_of_memory_then_enough(rig: Rig) -> None:
    rig.configure(defaults={"memory": "100M"}, retries={"memory": "200M"})
    rig.tell("eats once")
    assert completed(rig.run()) == {A}
    first = rig.cluster.run("scontrol", "show", "job", rig.workers()[0].slurm_job_id).stdout
    again = rig.cluster.run("scontrol", "show", "job", rig.workers()[1].slurm_job_id).stdout
    assert "mem=100M" in first
    assert "mem=200M" in again


def test_cancelled_by_somebody_else_is_given_up(rig: Rig) -> None:
    rig.tell("hangs")
    orchestrator = rig.orchestrator()
    rig.cluster.run("scancel", rig.wait_for_worker().slurm_job_id, check=True)
    assert orchestrator.wait() == 0
    assert "CancelledByOther" in orchestrator.events("Failed")[0]["message"]
    assert rig.attempts() == 1


def test_a_refused_submission_says_sbatch_s_words(rig: Rig) -> None:
    rig.configure(slurm_partition="nowhere")
    failure = failure_of(rig)
    assert failure.kind == "SubmissionRejected"
    assert "invalid partition" in failure.message.lower()
    assert not rig.left_over()


@pytest.mark.parametrize(
    "asked", [{"gpus": 99}, {"nodes": 99}, {"time": "1-00:00:00", "slurm_partition": "debug"}]
)
def test_what_can_never_start_is_given_up(rig: Rig, asked: dict[str, object]) -> None:
    rig.configure(defaults={"memory": "200M", **asked})
    failure = failure_of(rig)
    assert failure.kind in ("NeverStarts", "SubmissionRejected")
    rig.wait_until(lambda: not rig.left_over())


def test_a_dependency_that_failed_is_given_up(rig: Rig) -> None:
    parent = rig.cluster.submit("--wrap", "exit 1", "--output=/dev/null")
    rig.cluster.wait_for_end(parent)
    asked = {"memory": "200M", "extra_sbatch": [f"--dependency=afterok:{parent}"]}
    rig.configure(defaults=asked)
    assert failure_of(rig).kind == "DependencyNeverSatisfied"
    rig.wait_until(lambda: not rig.left_over())


def test_a_log_that_cannot_be_opened_is_said(rig: Rig) -> None:
    orchestrator = rig.orchestrator(crash="after-sbatch", crash_with="SIGSTOP")
    rig.wait_until(orchestrator.mark.exists)
    (rig.layout.wave(rig.tokens()[0]).path / "slurm.log").mkdir()
    orchestrator.thaw()
    assert orchestrator.wait() == 0
    assert orchestrator.events("Failed")[0]["kind"] == "OutputNotWritable"


def test_a_preempted_job_is_requeued_and_goes_on_from_its_checkpoint(own_rig: Rig) -> None:
    rig, cluster = own_rig, own_rig.cluster
    rig.configure(slurm_partition="requeue")
    rig.tell("checkpoints 3")
    orchestrator = rig.orchestrator()
    job = rig.wait_for_worker().slurm_job_id
    wait_for_checkpoint(rig)
    urgent = cluster.submit("--exclusive", "-N2", "--wrap", "true", "--output=/dev/null")
    cluster.wait_for_end(urgent)
    cluster.run_at_once(job)
    assert orchestrator.wait() == 0
    assert [worker.restart for worker in rig.workers()] == ["0", "1"]
    assert "goes on from" in tail(rig)


def test_a_preempted_job_that_is_ended_is_tried_again(own_rig: Rig) -> None:
    rig, cluster = own_rig, own_rig.cluster
    rig.configure(slurm_partition="scavenge")
    rig.tell("checkpoints 3")
    orchestrator = rig.orchestrator()
    rig.wait_for_worker()
    wait_for_checkpoint(rig)
    cluster.submit("--exclusive", "-N2", "--wrap", "true", "--output=/dev/null")
    assert orchestrator.wait() == 0
    assert "Preempted: retry 1 of 100" in orchestrator.events("Retried")[0]["reason"]
    assert "goes on from" in tail(rig)


def test_before_its_time_limit_a_job_writes_a_checkpoint_and_goes_on(rig: Rig) -> None:
    rig.tell("checkpoints 3")
    orchestrator = rig.orchestrator()
    job = rig.wait_for_worker().slurm_job_id
    wait_for_checkpoint(rig)
    rig.cluster.run("scancel", "--signal=USR1", "--batch", job, check=True)
    rig.wait_until(lambda: rig.cluster.state(job) == "PENDING")
    rig.cluster.run_at_once(job)
    assert orchestrator.wait() == 0
    assert not orchestrator.events("Retried", "Failed")
    assert [worker.restart for worker in rig.workers()] == ["0", "1"]
    assert "goes on from" in tail(rig)


def test_warned_as_often_as_allowed_is_a_timeout(rig: Rig) -> None:
    rig.configure(retries={"requeues": 0})
    rig.tell("hangs")
    orchestrator = rig.orchestrator()
    job = rig.wait_for_worker().slurm_job_id
    rig.cluster.run("scancel", "--signal=USR1", "--batch", job, check=True)
    assert orchestrator.wait() == 0
    told = orchestrator.events("Failed")[0]
    assert told["kind"] == "TimeLimitNear"
    assert "Timeout" in told["message"]


@pytest.mark.slow
def test_a_time_limit_gives_more_time_until_the_most(rig: Rig) -> None:
    rig.configure(defaults={"memory": "200M", "time": "00:30:00"}, retries={"time": "00:40:00"})
    rig.tell("stubborn hangs once 0")
    orchestrator = rig.orchestrator()
    rig.cluster.expire(rig.wait_for_worker().slurm_job_id)
    assert orchestrator.wait() == 0
    reason = orchestrator.events("Retried")[0]["reason"]
    assert "Timeout after 1800 s without a new checkpoint: retry with 2400 s" in reason


def wait_for_checkpoint(rig: Rig) -> None:
    """Wait until the payload has written a checkpoint."""
    folder = rig.layout.checkpoints(A[0], rig.fingerprint(A))
    rig.wait_until((folder / "done").exists)


def tail(rig: Rig) -> str:
    """Return the log of the newest start."""
    return rig.run_folder().latest_start().log.read_text()
