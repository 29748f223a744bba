"""Cancelling on purpose: the wish before the deed, the end after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from activeuf_core.artifacts import read_json
from activeuf_core.errors import LaunchError
from activeuf_core.paths import Layout, RunFolder
from activeuf_core.slurm.cancellation import by_whom, cancel, targets
from activeuf_core.slurm.queue import FIELD_END, RECORD_END
from activeuf_core.slurm.scheduler import Scheduler
from activeuf_core.slurm.transport import Done, Transport
from activeuf_core.slurm.waves import Ledger, Owner, Wave

CELLS = ("23", "1", "25", "RUNNING", "0", "0", "0:01", "1", "1", "N/A", "None", "n1")
TASK_1 = FIELD_END.join([*CELLS, "activeuf-x-1", "activeuf-x-1", ""]) + RECORD_END
WAVE = Wave("activeuf-x-1", "hpc", ("j0", "j1"), {}, Owner.this_process(), 1.0)


class Recorder:
    """A way to a cluster that notes what is run there, and what was wished by then."""

    def __init__(self, layout: Layout, code: int = 0) -> None:
        self.layout = layout
        self.code = code
        self.commands: list[list[str]] = []
        self.wished: list[list[str]] = []

    def run(
        self, command: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None
    ) -> Done:
        """Note a command."""
        self.commands.append(list(command))
        self.wished.append(sorted(Ledger(self.layout).unwanted(WAVE.token)))
        queue = TASK_1 if command[0] == "squeue" else ""
        return Done(self.code, queue, "Unable to contact slurm controller" if self.code else "")


def cancelled(layout: Layout, *job_ids: str, code: int = 0) -> Recorder:
    """Cancel jobs of the wave; return what was run."""
    recorder = Recorder(layout, code)
    scheduler = Scheduler(cast(Transport, recorder), 1.0)
    cancel(layout, scheduler, WAVE, job_ids, "by me")
    return recorder


def test_the_wish_stands_before_slurm_is_told_and_the_end_after(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    Ledger(layout).mark_submitted(WAVE.token, 23)
    found = cancelled(layout, "j1")
    assert [command[0] for command in found.commands] == ["squeue", "scancel"]
    assert found.commands[1] == ["scancel", "23_1"]
    assert found.wished[0] == ["j1"]
    ended = read_json(RunFolder(layout.run("j1")).ended)
    assert (ended["kind"], ended["message"]) == ("Cancelled", "by me")


def test_without_an_answer_the_wish_stands_and_no_end_is_written(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with pytest.raises(LaunchError):
        cancelled(layout, "j0", "j1", code=1)
    assert Ledger(layout).unwanted(WAVE.token) == {"j0", "j1"}
    assert Ledger(layout).why_unwanted(WAVE.token, "j0") == "by me"
    assert not RunFolder(layout.run("j0")).ended.exists()


def test_a_task_that_is_not_in_the_queue_under_our_name_is_left_alone(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    Ledger(layout).mark_submitted(WAVE.token, 23)
    assert [command[0] for command in cancelled(layout, "j0").commands] == ["squeue"]


def test_all_of_a_wave_goes_by_its_name_even_without_an_id(tmp_path: Path) -> None:
    found = cancelled(Layout(tmp_path), "j0", "j1")
    assert found.commands == [["scancel", "--me", f"--name={WAVE.token}"]]


def test_one_job_of_a_wave_without_an_id_is_left_to_its_orchestrator(tmp_path: Path) -> None:
    assert cancelled(Layout(tmp_path), "j0").commands == []
    assert targets(None, WAVE, ["j0"]) is None


def test_the_message_says_who_how_and_what_next() -> None:
    text = by_whom("activeuf jobs cancel")
    assert text.startswith("cancelled on purpose by ")
    assert "(activeuf jobs cancel) at 2" in text
    assert text.endswith("materialize again when it is wanted.")
