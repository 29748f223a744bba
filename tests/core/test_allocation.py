"""What a task knows of its SLURM allocation."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from activeuf_core import allocation
from activeuf_core.artifacts import write_json
from activeuf_core.paths import WaveFolder


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test begins inside a job."""
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def wave(tmp_path: Path) -> WaveFolder:
    """A wave of three jobs."""
    (tmp_path / "jobs").write_text("/runs/a\n/runs/b b\n/runs/c\n")
    return WaveFolder(tmp_path)


@pytest.mark.parametrize(("index", "run"), [("0", "/runs/a"), ("1", "/runs/b b"), ("", "/runs/a")])
def test_an_element_finds_its_run(
    wave: WaveFolder, monkeypatch: pytest.MonkeyPatch, index: str, run: str
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", index)
    assert allocation.element(wave) == Path(run)


def test_an_element_too_many_is_refused(wave: WaveFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    with pytest.raises(IndexError, match="no line 3"):
        allocation.element(wave)


def test_outside_slurm_there_is_nothing(wave: WaveFolder) -> None:
    assert allocation.facts(wave, 0.0) == allocation.secrets(None) == allocation.secrets(wave) == {}
    assert not allocation.may_requeue()


def test_facts_of_an_array_s_element(wave: WaveFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "SLURM_JOB_ID": "26",
        "SLURM_ARRAY_JOB_ID": "23",
        "SLURM_ARRAY_TASK_ID": "2",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_ON_NODE": "4",
        "SLURM_GPUS_ON_NODE": "3",
        "SLURM_JOB_NODELIST": "node[1-2]",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    write_json(wave.submitting, {"time": 100.0})
    found = allocation.facts(wave, 107.25)
    assert (found["slurm_job_id"], found["nodes"]) == ("23_2", "node[1-2]")
    assert (found["cpus"], found["gpus"], found["queue_wait_s"]) == (8, 6, 7.25)


@pytest.mark.parametrize(("turns", "allowed", "may"), [("0", "1", True), ("1", "1", False)])
def test_a_job_asks_for_another_turn_as_often_as_allowed(
    monkeypatch: pytest.MonkeyPatch, turns: str, allowed: str, may: bool
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", turns)
    monkeypatch.setenv("ACTIVEUF_REQUEUES", allowed)
    assert allocation.may_requeue() is may


def test_a_requeue_that_is_refused_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text('#!/bin/sh\necho "$@ is refused" >&2; exit 1\n')
    scontrol.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert allocation.requeue() == "requeue 7 is refused"
