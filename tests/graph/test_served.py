"""What a serving Dagster tells of itself, and who looks there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from activeuf_core.errors import LaunchError
from activeuf_core.paths import PROJECT
from activeuf_dagster import served
from activeuf_dagster.project import Project
from activeuf_dagster.sensors import build_observer
from activeuf_dagster.served import address, note_address, note_partitions, refuse_newer
from tests.graph.conftest import EXPERIMENT, write_yaml
from tests.graph.test_cli import activeuf

NEW = ("dpo_model", "exp-new")


def test_what_is_newer_than_the_code_server_is_refused(project: Project) -> None:
    refuse_newer(project.layout, [NEW])  # nobody has told anything
    note_partitions(project.layout, project.catalog)
    refuse_newer(project.layout, [("dpo_model", "exp-a"), ("leaderboard", "all")])
    with pytest.raises(LaunchError, match=r"1 partitions are newer .*\(exp-new; asked at .*Reload"):
        refuse_newer(project.layout, [("dpo_model", "exp-a"), NEW])


def test_an_old_note_is_not_believed(project: Project) -> None:
    note_partitions(project.layout, project.catalog)
    path = project.layout.served / "partitions.json"
    os.utime(path, (0, time.time() - served.BELIEVED_S - 1))
    refuse_newer(project.layout, [NEW])
    note_partitions(project.layout, project.catalog)  # the same again is as of now
    with pytest.raises(LaunchError):
        refuse_newer(project.layout, [NEW])


def test_the_sensor_tells_what_its_process_loaded(
    folder: Path, project: Project, instance: dg.DagsterInstance
) -> None:
    sensor = build_observer(project.catalog)
    write_yaml(folder / "configs" / "experiments" / "exp-new.yaml", EXPERIMENT)
    sensor(dg.build_sensor_context(instance))
    with pytest.raises(LaunchError, match="exp-new"):
        refuse_newer(project.layout, [NEW])


def test_recover_launches_no_backfill_that_dagster_would_end(
    folder: Path, project: Project
) -> None:
    note_partitions(project.layout, project.catalog)
    write_yaml(folder / "configs" / "experiments" / "exp-new.yaml", EXPERIMENT)
    assert "newer than Dagster's code server" in str(
        activeuf("recover", "exp-new", "--daemon").exception
    )


def test_the_address_is_that_of_a_process_that_lives(project: Project) -> None:
    assert address(project.layout) == ""
    note = note_address(project.layout, "http://here:1")
    assert address(project.layout) == "http://here:1"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    note.write_text(note.read_text().replace(str(os.getpid()), str(gone.pid)))
    assert address(project.layout) == ""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_ui_ends_with_all_that_it_started(
    project: Project, folder: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "activeuf_dagster.cli", "ui", "--port", "0"]
    ui = subprocess.Popen(
        command,
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # as a shell's `&` does
    )
    mark = f"DAGSTER_HOME={folder / 'dagster_home'}"
    wait_until(lambda: len(processes(mark)) >= 4)
    ui.send_signal(number)
    assert ui.wait(60) == 0
    wait_until(lambda: not processes(mark))
    assert address(project.layout) == ""


def processes(mark: str) -> list[int]:
    """Return the processes that have a variable in their environment, but for our own."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "environ").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
        if mark in words and int(path.name) != os.getpid():
            found.append(int(path.name))
    return found


def wait_until(condition: Callable[[], object], patience_s: float = 90.0) -> None:
    """Wait for a condition, generously."""
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)
