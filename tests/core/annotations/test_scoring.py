"""Scoring: expectations over digits, means over aspects, log-odds."""

from __future__ import annotations

import math

import pytest

from activeuf_core.annotations.scoring import (
    Judgement,
    expected_rating,
    is_within,
    judgement,
    log_odds,
)
from activeuf_core.errors import DataError


def test_overall_score_is_the_mean_of_the_ratings() -> None:
    assert judgement({"a": 1.0, "b": 4.0}).overall_score == 2.5


def test_no_rating_is_no_score() -> None:
    assert judgement({}) == Judgement({}, None)


def test_expected_rating_is_renormalised_over_the_digits() -> None:
    rating, mass = expected_rating([0.0, 0.0, 0.0, 0.2, 0.2], min_mass=0.1)
    assert rating == pytest.approx(4.5)
    assert mass == pytest.approx(0.4)


def test_reply_without_digits_has_no_rating() -> None:
    assert expected_rating([0.01] * 5, min_mass=0.1)[0] is None
    assert expected_rating([0.0] * 5, min_mass=0.0)[0] is None
    assert expected_rating([math.nan] * 5, min_mass=0.0)[0] is None


@pytest.mark.parametrize("digit", [1, 2, 3, 4, 5])
def test_sure_judge_is_taken_at_its_word(digit: int) -> None:
    mass = [1.0 if value == digit else 0.0 for value in (1, 2, 3, 4, 5)]
    assert expected_rating(mass, 0.5) == (digit, 1.0)


def test_log_odds_of_known_values() -> None:
    assert log_odds(0.5, 1e-6) == 0.0
    assert log_odds(0.75, 1e-6) == pytest.approx(math.log(3))
    assert log_odds(0.25, 1e-6) == pytest.approx(-math.log(3))


def test_log_odds_are_clipped_at_the_ends() -> None:
    assert log_odds(0.0, 1e-6) == pytest.approx(-log_odds(1.0, 1e-6))
    assert log_odds(1.0, 1e-6) == pytest.approx(math.log(1e6 - 1))


@pytest.mark.parametrize("value", [-0.1, 1.1, 4.0, math.nan])
def test_log_odds_of_what_is_no_probability(value: float) -> None:
    with pytest.raises(DataError, match=r"is no probability\. Allowed: 0 to 1"):
        log_odds(value, 1e-6)


def test_scale_is_closed() -> None:
    assert is_within(Judgement({"a": 1.0, "b": 5.0}), (1, 5))
    assert not is_within(Judgement({"a": 1.0, "b": 5.01}), (1, 5))
