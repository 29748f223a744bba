"""The leaderboard in a terminal and as Markdown."""

from __future__ import annotations

import pytest

from activeuf_core.reporting.tables import render_markdown, render_text
from tests.core.reporting.conftest import MakeBoard, all_scores, scores_of


@pytest.fixture
def board(make_board: MakeBoard) -> dict:
    """Two experiments, one of them the baseline and one with a single score."""
    experiments = {
        "first": ("random", 1, all_scores(0.25)),
        "second": ("drts", 1, scores_of({"gsm8k": 0.5})),
    }
    return make_board(experiments, baseline="first")


def test_columns_are_aligned(board: dict) -> None:
    *_, head, rule, first, second = render_text(board["rows"]).splitlines()
    assert head.startswith("experiment")
    assert len(head) == len(rule) == len(first) == len(second) < 120


def test_a_line_shows_value_and_delta(board: dict) -> None:
    line = render_text(board["rows"]).splitlines()[-1]
    assert line.startswith("second ")
    assert "0.500 +0.250" in line
    assert line.endswith("–")


def test_long_names_of_columns_are_broken(make_board: MakeBoard) -> None:
    scores = scores_of({"gsm8k": 0.5}, gsm8k={"title": "Sums as in GSM8K, our own"})
    lines = render_text(make_board({"a": ("x", 1, scores)})["rows"]).splitlines()
    assert [line[:22].split() for line in lines[:3]] == [
        ["Sums", "as", "in"],
        ["GSM8K,", "our"],
        ["experiment", "own"],
    ]


def test_markdown_shows_value_error_and_delta(board: dict) -> None:
    assert "| second | 0.500 ± 0.010 (+0.250) |" in render_markdown(board)


def test_the_baseline_is_marked(board: dict) -> None:
    assert "first (baseline)" in render_text(board["rows"])
    assert "| **first** (baseline) |" in render_markdown(board)


def test_markdown_has_one_line_per_experiment_and_the_notes(board: dict) -> None:
    text = render_markdown(board)
    assert sum(line.startswith("|") for line in text.splitlines()) == 4
    assert "- Deltas are to the row of first." in text
    assert "- –: no score." in text


def test_without_a_baseline_that_is_said(make_board: MakeBoard) -> None:
    board = make_board({"a": ("x", 1, all_scores(0.5))})
    assert "No baseline is named" in render_markdown(board)


def test_a_bar_in_a_title_does_not_break_the_table(make_board: MakeBoard) -> None:
    board = make_board({"a": ("x", 1, scores_of({"gsm8k": 0.5}, gsm8k={"title": "a|b"}))})
    assert "a\\|b" in render_markdown(board).splitlines()[0]
