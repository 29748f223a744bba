"""Does the uncertainty mean what it says? Coverage of bounds, calibration of pair probabilities.

In: bounds, probabilities and outcomes on held-out comparisons. Out: numbers. Pure numpy.
Shapes: N pairs or completions, E draws or ensemble heads, B bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activeuf_core.errors import DataError

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class ReliabilityCurve:
    """Predicted probability against observed frequency, in bins of equal width."""

    predicted_B: Floats
    """Mean prediction in each bin; NaN where it is empty."""
    observed_B: Floats
    """Share of positive outcomes in each bin; NaN where it is empty."""
    count_B: NDArray[np.int64]

    @property
    def expected_calibration_error(self) -> float:
        """Mean distance of predicted and observed, each bin by its share of the pairs."""
        distance_B = np.nan_to_num(np.abs(self.predicted_B - self.observed_B))
        return float((distance_B * self.count_B).sum() / self.count_B.sum())


def pair_probability(first_EN: Floats, second_EN: Floats) -> Floats:
    """Probability that the first is preferred, shape (N,): the mean over draws of sigma(r - r')."""
    return (0.5 * (1.0 + np.tanh(0.5 * (first_EN - second_EN)))).mean(axis=0)


def reliability(
    probability_N: Floats, outcome_N: NDArray[Any], num_bins: int = 10
) -> ReliabilityCurve:
    """Compare probabilities with outcomes (1 or True where it came about, also a frequency).

    Give each pair in a random order: with the chosen one always first, all outcomes are 1.
    Raises: DataError when there is nothing to compare, or a probability is outside 0 to 1.
    """
    if not len(probability_N) or len(probability_N) != len(outcome_N):
        raise DataError(f"{len(probability_N)} probabilities and {len(outcome_N)} outcomes.")
    wrong = ~((probability_N >= 0.0) & (probability_N <= 1.0))
    if wrong.any():
        raise DataError(
            f"probability {probability_N[wrong][0]} of pair {np.flatnonzero(wrong)[0]} is not in "
            "0 to 1."
        )
    bin_N = np.minimum((probability_N * num_bins).astype(np.int64), num_bins - 1)
    count_B = np.bincount(bin_N, minlength=num_bins)
    filled_B = np.where(count_B > 0, count_B, np.nan)
    return ReliabilityCurve(
        np.bincount(bin_N, weights=probability_N, minlength=num_bins) / filled_B,
        np.bincount(bin_N, weights=outcome_N.astype(np.float64), minlength=num_bins) / filled_B,
        count_B,
    )


def expected_calibration_error(
    probability_N: Floats, outcome_N: NDArray[Any], num_bins: int = 10
) -> float:
    """ECE of pair probabilities; see `reliability`."""
    return reliability(probability_N, outcome_N, num_bins).expected_calibration_error


def coverage(lower_N: Floats, upper_N: Floats, truth_N: Floats) -> float:
    """Share of true values inside their bounds, ends included.

    For bounds of mean +- one standard deviation, 0.68 is right if errors are Gaussian. Rewards have
    no origin: compare differences of two completions, or centre both sides per prompt.
    """
    return float(np.mean((truth_N >= lower_N) & (truth_N <= upper_N)))


def difference_bounds(
    first_EN: Floats, second_EN: Floats, bound_scale: float = 1.0
) -> tuple[Floats, Floats]:
    """Bounds of reward differences from draws, each shape (N,): mean +- bound_scale std over draws.

    Narrower than the difference of two completions' bounds, because draws keep what both share.
    """
    difference_EN = first_EN - second_EN
    mean_N = difference_EN.mean(axis=0)
    half_N = bound_scale * difference_EN.std(axis=0, ddof=1)
    return mean_N - half_N, mean_N + half_N
