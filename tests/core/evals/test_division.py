"""Batches of several processes: each is answered once, and a failure is everybody's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from activeuf_core import processes
from activeuf_core.errors import DataError
from activeuf_core.evals import division
from activeuf_core.evals.division import answer_batches
from activeuf_core.processes import Processes

BATCHES = [[4, 1], [0, 3], [2]]


def doubled(batch: Sequence[int]) -> list[int]:
    """Answer a batch."""
    return [2 * member for member in batch]


def of_process(rank: int, monkeypatch: pytest.MonkeyPatch, others: list[Any]) -> list[Any]:
    """Be one of two processes; return what it hands in. Args: others: what the other hands in."""
    handed: list[Any] = []

    def gather(value: Any) -> list[Any]:
        handed.append(value)
        return [*others[:rank], value, *others[rank:]]

    monkeypatch.setattr(processes, "current", lambda: Processes(rank, 2))
    monkeypatch.setattr(processes, "gather", gather)
    return handed


def test_one_process_answers_all() -> None:
    seen: list[int] = []
    found = answer_batches(BATCHES, doubled, seen.append, "x")
    assert found == {0: 0, 1: 2, 2: 4, 3: 6, 4: 8}
    assert seen == [2, 4, 5]


def test_each_batch_is_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = of_process(0, monkeypatch, [(division._digest("x"), True, {0: 0, 3: 6})])
    found = answer_batches(BATCHES, doubled, lambda done: None, "x")
    assert set(mine[0][2]) == {4, 1, 2}  # the batches 0 and 2; the other process has number 1
    assert found == {0: 0, 1: 2, 2: 4, 3: 6, 4: 8}


def test_a_failure_elsewhere_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    of_process(0, monkeypatch, [(division._digest("x"), False, {})])
    with pytest.raises(DataError, match=r"process 1 of 2 failed.*rank-<number>"):
        answer_batches(BATCHES, doubled, lambda done: None, "x")


def test_a_process_that_fails_still_meets_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(batch: Sequence[int]) -> list[int]:
        raise ValueError(f"batch {batch}")

    handed = of_process(1, monkeypatch, [(division._digest("x"), True, {})])
    with pytest.raises(ValueError, match=r"batch \[0, 3\]"):
        answer_batches(BATCHES, fail, lambda done: None, "x")
    assert [part[1] for part in handed] == [False]


def test_answers_to_other_questions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    of_process(0, monkeypatch, [(division._digest("y"), True, {0: 0, 3: 6})])
    with pytest.raises(DataError, match="work on different questions"):
        answer_batches(BATCHES, doubled, lambda done: None, "x")
