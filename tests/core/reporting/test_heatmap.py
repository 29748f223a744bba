"""The leaderboard as a picture."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from activeuf_core.reporting.heatmap import plot_heatmap, shades_of
from tests.core.reporting.conftest import MakeBoard, all_scores, scores_of


def test_shades_compare_within_a_column() -> None:
    assert shades_of([0.2, 0.3, 0.4]) == pytest.approx([0.0, 0.5, 1.0])


def test_what_is_missing_has_no_shade() -> None:
    shades = shades_of([None, 0.3, 0.3])
    assert math.isnan(shades[0])
    assert shades[1:] == [0.5, 0.5]


@pytest.mark.parametrize("count", [0, 1, 12, 45])
def test_any_number_of_rows_is_a_small_picture(
    count: int, make_board: MakeBoard, tmp_path: Path
) -> None:
    experiments = {f"e{i}": (f"rule-{i}", 1, all_scores(i / 50)) for i in range(count)}
    experiments["empty"] = ("random", 1, scores_of({}))
    plot_heatmap(tmp_path / "plot.png", make_board(experiments))
    assert 1_000 < (tmp_path / "plot.png").stat().st_size < 40_000
