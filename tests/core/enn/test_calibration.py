"""Calibration figures on cases small enough to compute by hand."""

from __future__ import annotations

import numpy as np
import pytest

from activeuf_core.enn.calibration import (
    coverage,
    difference_bounds,
    expected_calibration_error,
    pair_probability,
    reliability,
)
from activeuf_core.errors import DataError


def test_ece_by_hand() -> None:
    probability = np.array([0.1, 0.15, 0.9, 0.9])
    outcome = np.array([0, 1, 1, 1])
    # Bin 0.1 to 0.2: 0.125 against 0.5; bin 0.9 to 1: 0.9 against 1. Each holds half the pairs.
    assert expected_calibration_error(probability, outcome) == pytest.approx(
        0.5 * 0.375 + 0.5 * 0.1
    )


def test_a_calibrated_forecast_has_little_error() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random(200_000)
    outcome = rng.random(200_000) < probability
    assert expected_calibration_error(probability, outcome) < 0.005
    assert expected_calibration_error(probability**3, outcome) > 0.1


def test_outcomes_may_be_frequencies() -> None:
    assert expected_calibration_error(np.array([0.75]), np.array([0.75])) == pytest.approx(0.0)


def test_the_last_bin_holds_certainty() -> None:
    curve = reliability(np.array([1.0, 0.0]), np.array([1, 0]), num_bins=4)
    assert curve.count_B.tolist() == [1, 0, 0, 1]
    assert curve.predicted_B[[0, 3]].tolist() == [0.0, 1.0]
    assert np.isnan(curve.observed_B[1:3]).all()


@pytest.mark.parametrize(
    ("probability", "outcome", "message"),
    [
        ([], [], "0 probabilities"),
        ([0.5], [1, 0], "1 probabilities and 2 outcomes"),
        ([0.5, 1.5], [1, 0], "probability 1.5 of pair 1"),
        ([np.nan], [1], "nan of pair 0"),
    ],
)
def test_bad_input_is_refused(probability: list[float], outcome: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        reliability(np.array(probability), np.array(outcome))


def test_pair_probability_averages_over_heads() -> None:
    first = np.array([[np.log(3.0), 800.0], [0.0, 800.0]])
    second = np.array([[0.0, -800.0], [0.0, 900.0]])
    np.testing.assert_allclose(pair_probability(first, second), [(0.75 + 0.5) / 2, 0.5])


def test_coverage_counts_what_is_inside() -> None:
    lower, upper = np.array([0.0, 0.0, 0.0, 0.0]), np.array([1.0, 1.0, 1.0, 1.0])
    assert coverage(lower, upper, np.array([0.5, 1.0, 1.1, -0.1])) == 0.5


def test_difference_bounds_cancel_what_draws_share() -> None:
    shared = np.array([[-5.0], [0.0], [5.0]])
    lower, upper = difference_bounds(
        shared + np.array([[1.0], [2.0], [3.0]]), shared, bound_scale=2.0
    )
    assert (lower[0], upper[0]) == (pytest.approx(0.0), pytest.approx(4.0))


def test_difference_bounds_of_gaussian_draws_cover_two_thirds() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=5000)
    draws = truth + rng.normal(size=5000) + rng.normal(size=(200, 5000))
    lower, upper = difference_bounds(draws, np.zeros((200, 5000)))
    assert coverage(lower, upper, truth) == pytest.approx(0.683, abs=0.02)
