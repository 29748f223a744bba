"""Experiments side by side: seeds together, deltas to the baseline, nothing invented."""

from __future__ import annotations

from pathlib import Path

import pytest

from activeuf_core.artifacts import read_json, write_json
from activeuf_core.paths import (
    LEADERBOARD_HTML,
    LEADERBOARD_JSON,
    LEADERBOARD_MARKDOWN,
    LEADERBOARD_PLOT,
    METRICS,
    SAMPLE_EFFICIENCY,
    SCORES,
)
from activeuf_core.reporting import leaderboard
from activeuf_core.reporting.config import LeaderboardRow
from activeuf_core.reporting.leaderboard import annotations_bought, interval, run, seeds_of
from activeuf_core.reporting.scores import FINAL_MEAN
from tests.core.reporting.conftest import MakeBoard, all_scores, scores_of
from tests.fakes.stage_context import MakeContext, passed


def row(
    name: str, acquisition: str = "random", seed: int = 1, settings: str = ""
) -> LeaderboardRow:
    """Return one experiment of the leaderboard's config."""
    return LeaderboardRow(
        experiment=name,
        dataset="demo",
        acquisition=acquisition,
        seed=seed,
        scores="",
        settings=settings,
    )


def groups(*rows: LeaderboardRow) -> list[list[str]]:
    """Return the names of the experiments that form one row each."""
    return [[member.experiment for member in members] for members in seeds_of(rows)]


def test_seeds_of_one_setting_are_one_row() -> None:
    assert groups(row("a", seed=1), row("b", seed=2), row("c", "drts")) == [["a", "b"], ["c"]]


def test_equal_seeds_are_no_repetition() -> None:
    assert groups(row("a", seed=1), row("b", seed=1)) == [["a"], ["b"]]


def test_other_settings_are_no_repetition() -> None:
    assert groups(row("a", seed=1), row("b", seed=2, settings="beta 2")) == [["a"], ["b"]]


def test_the_interval_is_student_s() -> None:
    assert interval([0.1, 0.3]) == pytest.approx(12.706 * 0.1)
    assert interval([0.2] * 40) == pytest.approx(0.0)


def test_the_quantiles_are_right() -> None:
    stats = pytest.importorskip("scipy.stats")
    for freedom in (*range(1, 40), 60, 1000):
        values = [0.0] * freedom + [1.0]
        expected = stats.t.ppf(0.975, freedom) * stats.sem(values)
        assert interval(values) == pytest.approx(expected, rel=3e-4)


def test_the_best_comes_first_and_what_has_no_scores_last(make_board: MakeBoard) -> None:
    low, high = all_scores(0.2), all_scores(0.6)
    board = make_board({"none": ("x", 1, None), "low": ("y", 1, low), "high": ("z", 1, high)})
    assert [r["name"] for r in board["rows"]] == ["high", "low", "none"]


def test_deltas_are_to_the_baseline(make_board: MakeBoard) -> None:
    board = make_board(
        {"a": ("random", 1, all_scores(0.2)), "b": ("drts", 1, all_scores(0.5))}, baseline="a"
    )
    best, base = board["rows"]
    assert best["cells"]["gsm8k"]["delta"] == pytest.approx(0.3)
    assert base["is_baseline"]
    assert base["cells"]["gsm8k"]["delta"] is None


def test_a_missing_score_has_no_delta(make_board: MakeBoard) -> None:
    board = make_board(
        {"a": ("random", 1, all_scores(0.2)), "b": ("drts", 1, scores_of({"gsm8k": 0.5}))}, "a"
    )
    cells = board["rows"][1]["cells"]
    assert (cells["ifeval"]["value"], cells["ifeval"]["delta"]) == (None, None)
    assert cells["gsm8k"]["delta"] == pytest.approx(0.3)


def test_a_baseline_without_scores_is_said(make_board: MakeBoard) -> None:
    board = make_board({"b": ("drts", 1, all_scores(0.5))}, baseline="a")
    assert board["baseline"] is None
    assert board["notes"][0] == "The baseline a has no scores yet: there are no deltas."


def test_seeds_give_mean_and_interval(make_board: MakeBoard) -> None:
    board = make_board(
        {"a": ("drts", 1, all_scores(0.4)), "b": ("drts", 2, all_scores(0.6))}, baseline="b"
    )
    (only,) = board["rows"]
    cell = only["cells"][FINAL_MEAN]
    assert (only["name"], only["seeds"]) == ("drts on demo (2 seeds)", [1, 2])
    assert (cell["value"], cell["spread_kind"], cell["num_seeds"]) == (0.5, "t95", 2)
    assert cell["spread"] == pytest.approx(12.706 * 0.1)


def test_one_seed_shows_the_benchmark_s_error(make_board: MakeBoard) -> None:
    cells = make_board({"a": ("drts", 1, all_scores(0.4))})["rows"][0]["cells"]
    assert (cells["gsm8k"]["spread"], cells["gsm8k"]["spread_kind"]) == (0.01, "stderr")
    assert cells[FINAL_MEAN]["spread_kind"] is None


def test_a_seed_without_a_score_leaves_the_others(make_board: MakeBoard) -> None:
    board = make_board({"a": ("drts", 1, all_scores(0.4)), "b": ("drts", 2, None)})
    cell = board["rows"][0]["cells"]["gsm8k"]
    assert (cell["value"], cell["num_seeds"], cell["spread_kind"]) == (0.4, 1, None)


def test_cells_that_not_all_seeds_are_behind_are_said(make_board: MakeBoard) -> None:
    partial = scores_of({"gsm8k": 0.6})
    board = make_board({"a": ("drts", 1, all_scores(0.4)), "b": ("drts", 2, partial)})
    [note] = [note for note in board["notes"] if "seeds are there" in note]
    assert note.startswith("drts on demo (2 seeds): not all 2 seeds are there: Minerva Math (1), ")
    assert "GSM8K" not in note


def test_scores_on_other_rows_are_not_compared_silently(make_board: MakeBoard) -> None:
    other = scores_of({"gsm8k": 0.1}, gsm8k={"data": {"name": "other", "identity": "2"}})
    board = make_board({"a": ("x", 1, all_scores(0.5)), "b": ("y", 1, other)})
    assert "GSM8K: the experiments were scored on 2 different sets of rows." in board["notes"]


def test_names_that_share_a_column_are_said_not_to_compare(make_board: MakeBoard) -> None:
    like = scores_of({"gsm8k": 0.1}, gsm8k={"title": "Sums", "data": None})
    notes = make_board({"a": ("x", 1, all_scores(0.5)), "b": ("y", 1, like)})["notes"]
    assert "GSM8K and Sums share a column and do not compare." in notes


def test_a_mean_without_a_domain_is_noted(make_board: MakeBoard) -> None:
    partial = scores_of({"rewardbench2": 0.1}, rewardbench2={"missing_parts": ["Ties"]})
    notes = make_board({"a": ("x", 1, partial)})["notes"]
    assert "RewardBench 2: some scores are means without Ties." in notes


def test_adopted_scores_are_called_that(make_board: MakeBoard) -> None:
    taken = scores_of({"gsm8k": 0.5}, gsm8k={"adopted_from": "/elsewhere"})
    notes = make_board({"a": ("x", 1, taken), "b": ("x", 2, all_scores(0.5))})["notes"]
    assert "Adopted, not computed here: a (GSM8K)." in notes


def test_seeds_of_one_file_are_called_as_the_file(make_board: MakeBoard) -> None:
    one = all_scores(0.4)
    board = make_board({"big-seed=1": ("drts", 1, one), "big-seed=2": ("drts", 2, one)})
    assert board["rows"][0]["name"] == "big (2 seeds)"


def test_losses_and_data_sets_are_told_apart(make_board: MakeBoard) -> None:
    runs = {name: ("drts", 1, all_scores(0.4)) for name in ("a", "b", "c")}
    facts = {"b": {"loss": "ipo", "settings": "b"}, "c": {"dataset": "tulu3"}}
    methods = {r["name"]: r["method"] for r in make_board(runs, **facts)["rows"]}
    assert methods == {"a": "drts on demo", "b": "drts, ipo on demo", "c": "drts on tulu3"}


def test_what_is_left_out_is_told_from_what_is_missing(make_board: MakeBoard) -> None:
    out = scores_of({"gsm8k": 0.5}, ifeval={"reason": "left out"})
    board = make_board({"a": ("x", 1, out), "b": ("y", 1, all_scores(0.2))})
    cells = next(r["cells"] for r in board["rows"] if r["name"] == "a")
    assert (cells["ifeval"]["state"], cells["truthfulqa"]["state"]) == ("left out", "missing")
    assert "left out: the experiment does without that benchmark." in board["notes"]


def test_published_scores_name_their_source(make_board: MakeBoard) -> None:
    told = scores_of({"gsm8k": 0.5}, gsm8k={"published": "a paper", "data": None})
    board = make_board({"p": ("", 0, told)}, p={"baseline": "published", "dataset": ""})
    assert "p: published scores (a paper), not computed here." in board["notes"]
    assert board["rows"][0]["seeds"] == []


def test_annotations_are_counted_by_the_loop(tmp_path: Path) -> None:
    assert annotations_bought(tmp_path) is None
    rows = ('{"step": 0, "annotations": 16.0}', '{"step": 1, "annotations": 30.0}')
    (tmp_path / METRICS).write_text("\n".join(rows) + "\n")
    assert annotations_bought(tmp_path) == 30


def test_the_stage_writes_every_form(make_context: MakeContext, tmp_path: Path) -> None:
    write_json(tmp_path / "a" / SCORES, all_scores(0.5))
    (tmp_path / "a" / METRICS).write_text('{"step": 0, "annotations": 64.0}\n')
    rows = [row(name).model_dump() for name in ("a", "b")]
    both = {"scores": {"a": tmp_path / "a"}, "preference_dataset": {"a": tmp_path / "a"}}
    context = make_context("leaderboard", {"rows": rows, "baseline": "a"}, both)
    run(context)
    assert read_json(context.output / LEADERBOARD_JSON)["rows"][0]["annotations"] == 64
    assert context.metadata["sample_efficiency"]["kind"] == "plot"
    for name in (LEADERBOARD_MARKDOWN, LEADERBOARD_HTML, LEADERBOARD_PLOT, SAMPLE_EFFICIENCY):
        assert (context.output / name).stat().st_size > 100
    board = read_json(context.output / LEADERBOARD_JSON)
    assert [r["name"] for r in board["rows"]] == ["a", "b"]
    assert passed(context) == {"leaderboard_not_empty": True}
    assert "0.500" in leaderboard.render_text(board["rows"])


def test_no_scores_at_all_are_still_a_board(make_context: MakeContext) -> None:
    context = make_context("leaderboard", {"rows": []})
    run(context)
    assert passed(context) == {"leaderboard_not_empty": False}
    assert leaderboard.render_text([]) == "No experiments.\n"
