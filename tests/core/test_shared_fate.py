"""What one process of a stage leaves behind for the others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from activeuf_core import shared_fate
from activeuf_core.artifacts import read_json, write_json
from activeuf_core.paths import PROJECT, UnitFolder

GLOO = "[pair.cc:537] Read error: Connection reset by peer"
WAITS = """
import sys, time
from pathlib import Path
from activeuf_core import shared_fate
from activeuf_core.paths import UnitFolder

shared_fate.LOOK_EVERY_S = 0.02
with shared_fate.watched(UnitFolder(Path(sys.argv[1]))):
    print("waits", flush=True)
    time.sleep(float(sys.argv[2]))
print("goes on", flush=True)
"""


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UnitFolder:
    """The unit of a stage of two processes, of which this is the second."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    return UnitFolder(tmp_path)


def record(message: str, kind: str = "DataError") -> dict[str, Any]:
    return {"kind": kind, "message": message, "retryable": False, "traceback": ""}


def test_the_first_failure_is_the_reason(unit: UnitFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    shared_fate.record_failure(unit, record("row 3 is bad"))
    monkeypatch.setenv("RANK", "0")
    shared_fate.record_failure(unit, record("lost the other"))
    assert read_json(unit.failure)["message"] == "row 3 is bad"
    assert read_json(unit.path / "failure-0.json")["message"] == "lost the other"


def test_a_lost_connection_is_explained(unit: UnitFolder) -> None:
    shared_fate.record_failure(unit, record(GLOO, "RuntimeError"))
    found = read_json(unit.failure)
    assert (found["kind"], found["retryable"]) == (shared_fate.LOST, True)
    assert "lost another one" in found["message"] and GLOO in found["message"]


def test_an_error_of_ones_own_keeps_its_name(unit: UnitFolder) -> None:
    shared_fate.record_failure(unit, record("shapes differ", "RuntimeError"))
    assert read_json(unit.failure)["kind"] == "RuntimeError"


def test_what_fails_while_all_are_started_again_is_no_failure(unit: UnitFolder) -> None:
    write_json(unit.again, {"reason": "out of memory"})
    shared_fate.record_failure(unit, record(GLOO, "RuntimeError"))
    assert not unit.failure.exists()


def wait_in_another_process(unit: UnitFolder, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WAITS, str(unit.path), str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, env=environment)


def test_a_process_that_waits_is_ended_by_anothers_failure(unit: UnitFolder) -> None:
    waiting = wait_in_another_process(unit, 60.0)
    assert waiting.stdout is not None and waiting.stdout.readline() == "waits\n"
    shared_fate.record_failure(unit, record("row 3 is bad"))
    assert waiting.communicate(timeout=30)[0] == ""
    assert waiting.returncode == shared_fate.EXIT_FAILED


def test_a_failure_of_an_earlier_run_ends_nobody(unit: UnitFolder) -> None:
    shared_fate.record_failure(unit, record("long ago"))
    waiting = wait_in_another_process(unit, 0.2)
    assert waiting.communicate(timeout=30)[0] == "waits\ngoes on\n"
