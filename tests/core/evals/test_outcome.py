"""A score becomes files, facts and a picture."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from activeuf_core.artifacts import read_json
from activeuf_core.evals.benchmarks import benchmark
from activeuf_core.evals.config import ScoreConfig
from activeuf_core.evals.outcome import (
    Outcome,
    Part,
    Prediction,
    mean_of_parts,
    mean_part,
    publish,
)
from activeuf_core.paths import PREDICTIONS, SCORE, SCORE_PLOT
from activeuf_core.stage import StageContext
from tests.core.evals.conftest import MakeScore
from tests.fakes.stage_context import passed

RIGHT = Prediction("1", "ab", "5", 1.0)
WRONG = Prediction("2", "cd", "", 0.0, is_empty=True, is_truncated=True)
OUTCOME = Outcome(
    score=0.5,
    stderr=0.5,
    parts={"correct": Part(0.5, 0.5, 2), "nothing": Part(None, None, 0)},
    predictions=[RIGHT, WRONG],
    details={"contexts_cut": 0},
    settings={"dtype": "float32"},
    harness={"name": "lm-eval", "version": "0"},
    task_version="1.0",
)


def published(make_score: MakeScore, outcome: Outcome, rows: int = 2) -> StageContext:
    """Publish an outcome of GSM8K."""
    context = make_score("gsm8k", title="Sums")
    publish(context, benchmark("gsm8k"), context.config(ScoreConfig), rows, outcome)
    return context


def test_the_mean_has_a_standard_error() -> None:
    assert mean_part([1.0, 0.0, 1.0, 0.0]) == Part(0.5, pytest.approx((1 / 12) ** 0.5), 4)


def test_one_value_has_no_standard_error_and_none_no_mean() -> None:
    assert (mean_part([0.25]), mean_part([])) == (Part(0.25, None, 1), Part(None, None, 0))


def test_parts_count_equally_whatever_their_size() -> None:
    parts = [Part(1.0, 0.3, 100), Part(0.0, 0.4, 1), Part(None, None, 0)]
    assert mean_of_parts(parts) == Part(0.5, pytest.approx(0.25), 101)


def test_the_error_of_a_mean_needs_all_errors() -> None:
    assert mean_of_parts([Part(1.0, 0.3, 9), Part(0.0, None, 1)]).stderr is None


def test_the_record_says_how_it_came_about(make_score: MakeScore) -> None:
    context = published(make_score, OUTCOME)
    found = read_json(context.output / SCORE)
    assert (found["benchmark"], found["title"], found["score"], found["n"]) == (
        *("gsm8k", "Sums"),
        *(0.5, 2),
    )
    assert found["details"]["parts"]["nothing"] == {"score": None, "stderr": None, "n": 0}
    assert found["data"] == {"name": "rows", "identity": "1"}


def test_predictions_lie_beside_the_score(make_score: MakeScore) -> None:
    context = published(make_score, OUTCOME)
    lines = (context.output / PREDICTIONS).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["correct"] for line in lines] == [1.0, 0.0]


def test_a_person_sees_score_table_and_plot(make_score: MakeScore) -> None:
    context = published(make_score, OUTCOME)
    assert (context.metadata["title"], context.metadata["score"]) == ("Sums", 0.5)
    assert context.metadata["predictions"]["rows"][0]["output"] == "5"
    assert 1_000 < (context.output / SCORE_PLOT).stat().st_size < 25_000


def test_what_is_wrong_with_the_outputs_is_a_check(make_score: MakeScore) -> None:
    context = published(make_score, OUTCOME, rows=3)
    assert passed(context) == {
        "score_in_range": True,
        "score_covers_benchmark": False,
        "outputs_not_empty": False,
        "outputs_not_truncated": False,
    }


@pytest.mark.parametrize(("score", "right"), [(1.005, True), (1.02, False), (-0.02, False)])
def test_a_score_is_a_fraction(make_score: MakeScore, score: float, right: bool) -> None:
    context = published(make_score, replace(OUTCOME, score=score))
    check = next(check for check in context.checks if check["name"] == "score_in_range")
    assert (check["passed"], check["blocking"]) == (right, True)
