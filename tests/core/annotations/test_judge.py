"""The stage `annotations`: verifiable and precomputed judges, missing ratings, checks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from activeuf_core import paths
from activeuf_core.annotations.config import AnnotationsConfig
from activeuf_core.config import parse
from activeuf_core.errors import ConfigError, DataError
from activeuf_core.schemas import read_rows, to_text
from activeuf_core.stage import StageContext
from tests.fakes.stage_context import passed

Judged = Callable[..., StageContext]
VERIFIABLE = {"mode": "verifiable"}
LOG_ODDS = {"mode": "precomputed", "transform": "log_odds"}
LISBON = {"constraints": to_text([{"kind": "contains", "values": ["Lisbon"]}])}


def scores(context: StageContext) -> list[float | None]:
    return [row["overall_score"] for row in read_rows(context.output / paths.ANNOTATIONS)]


def ratings(context: StageContext) -> list[dict[str, float]]:
    return [json.loads(row["ratings"]) for row in read_rows(context.output / paths.ANNOTATIONS)]


def test_verifiable_score_is_the_mean_of_the_aspects(judged: Judged) -> None:
    context = judged(VERIFIABLE, [LISBON] * 2, [{"completion": "Lisbon"}, {"completion": "Porto"}])
    right, wrong = scores(context)
    assert right is not None
    assert wrong is not None
    assert right > wrong
    assert right == pytest.approx(sum(ratings(context)[0].values()) / len(ratings(context)[0]))
    assert passed(context) == {
        "annotations_complete": True,
        "ratings_within_scale": True,
        "ratings_vary": True,
    }


@pytest.mark.parametrize(
    ("answer", "right"),
    [("42", "It is 42."), ("Lisbon", "lisbon it is"), ("Nan", "The bread is nan."), ("inf", "inf")],
)
def test_bare_answer_is_checked(judged: Judged, answer: str, right: str) -> None:
    texts = [{"completion": right}, {"completion": "7"}]
    found = ratings(judged(VERIFIABLE, [{"answer": answer}] * 2, texts))
    assert [rating["correctness"] for rating in found] == [5.0, 1.0]


def test_prompt_with_nothing_to_check_is_unrated(judged: Judged) -> None:
    context = judged(VERIFIABLE, [LISBON, {}], [{}, {}])
    assert scores(context)[1] is None
    assert context.metadata["missing"] == 1
    assert not passed(context)["annotations_complete"]


def test_unknown_constraint_names_the_prompt(judged: Judged) -> None:
    with pytest.raises(DataError, match=r"prompt 'p0': .*unknown kind 'rhymes'"):
        judged(VERIFIABLE, [{"constraints": '[{"kind": "rhymes"}]'}], [{}])


def test_given_probability_becomes_log_odds(judged: Judged) -> None:
    context = judged(LOG_ODDS, [{}, {}], [{"given_rating": 0.75}, {"given_rating": 0.5}])
    assert scores(context) == pytest.approx([math.log(3), 0.0])
    assert ratings(context) == [{"given": 0.75}, {"given": 0.5}]


def test_missing_given_rating_stays_missing(judged: Judged) -> None:
    context = judged({"mode": "precomputed"}, [{}, {}], [{"given_rating": 3.0}, {}])
    assert scores(context) == [3.0, None]
    assert ratings(context)[1] == {}


def test_stand_in_for_no_rating_is_missing(judged: Judged) -> None:
    settings = {"mode": "precomputed", "missing_values": [0.0]}
    assert scores(judged(settings, [{}] * 2, [{"given_rating": 3.0}, {"given_rating": 0.0}])) == [
        3.0,
        None,
    ]


def test_given_rating_outside_its_scale_stops_what_reads_it(judged: Judged) -> None:
    settings = {"mode": "precomputed", "scale": [1, 5]}
    context = judged(settings, [{}] * 2, [{"given_rating": 3.0}, {"given_rating": 0.0}])
    assert not passed(context)["ratings_within_scale"]
    found = next(c for c in context.checks if c["name"] == "ratings_within_scale")
    assert found["blocking"]  # nothing is made from such annotations
    told = found["description"]
    assert told.startswith("1 completions have a rating outside the judge's scale (1 to 5)")
    assert told.endswith("first {'given': 0.0} of 'm' for prompt 'p1'.")


@pytest.mark.parametrize("rating", [math.nan, math.inf])
def test_given_rating_that_is_not_finite_is_named(judged: Judged, rating: float) -> None:
    given = [{"given_rating": 3.0}, {"given_rating": rating}]
    with pytest.raises(
        DataError, match=r"prompt 'p1', 'm': the given rating is (nan|inf)\. Allowed"
    ):
        judged({"mode": "precomputed"}, [{}] * 2, given)


@pytest.mark.parametrize(
    ("aspects", "words"),
    [
        (["honestly"], "unknown aspect 'honestly'; did you mean 'honesty'"),
        (["honesty", "honesty"], "an aspect stands twice among honesty, honesty"),
        ([], "at least 1 item"),
    ],
)
def test_wrong_aspects_are_refused_before_anything_is_asked(aspects: list[str], words: str) -> None:
    judge = {"mode": "llm", "model": {"name": "m", "identity": "x"}, "aspects": aspects}
    with pytest.raises(ConfigError, match=words):
        parse(AnnotationsConfig, {"judge": judge}, "dataset")


def test_given_rating_that_is_no_probability_is_named(judged: Judged) -> None:
    with pytest.raises(DataError, match=r"prompt 'p0', 'm': the given rating 3.0 is no prob"):
        judged(LOG_ODDS, [{}], [{"given_rating": 3.0}])


def test_nothing_rated_says_what_the_judge_needs(judged: Judged) -> None:
    with pytest.raises(
        DataError, match=r"m: none of the 1 completions could be rated.*rating_column"
    ):
        judged(LOG_ODDS, [{}], [{}])


def test_equal_scores_fail_the_check(judged: Judged) -> None:
    context = judged(LOG_ODDS, [{}, {}], [{"given_rating": 0.5}, {"given_rating": 0.5}])
    assert not passed(context)["ratings_vary"]


def test_completion_of_an_unknown_prompt_is_an_error(judged: Judged) -> None:
    with pytest.raises(DataError, match=r"'m' answers prompt 'p9', which is not among the 1"):
        judged(VERIFIABLE, [LISBON], [{"prompt_id": "p9"}])


def test_report_shows_scores(judged: Judged) -> None:
    context = judged(LOG_ODDS, [{}, {}], [{"given_rating": 0.75}, {"given_rating": 0.5}])
    shown: dict[str, Any] = context.metadata
    assert shown["mean_given"] == 0.625
    assert shown["preview"]["rows"][0]["completion"] == "an answer"
    assert Path(context.output / shown["scores"]["path"]).stat().st_size < 25_000
