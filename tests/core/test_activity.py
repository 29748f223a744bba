"""Which artifacts jobs make and read at this moment, by the files that they left."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from activeuf_core.activity import LEASE_S, SILENT_S, Activity
from activeuf_core.artifacts import ArtifactStore, create_json, write_json
from activeuf_core.attempts import Attempts
from activeuf_core.jobs import Job, Unit
from activeuf_core.paths import Layout, RunFolder
from activeuf_core.slurm.waves import Ledger, Owner, Wave

MADE, READ = ("dpo_model", "m" * 32), ("preference_dataset", "r" * 32)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    """An empty store."""
    return ArtifactStore(Layout(tmp_path))


def write_job(store: ArtifactStore, job_id: str = "job") -> RunFolder:
    """Write the folder of a job that makes MADE from READ."""
    unit = Unit(*_named(MADE), "1", 0, {}, {}, {READ[0]: {"exp": READ[1]}})
    run = RunFolder(store.layout.run(job_id))
    write_json(run.job, Job(job_id, "module", (unit,), str(store.layout.home)).to_json())
    return run


def _named(target: tuple[str, str]) -> tuple[str, str, str]:
    return target[0], "exp", target[1]


def write_wave(store: ArtifactStore, job_id: str = "job") -> Ledger:
    ledger = Ledger(store.layout)
    ledger.open(Wave("wave", "c", (job_id,), {}, Owner.this_process(), 0.0), ["run"])
    return ledger


def age(folder: Path, seconds: float) -> None:
    """Make a folder and what is in it old."""
    then = time.time() - seconds
    for path in (*folder.iterdir(), folder):
        os.utime(path, (then, then))


def test_an_empty_home_is_quiet(store: ArtifactStore) -> None:
    activity = Activity(store)
    assert not activity.live and activity.use_of(MADE) == ""


def test_a_job_makes_its_units_and_reads_their_inputs(store: ArtifactStore) -> None:
    write_job(store)
    activity = Activity(store)
    assert activity.use_of(MADE) == "job job makes it"
    assert activity.use_of(READ) == "job job reads it"


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_a_job_that_said_its_end_uses_nothing(store: ArtifactStore, state: str) -> None:
    write_json(write_job(store).status, {"state": state})
    assert Activity(store).use_of(READ) == ""


def test_a_job_whose_end_somebody_wrote_down_uses_nothing(store: ArtifactStore) -> None:
    write_json(write_job(store).ended, {})
    assert Activity(store).live == frozenset()


def test_a_job_of_an_open_submission_is_at_work_whatever_it_said(store: ArtifactStore) -> None:
    write_json(write_job(store).status, {"state": "failed"})  # it may be started again
    ledger = write_wave(store)
    assert Activity(store).use_of(READ)
    ledger.close("wave", "done")
    assert Activity(store).use_of(READ) == ""


def test_a_killed_job_counts_until_nothing_was_heard_of_it_for_long(store: ArtifactStore) -> None:
    run = write_job(store)
    create_json(run.starts / "1.json", {})
    age(run.path, LEASE_S - 60)
    assert Activity(store).live
    age(run.path, LEASE_S + 60)
    assert not Activity(store).live


def test_a_job_that_waits_for_a_slot_counts_much_longer(store: ArtifactStore) -> None:
    run = write_job(store)
    age(run.path, LEASE_S + 60)
    assert Activity(store).live
    age(run.path, SILENT_S + 60)
    assert not Activity(store).live


def test_a_lock_keeps_a_silent_job_alive(store: ArtifactStore) -> None:
    age(write_job(store).path, SILENT_S + 60)
    with store.claim(*MADE):
        assert Activity(store).live == {"job"}


def test_an_attempt_is_at_work_before_its_job_is_written(store: ArtifactStore) -> None:
    Attempts(store.layout).open(*MADE, 0, job_id="job", wave="wave")
    assert "is being submitted" in Activity(store).use_of(MADE)
    ledger = write_wave(store)
    assert "makes it" in Activity(store).use_of(MADE)
    ledger.close("wave", "done")
    assert Activity(store).use_of(MADE) == ""


def test_a_second_look_finds_what_came_since(store: ArtifactStore) -> None:
    activity = Activity(store)
    write_job(store)
    activity.refresh()
    assert activity.live == {"job"}


def test_a_job_that_cannot_be_read_is_none(store: ArtifactStore) -> None:
    run = RunFolder(store.layout.run("job"))
    run.path.mkdir(parents=True)
    run.job.write_text("{")
    assert Activity(store).jobs == {}
