"""What a job left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from activeuf_core.artifacts import write_json
from activeuf_core.jobs import Unit
from activeuf_core.paths import RunFolder, WaveFolder
from activeuf_core.slurm import evidence
from activeuf_core.slurm.cluster import Resources
from activeuf_core.slurm.failures import Ending
from activeuf_core.slurm.queue import QueueRow


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run folder with one start."""
    run = RunFolder(tmp_path / "run")
    write_json(run.starts / "1.json", {"time": 100.0})
    return run


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    """A unit with a folder for checkpoints."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    return Unit("prompts", "p", "f" * 32, "1", 0, {}, {}, {}, checkpoints=str(folder))


def ending(run: RunFolder, unit: Unit, row: QueueRow | None = None) -> Ending:
    resources = Resources(memory="2G", time="01:30:00")
    return evidence.ending_of(run, unit, row, run.path / "slurm.log", resources, "7")


def test_what_the_stage_said_is_that_of_the_newest_start(run: RunFolder, unit: Unit) -> None:
    write_json(run.unit(unit.name).failure, {"kind": "Old"})
    write_json(run.starts / "2.json", {"time": 200.0})
    assert ending(run, unit).stage_failure is None
    write_json(run.start(2).unit(unit.name).failure, {"kind": "New"})
    assert ending(run, unit).stage_kind == "New"


def test_slurm_s_last_word_and_what_was_asked_for(run: RunFolder, unit: Unit) -> None:
    row = QueueRow(7, 2, 9, "token", "FAILED", "NonZeroExitCode", 3, 0, "node1", 12)
    found = ending(run, unit, row)
    assert (found.state, found.exit_code, found.nodes, found.elapsed_s) == (
        "FAILED",
        3,
        "node1",
        12,
    )
    assert (found.slurm_job_id, found.memory_mb, found.time_limit_s) == ("7_2", 2048, 5400)


def test_a_job_that_slurm_forgot_keeps_its_id(run: RunFolder, unit: Unit) -> None:
    found = ending(run, unit)
    assert (found.state, found.slurm_job_id, found.exit_code) == ("", "7", None)


def test_the_ends_of_both_logs(run: RunFolder, unit: Unit) -> None:
    run.log.write_text("".join(f"line {number}\n" for number in range(100)))
    (run.path / "slurm.log").write_text("slurmstepd: error\n")
    found = ending(run, unit)
    assert found.log_tail.splitlines()[0] == "line 60"
    assert found.slurm_log_tail == "slurmstepd: error"


@pytest.mark.parametrize(("written", "advanced"), [(50.0, False), (150.0, True)])
def test_a_checkpoint_of_this_start_is_an_advance(
    run: RunFolder, unit: Unit, written: float, advanced: bool
) -> None:
    path = Path(unit.checkpoints) / "state"
    path.touch()
    os.utime(path, (written, written))
    assert ending(run, unit).checkpoint_advanced is advanced


@pytest.mark.parametrize(("state", "said"), [("failed", True), ("running", False), (None, False)])
def test_whether_the_wrapper_came_to_its_end(run: RunFolder, state: str | None, said: bool) -> None:
    if state:
        write_json(run.status, {"state": state})
    assert evidence.has_said_its_end(run) is said


@pytest.mark.parametrize(("size", "name"), [(1, "slurm.log"), (5, "slurm-3.log")])
def test_where_slurm_s_log_lies(size: int, name: str) -> None:
    assert evidence.slurm_log(WaveFolder(Path("/wave")), 3, size) == Path("/wave") / name
