"""A difference is given where two numbers compare, and where not, that is said."""

from __future__ import annotations

import pytest

from activeuf_core.reporting import deltas
from tests.core.reporting.conftest import MakeBoard, all_scores, scores_of

OTHER_ROWS = {"data": {"name": "other", "identity": "2"}}


def compare(make_board: MakeBoard, scores: dict) -> tuple[dict, list[str]]:
    """Return the cells of an experiment beside a baseline of 0.2 all over, and the notes."""
    board = make_board({"base": ("random", 1, all_scores(0.2)), "one": ("drts", 1, scores)}, "base")
    [row] = [row for row in board["rows"] if row["name"] == "one"]
    return row["cells"], board["notes"]


def test_means_over_other_benchmarks_get_no_delta_and_that_is_said(make_board: MakeBoard) -> None:
    scores = scores_of(
        dict.fromkeys(("gsm8k", "truthfulqa", "minerva_math", "rewardbench2"), 0.5),
        ifeval={"reason": "left out"},
    )
    cells, notes = compare(make_board, scores)
    assert cells["DPO/Mean"]["value"] == pytest.approx(0.5)
    assert (cells["DPO/Mean"]["delta"], cells["Final Score/Mean"]["delta"]) == (None, None)
    assert cells["gsm8k"]["delta"] == pytest.approx(0.3)
    assert any(note.startswith("one: no delta of DPO/Mean, Final Score/Mean") for note in notes)


def test_other_rows_of_a_benchmark_get_no_delta_and_neither_does_their_mean(
    make_board: MakeBoard,
) -> None:
    names = ("gsm8k", "ifeval", "truthfulqa", "minerva_math", "rewardbench2")
    cells, _ = compare(make_board, scores_of(dict.fromkeys(names, 0.5), gsm8k=OTHER_ROWS))
    assert (cells["gsm8k"]["delta"], cells["DPO/Mean"]["delta"]) == (None, None)
    assert cells["ifeval"]["delta"] == pytest.approx(0.3)


@pytest.mark.parametrize(("title", "delta"), [("GSM8K", 0.3), ("GSM8K-like demo", None)])
def test_published_scores_compare_by_name(
    make_board: MakeBoard, title: str, delta: float | None
) -> None:
    cells, _ = compare(make_board, scores_of({"gsm8k": 0.5}, gsm8k={"data": None, "title": title}))
    assert cells["gsm8k"]["delta"] == (None if delta is None else pytest.approx(delta))


@pytest.mark.parametrize(("lower", "expected"), [([], True), (["gsm8k"], False)])
def test_the_benchmark_says_which_way_is_better(
    make_board: MakeBoard, monkeypatch: pytest.MonkeyPatch, lower: list[str], expected: bool
) -> None:
    monkeypatch.setattr(deltas, "LOWER_IS_BETTER", frozenset(lower))
    cells, _ = compare(make_board, all_scores(0.5))
    assert cells["gsm8k"]["delta"] == pytest.approx(0.3)
    assert cells["gsm8k"]["is_better"] is expected
