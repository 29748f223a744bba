"""Posterior draws and the second completion: exact selection probabilities, by chi-square."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest

from activeuf_core.acquisition.base import Bounds
from activeuf_core.acquisition.config import DRTSConfig, DTSConfig
from activeuf_core.acquisition.registry import build
from activeuf_core.acquisition.thompson import draw_rewards

NUM = 40000
CRITICAL = {1: 10.8, 2: 13.8, 3: 16.3, 4: 18.5, 5: 20.5}
"""99.9 % points of chi-square by degrees of freedom."""
MEAN, HALF = np.array([0.0, 0.4, 0.7]), np.array([1.0, 0.5, 0.6])
HEADS = [[0.0, 1.0, 2.0], [3.0, 1.0, 2.0], [0.0, 1.0, 2.0], [0.0, 5.0, 4.0]]
"""Winners 2, 0, 2, 1: q = (1/4, 1/4, 1/2). Losers 0, 1, 0, 0."""


def winning_probability(mean: np.ndarray, half: np.ndarray) -> np.ndarray:
    """q_k = integral of p_k(x) prod_{l != k} F_l(x), rewards uniform on mean +- half."""
    edges = np.linspace((mean - half).min(), (mean + half).max(), 200001)
    x = (edges[1:] + edges[:-1]) / 2
    below = np.clip((x[:, None] - mean + half) / (2 * half), 0, 1)
    density = (np.abs(x[:, None] - mean) <= half) / (2 * half)
    others = np.stack([np.delete(below, k, axis=1).prod(axis=1) for k in range(len(mean))], axis=1)
    return (density * others).sum(axis=0) * (x[1] - x[0])


def excluding(mean: np.ndarray, half: np.ndarray, i: int) -> np.ndarray:
    """Winning probabilities when completion i does not take part."""
    return np.insert(winning_probability(np.delete(mean, i), np.delete(half, i)), i, 0.0)


def chi_square(pairs_P2: np.ndarray, expected: dict[tuple[int, int], float]) -> float:
    """Distance of the counts of ordered pairs from their probabilities."""
    assert sum(expected.values()) == pytest.approx(1.0, abs=1e-4)
    total = 0.0
    for (i, j), probability in expected.items():
        count = ((pairs_P2[:, 0] == i) & (pairs_P2[:, 1] == j)).sum()
        assert probability > 0 or count == 0
        mean_count = probability * len(pairs_P2)
        total += (count - mean_count) ** 2 / mean_count if probability > 0 else 0.0
    return total


def retried(q: np.ndarray, second: np.ndarray, tries: int) -> dict[tuple[int, int], float]:
    """Pair probabilities when the second is drawn again up to `tries` times, then at random."""
    others = len(q) - 1
    return {
        (i, j): q[i]
        * (second[j] * (1 - second[i] ** tries) / (1 - second[i]) + second[i] ** tries / others)
        for i, j in permutations(range(len(q)), 2)
    }


def test_dts_uniform_has_the_probabilities_of_two_draws(
    repeated: Callable[..., Bounds], stream_of: Callable
) -> None:
    bounds = repeated(NUM, mean=MEAN, half=HALF)
    pairs = build(DTSConfig(noise="uniform")).select(bounds, stream_of(bounds))
    q = winning_probability(MEAN, HALF)
    expected = {(i, j): q[i] * excluding(MEAN, HALF, i)[j] for i, j in permutations(range(3), 2)}
    assert chi_square(pairs, expected) < CRITICAL[5]


def test_drts_uniform_has_the_probabilities_of_a_high_and_a_low_draw(
    repeated: Callable[..., Bounds], stream_of: Callable
) -> None:
    bounds = repeated(NUM, mean=MEAN, half=HALF)
    pairs = build(DRTSConfig(noise="uniform")).select(bounds, stream_of(bounds))
    q = winning_probability(MEAN, HALF)
    expected = {(i, j): q[i] * excluding(-MEAN, HALF, i)[j] for i, j in permutations(range(3), 2)}
    assert chi_square(pairs, expected) < CRITICAL[5]


@pytest.mark.parametrize("tries", [1, 3, 30])
def test_dts_upstream_has_the_probabilities_of_retries(
    repeated: Callable[..., Bounds], stream_of: Callable, tries: int
) -> None:
    bounds = repeated(NUM, mean=MEAN, half=HALF)
    config = DTSConfig(noise="uniform", compat="upstream", max_iterations=tries)
    pairs = build(config).select(bounds, stream_of(bounds))
    q = winning_probability(MEAN, HALF)
    assert chi_square(pairs, retried(q, q, tries)) < CRITICAL[5]


def test_drts_upstream_has_the_probabilities_of_retries(
    repeated: Callable[..., Bounds], stream_of: Callable
) -> None:
    bounds = repeated(NUM, mean=MEAN, half=HALF)
    config = DRTSConfig(noise="uniform", compat="upstream", max_iterations=2)
    pairs = build(config).select(bounds, stream_of(bounds))
    q, low = winning_probability(MEAN, HALF), winning_probability(-MEAN, HALF)
    assert chi_square(pairs, retried(q, low, 2)) < CRITICAL[5]


def test_dts_heads_counts_heads(repeated: Callable[..., Bounds], stream_of: Callable) -> None:
    bounds = repeated(NUM, mean=np.mean(HEADS, axis=0), heads=HEADS)
    pairs = build(DTSConfig()).select(bounds, stream_of(bounds))
    # First by q; then the runner-up of each head without it: head 1 gives 2 to 0, and so on.
    expected = {
        (0, 1): 1 / 16, (0, 2): 3 / 16, (1, 0): 1 / 16,
        (1, 2): 3 / 16, (2, 0): 1 / 8, (2, 1): 3 / 8,
    }  # fmt: skip
    assert chi_square(pairs, expected) < CRITICAL[5]


def test_drts_heads_counts_heads(repeated: Callable[..., Bounds], stream_of: Callable) -> None:
    bounds = repeated(NUM, mean=np.mean(HEADS, axis=0), heads=HEADS)
    pairs = build(DRTSConfig()).select(bounds, stream_of(bounds))
    # Lowest of a head: 0, 1, 0, 0; without 0: 1, 1, 1, 2; without 1: 0, 2, 0, 0.
    expected = {
        (0, 1): 3 / 16, (0, 2): 1 / 16, (1, 0): 3 / 16,
        (1, 2): 1 / 16, (2, 0): 3 / 8, (2, 1): 1 / 8,
    }  # fmt: skip
    assert chi_square(pairs, expected) < CRITICAL[5]


def test_a_dominating_completion_wastes_no_draws(
    repeated: Callable[..., Bounds], stream_of: Callable
) -> None:
    bounds = repeated(2000, mean=[9.0, 1.0, 0.0, -9.0], half=[0.1, 0.1, 0.1, 0.1])
    published = build(DTSConfig(noise="uniform")).select(bounds, stream_of(bounds))
    assert (published == [0, 1]).all()
    config = DTSConfig(noise="uniform", compat="upstream", max_iterations=30)
    counts = np.bincount(build(config).select(bounds, stream_of(bounds))[:, 1], minlength=4)
    assert counts[0] == 0
    assert counts[1:].min() > 580  # the research code's second is then a random one


def test_ucb_beta_scales_the_distance_from_the_mean(
    bounds_of: Callable[..., Bounds], stream_of: Callable
) -> None:
    bounds = bounds_of()
    for noise in ("heads", "uniform"):
        one, three = (
            draw_rewards(bounds, stream_of(bounds), DTSConfig(noise=noise, ucb_beta=beta), 0)
            for beta in (1.0, 3.0)
        )
        np.testing.assert_allclose(three - bounds.mean_PC, 3 * (one - bounds.mean_PC), atol=1e-12)


def test_a_heads_draw_is_one_head_for_all_completions(
    bounds_of: Callable[..., Bounds], stream_of: Callable
) -> None:
    bounds = bounds_of()
    drawn_PC = draw_rewards(bounds, stream_of(bounds), DTSConfig(), 0)
    assert (bounds.heads_EPC == drawn_PC).all(axis=2).any(axis=0).all()


def test_a_uniform_draw_stays_inside_the_bounds(
    bounds_of: Callable[..., Bounds], stream_of: Callable
) -> None:
    bounds = bounds_of()
    drawn_PC = draw_rewards(bounds, stream_of(bounds), DTSConfig(noise="uniform"), 0)
    assert ((drawn_PC > bounds.lower_PC) & (drawn_PC < bounds.upper_PC)).all()
