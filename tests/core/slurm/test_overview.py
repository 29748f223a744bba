"""What is shown of jobs: files and queue put together, also when one of them says nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.artifacts import write_json
from activeuf_core.jobs import Job, Unit
from activeuf_core.paths import Layout, RunFolder
from activeuf_core.slurm.overview import (
    JobFacts,
    JobOverview,
    chosen,
    facts_of,
    gather,
    overview,
    task_id,
)
from activeuf_core.slurm.queue import QueueRow
from activeuf_core.slurm.waves import Ledger, Owner, Wave

TOKEN = "activeuf-dpo_model-0123456789"
ROW = QueueRow(23, None, 23, TOKEN, "RUNNING", nodes="node1", elapsed_s=65)


def unit(partition: str = "exp-a", attempt: int = 1) -> Unit:
    """Return a unit whose artifact is not there."""
    return Unit("dpo_model", partition, partition * 4, "1", 0, {}, {}, {}, attempt=attempt)


def wave_of(*job_ids: str, owner: Owner | None = None) -> Wave:
    """Return a wave of some jobs."""
    mine = owner or Owner.this_process()
    return Wave(TOKEN, "hpc", job_ids, {"time": "02:00:00"}, mine, opened=1.0)


def facts(**changes: Any) -> JobFacts:
    """Return what files say of a job that was submitted as 23."""
    job = Job("j1", "m", (unit(),), "/home")
    plain = JobFacts(job, wave_of("j1"), 0, job.units, 23, orchestrator_lives=True)
    return dataclasses.replace(plain, **changes)


def shown(rows: list[QueueRow] | None, **changes: Any) -> JobOverview:
    """Return what is shown of one job."""
    return overview([facts(**changes)], rows)[0]


def test_a_running_job() -> None:
    job = shown([ROW], progress={"done": 4, "total": 9, "unit": "steps", "eta_s": 7.5})
    assert (job.state, job.nodes, job.elapsed_s, job.limit_s) == ("RUNNING", "node1", 65, 7200)
    assert (job.done, job.total, job.unit, job.eta_s) == (4, 9, "steps", 7.5)
    assert (job.artifacts, job.slurm_id) == (("dpo_model[exp-a]",), "23")


def test_a_job_that_waits_says_why_in_words() -> None:
    job = shown([dataclasses.replace(ROW, state="PENDING", reason="Priority", nodes="")])
    assert (job.state, job.elapsed_s) == ("PENDING", None)
    assert job.why == "other jobs have a higher priority (Priority)"


def test_a_restart_is_told() -> None:
    assert shown([dataclasses.replace(ROW, restarts=2)]).why == "restart 2"


def test_an_id_under_another_name_is_another_job() -> None:
    assert shown([dataclasses.replace(ROW, name="somebody's")]).state == "gone"


def test_a_controller_that_does_not_answer_is_no_end() -> None:
    job = shown(None, status="running")
    assert job.state == "unknown"
    assert job.why == "the controller does not answer; its task said last: running"


def test_a_job_that_ended_without_its_artifact_is_somebodys_to_decide() -> None:
    failed = [dataclasses.replace(ROW, state="FAILED")]
    assert "its orchestrator decides" in shown(failed).why
    assert "materialized again" in shown(failed, orchestrator_lives=False).why


def test_before_there_is_an_id() -> None:
    assert shown([], slurm_id=None).why == "about to be submitted"
    assert "answer is awaited" in shown([], slurm_id=None, is_submitting=True).why
    assert shown([], slurm_id=None, orchestrator_lives=False).state == "abandoned"


def test_the_attempt_and_why_earlier_ones_ended() -> None:
    before = ({"job_id": "j0", "kind": "Timeout", "detail": "too slow", "action": "retry"},)
    job = Job("j1", "m", (unit(attempt=3),), "/home", history=before)
    found = shown([ROW], job=job, units=job.units)
    assert (found.attempt, found.history) == (3, before)


def test_a_task_of_an_array_is_found_by_its_index() -> None:
    wave = wave_of("j0", "j1")
    second = dataclasses.replace(ROW, index=1, job_id=25)
    assert shown([dataclasses.replace(ROW, index=0), second], wave=wave, index=1).slurm_id == "23_1"
    assert task_id(facts(wave=wave, index=1, slurm_id=None)) == ""


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("j1", ["j1"]),
        ("23", ["j0", "j1"]),
        ("23_0", ["j0"]),
        ("dpo_model[exp-a]", ["j0", "j1"]),
        ("2", []),
        ("", []),
    ],
)
def test_a_word_means_a_job_a_task_or_an_artifact(word: str, found: list[str]) -> None:
    wave = wave_of("j0", "j1")
    jobs = [dataclasses.replace(facts().job, job_id=name) for name in wave.job_ids]
    both = [facts(job=job, wave=wave, index=index) for index, job in enumerate(jobs)]
    assert [job.job_id for job in chosen(overview(both, None), word)] == found


# ------------------------------------------------------------------------------- files


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A home with one wave of two jobs."""
    layout = Layout(tmp_path)
    for name in ("j0", "j1"):
        job = Job(name, "m", (unit(name),), str(tmp_path))
        write_json(RunFolder(layout.run(name)).job, job.to_json())
    Ledger(layout).open(wave_of("j0", "j1"), ["j0", "j1"])
    return layout


def test_the_files_say_what_was_submitted_and_how_far_it_is(layout: Layout) -> None:
    Ledger(layout).mark_submitted(TOKEN, 23)
    run = RunFolder(layout.run("j1"))
    write_json(run.unit(unit("j1").name).progress, {"done": 1, "total": 2})
    write_json(run.status, {"state": "running"})
    first, second = gather(layout)
    assert (first.slurm_id, first.progress, first.orchestrator_lives) == (23, None, True)
    assert (second.index, second.status, second.progress) == (1, "running", {"done": 1, "total": 2})


def test_an_ended_job_and_a_closed_wave_are_gone(layout: Layout) -> None:
    write_json(RunFolder(layout.run("j0")).ended, {"kind": "Cancelled"})
    assert [one.job.job_id for one in gather(layout)] == ["j1"]
    Ledger(layout).close(TOKEN, "done")
    assert gather(layout) == []


def test_the_newest_start_is_the_one_that_counts(layout: Layout) -> None:
    run = RunFolder(layout.run("j0"))
    for number in (1, 2):
        write_json(run.starts / f"{number}.json", {"restart": number - 1})
        write_json(run.start(number).status, {"state": f"start {number}"})
    found = facts_of(layout, wave_of("j0"))[0]
    assert (found.status, found.log) == ("start 2", str(run.start(2).log))


def test_of_another_machines_orchestrator_nothing_is_known(layout: Layout) -> None:
    stranger = Owner("elsewhere", 1, "1")
    dead = dataclasses.replace(Owner.this_process(), started="0")
    assert facts_of(layout, wave_of("j0", owner=stranger))[0].orchestrator_lives is None
    assert facts_of(layout, wave_of("j0", owner=dead))[0].orchestrator_lives is False
