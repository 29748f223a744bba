from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from activeuf_core.errors import LaunchError
from activeuf_core.paths import Layout
from activeuf_core.slurm import leftovers
from activeuf_core.slurm.leftovers import cancel_leftovers
from activeuf_core.slurm.waves import Ledger


class FakeScheduler:
    """Shows the given rows, and notes what it was asked."""

    def __init__(self, *rows: tuple[str, str, str]) -> None:
        self.rows = [SimpleNamespace(name=n, task_id=t, phase=p) for n, t, p in rows]
        self.asked: list[Sequence[str]] = []
        self.cancelled: list[tuple[str, Sequence[str]]] = []
        self.is_dead = False

    def queue(self, names: Sequence[str]) -> list[SimpleNamespace]:
        self.asked.append(names)
        if self.is_dead:
            raise LaunchError("no answer")
        return self.rows

    def cancel(self, name: str, targets: Sequence[str]) -> None:
        self.cancelled.append((name, targets))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A closed wave whose release is not certain, and an open one."""
    ledger = Ledger(Layout(tmp_path))
    for token in ("over", "open"):
        ledger.mark_submitting(token)
    ledger.close("over", "all jobs have ended")
    return ledger


def clean(scheduler: FakeScheduler, ledger: Ledger) -> None:
    given: Any = scheduler
    cancel_leftovers(given, ledger)


def test_what_waits_of_a_wave_that_is_over_is_cancelled(ledger: Ledger) -> None:
    scheduler = FakeScheduler(("over", "7_0", "queued"), ("over", "7_1", "running"))
    clean(scheduler, ledger)
    assert (scheduler.asked, scheduler.cancelled) == ([["over"]], [("over", ["7_0"])])


def test_a_wave_that_stayed_away_is_not_asked_for_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "CERTAIN_AFTER_S", -1.0)
    scheduler = FakeScheduler()
    clean(scheduler, ledger)
    clean(scheduler, ledger)
    assert scheduler.asked == [["over"]]


def test_without_an_answer_nothing_is_certain(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "CERTAIN_AFTER_S", -1.0)
    scheduler = FakeScheduler()
    scheduler.is_dead = True
    clean(scheduler, ledger)
    assert set(ledger.uncertain_waves()) == {"over"}
