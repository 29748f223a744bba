"""The engine's events as lines for a terminal."""

from __future__ import annotations

import io
import logging

from rich.console import Console

from activeuf_dagster.engine import Engine
from activeuf_dagster.events import Blocked, Event, Failed, Failure
from activeuf_dagster.progress import ProgressLines
from activeuf_dagster.project import Project
from tests.fakes.launcher import InstantLauncher


def said(*events: Event) -> list[str]:
    """Return the lines that events make, without the time."""
    out = io.StringIO()
    lines = ProgressLines(Console(file=out, width=200), total=2)
    for event in events:
        record = logging.LogRecord("engine", logging.INFO, "", 0, "", (), None)
        record.event = event
        lines.emit(record)
    return [line.removeprefix("00:00 ") for line in out.getvalue().splitlines()]


def test_how_a_node_ended_is_said_once() -> None:
    first = Failed(("dpo_model", "exp-a"), Failure("DataError", "too short", log_path="a.log"))
    again = Failed(("dpo_model", "exp-a"), Failure("DataError", "too short"))
    waits = Blocked(("scores", "exp-a"), "dpo_model failed")
    lines = said(first, waits, again, waits)
    assert lines[0] == "   0/2 dpo_model[exp-a]: FAILED (DataError): too short"
    assert lines[1].endswith("a.log")
    assert len(lines) == 3


def test_a_message_that_names_its_class_and_log_is_not_given_them_again() -> None:
    message = "Timeout: SLURM job 7: over its limit. Log: a.log"
    (line,) = said(Failed(("dpo_model", "exp-a"), Failure("Timeout", message, log_path="a.log")))
    assert line.endswith("FAILED (Timeout): SLURM job 7: over its limit. Log: a.log")


def test_what_a_second_run_adopts_is_not_counted_twice(
    project: Project, launcher: InstantLauncher
) -> None:
    book, node = project.book(), ("prompts", "tiny")
    runs = [list(Engine(book, launcher, launcher, poll_s=0).run([node])) for _ in range(2)]
    (line,) = [line for line in said(*runs[0], *runs[1]) if "complete" in line]
    assert line.startswith("   1/2 prompts[tiny] complete")
