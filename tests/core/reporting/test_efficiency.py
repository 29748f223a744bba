"""Scores against annotations: what is a curve, and what is a point of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from activeuf_core.reporting.efficiency import curves, panels_of, plot_efficiency, points
from tests.core.reporting.conftest import MakeBoard, all_scores, scores_of


@pytest.fixture
def board(make_board: MakeBoard) -> dict:
    """Two budgets of one method, the larger with two seeds; another method; a base model."""
    runs = {
        "big-seed=1": ("drts", 1, all_scores(0.5)),
        "big-seed=2": ("drts", 2, all_scores(0.7)),
        "small": ("drts", 1, all_scores(0.4)),
        "other": ("random", 1, scores_of({"rewardbench2": 0.3})),
        "base": ("", 0, all_scores(0.2)),
    }
    settings = {name: {"settings": name.partition("-")[0], "curve": runs[name][0]} for name in runs}
    settings["base"] |= {"baseline": "untrained", "dataset": ""}
    bought = {"big-seed=1": 100, "big-seed=2": 98, "small": 20, "other": 100}
    return make_board(runs, bought=bought, **settings)


def test_budgets_of_one_setting_are_one_curve(board: dict) -> None:
    found = curves(board["rows"])
    assert {label: [row["name"] for row in rows] for label, rows in found.items()} == {
        "drts on demo": ["small", "big (2 seeds)"],
        "random on demo": ["other"],
    }


def test_a_point_is_the_mean_over_seeds_with_its_interval(board: dict) -> None:
    first, last = points(curves(board["rows"])["drts on demo"], "DPO/Mean")
    assert first == (20, pytest.approx(0.4), 0.0)
    assert last == (99, pytest.approx(0.6), pytest.approx(12.706 * 0.1))


def test_a_missing_score_is_no_point(board: dict) -> None:
    rows = curves(board["rows"])["random on demo"]
    assert points(rows, "DPO/Mean") == []
    assert len(points(rows, "rewardbench2")) == 1


def test_methods_of_one_name_are_told_apart(make_board: MakeBoard) -> None:
    one = all_scores(0.5)
    runs = {"a": ("drts", 1, one), "b": ("drts", 1, one)}
    facts = {name: {"settings": name, "curve": name} for name in runs}
    board = make_board(runs, bought={"a": 8, "b": 8}, **facts)
    assert list(curves(board["rows"])) == ["drts on demo", "drts on demo: b"]


def test_there_is_a_panel_per_kind_of_model(board: dict) -> None:
    assert [column["name"] for column in panels_of(board)] == ["DPO/Mean", "rewardbench2"]


@pytest.mark.parametrize("is_empty", [True, False])
def test_the_picture_is_small(
    board: dict, make_board: MakeBoard, tmp_path: Path, is_empty: bool
) -> None:
    plot_efficiency(tmp_path / "p.png", make_board({}) if is_empty else board)
    assert 500 < (tmp_path / "p.png").stat().st_size < 25_000
