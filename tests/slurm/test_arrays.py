"""Many partitions of one asset are one array; each element is told, fails and ends on its own."""

from __future__ import annotations

import pytest

from activeuf_core.jobs import Job, Unit
from activeuf_dagster.events import Blocked
from tests.slurm.rig import A, Rig, completed, failures

pytestmark = pytest.mark.slurm
NODES = [(A[0], name) for name in ("exp-a", "exp-b", "exp-c")]


def test_one_submission_and_each_element_is_told_while_others_run(rig: Rig) -> None:
    rig.tell("waits", NODES[1])
    rig.tell("fails", NODES[2])
    downstream = [("dpo_model", name) for _, name in NODES]
    orchestrator = rig.orchestrator(*NODES, *downstream)
    rig.wait_until(lambda: orchestrator.events("Failed"))
    rig.wait_until(lambda: len(orchestrator.events("Completed")) == 2)
    assert orchestrator.is_running
    told = {event["node"] for event in orchestrator.events("Completed")}
    assert told == {"@".join(NODES[0]), "@".join(downstream[0])}
    rig.go()
    assert orchestrator.wait() == 0
    assert len(orchestrator.events("Completed")) == 4
    assert len(rig.tokens()) == 3  # the array, and a model after each that was made
    array = [job.job_id for job in rig.jobs() if job.name == rig.tokens()[-1]]
    assert [job_id.partition("_")[2] for job_id in sorted(array)] == ["0", "1", "2"]


def test_mixed_outcomes(rig: Rig) -> None:
    for words, node in zip(("dies once", "exits", "0"), NODES, strict=True):
        rig.tell(words, node)
    events = rig.run(*NODES, *[("dpo_model", name) for _, name in NODES])
    assert set(failures(events)) == {NODES[1]}
    made = {NODES[0], NODES[2], ("dpo_model", "exp-a"), ("dpo_model", "exp-c")}
    assert completed(events) == made
    assert [event.node for event in events if isinstance(event, Blocked)] == [
        ("dpo_model", "exp-b")
    ]


def test_no_more_than_max_parallel_run_at_a_time(rig: Rig) -> None:
    rig.configure(max_parallel=2)
    rig.tell("waits")
    orchestrator = rig.orchestrator(*NODES)
    rig.wait_until(lambda: [job.state for job in rig.jobs()].count("RUNNING") == 2)
    assert rig.cluster.squeue("--states=PD", f"--name={rig.tokens()[0]}", "--format=%r") == [
        "JobArrayTaskLimit"
    ]
    rig.go()
    assert orchestrator.wait() == 0


def test_somebody_cancels_a_task_that_waits(rig: Rig) -> None:
    rig.configure(max_parallel=1)
    rig.tell("waits")
    orchestrator = rig.orchestrator(*NODES)
    rig.wait_until(lambda: [job.state for job in rig.jobs()].count("RUNNING") == 1)
    orchestrator.wait_for("Submitted")
    array = rig.jobs()[0].job_id.partition("_")[0]
    rig.wait_until(lambda: rig.cluster.state(f"{array}_2") == "PENDING")
    rig.cluster.run("scancel", f"{array}_2", check=True)
    rig.wait_until(lambda: orchestrator.events("Failed"))
    assert "CancelledByOther" in orchestrator.events("Failed")[0]["message"]
    rig.go()
    assert orchestrator.wait() == 0
    assert len(orchestrator.events("Completed")) == 2


@pytest.mark.slow
def test_a_thousand_tasks(rig: Rig) -> None:
    rig.configure(poll_max_s=2.0)
    launcher = rig.launcher()
    units = [_unit(number) for number in range(1000)]
    jobs = [Job(f"n{u.partition}", "none", (u,), str(rig.layout.home)) for u in units]
    assert not launcher.submit(jobs)
    rig.cluster.wait_until(lambda: all(s.phase == "ended" for s in launcher.poll().values()), 300)
    assert {state.detail for state in launcher.poll().values()} == {"complete"}
    made = [rig.store.inspect(u.asset, u.fingerprint).is_complete for u in units]
    assert made.count(True) == 1000
    assert len(rig.tokens()) == 1
    assert launcher.let_go() == {}


def _unit(number: int) -> Unit:
    fingerprint = f"{number:032d}"
    return Unit(A[0], f"{number:04d}", fingerprint, "1", 0, {}, {}, {}, checkpoints="")
