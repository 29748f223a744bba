"""The acquisition rules as their formulas read: one prompt and one completion at a time.

In: the rows of one prompt (numpy arrays or torch tensors). Out: a pair of indices. Nothing selects
with these: the vectorised rules are tested against them, `benchmarks/acquisition.py` times both.
Source: the formulas of ActiveUltraFeedback, arXiv 2603.09692, as its research code applies them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Row = Any
"""Rewards of one prompt: anything that an integer indexes."""
Pair = tuple[int, int]


def uniform_draw(mean: Row, half: Row, rng: np.random.Generator, beta: float = 1.0) -> Row:
    """Sampled rewards m_k + beta z_k s_k, with z_k uniform on (-1, 1)."""
    return [mean[k] + beta * rng.uniform(-1, 1) * half[k] for k in range(len(mean))]


def head_draw(heads: Row, rng: np.random.Generator) -> Row:
    """The rewards of one head."""
    return heads[int(rng.integers(len(heads)))]


def double_thompson(draw: Callable[[], Row], sign: float = 1.0) -> Pair:
    """DTS (sign 1) and DRTS (sign -1): the winner of one draw, then of another without it."""
    first = winner(draw())
    return first, winner(draw(), sign, without=first)


def retried_thompson(
    draw: Callable[[], Row], rng: np.random.Generator, sign: float = 1.0, max_iterations: int = 30
) -> Pair:
    """DTS and DRTS of the research code: draw until the second differs, then at random."""
    sampled = draw()
    first = winner(sampled)
    for _ in range(max_iterations):
        second = winner(draw(), sign)
        if second != first:
            return first, second
    return first, int(rng.choice([k for k in range(len(sampled)) if k != first]))


def winner(sampled: Row, sign: float = 1.0, without: int | None = None) -> int:
    """argmax_k sign r_k, over all but one."""
    return largest([k for k in range(len(sampled)) if k != without], lambda k: sign * sampled[k])


def infomax(lower: Row, upper: Row) -> Pair:
    """argmax_{i != j} sigma(U_i - L_j) - sigma(L_i - U_j)."""
    return largest(
        ordered_pairs(len(lower)),
        lambda p: sigma(upper[p[0]] - lower[p[1]]) - sigma(lower[p[0]] - upper[p[1]]),
    )


def infogain(first: int, lower: Row, upper: Row) -> Pair:
    """argmax_{j != first} sigma(U_first - L_j) - sigma(L_first - U_j)."""
    others = [k for k in range(len(lower)) if k != first]
    return first, largest(
        others, lambda j: sigma(upper[first] - lower[j]) - sigma(lower[first] - upper[j])
    )


def deltaucb(lower: Row, upper: Row) -> Pair:
    """argmax_{i != j} U_i - L_j."""
    return largest(ordered_pairs(len(lower)), lambda p: upper[p[0]] - lower[p[1]])


def deltaquantile(lower: Row, upper: Row, quantile: float, epsilon: float) -> Pair:
    """The largest U_i in a window of the pairs sorted by decreasing U_i - L_j."""
    ranked = sorted(ordered_pairs(len(lower)), key=lambda p: float(lower[p[1]] - upper[p[0]]))
    start = min(int(len(ranked) * (quantile - epsilon)), len(ranked) - 1)
    end = max(int(len(ranked) * (quantile + epsilon)), start + 1)
    return largest(ranked[start:end], lambda p: upper[p[0]])


def maxminlcb(mean: Row, half: Row, beta: float = 1.0, buffer: float | None = None) -> Pair:
    """argmax_i min_{j != i} LCB_ij and its j, LCB_ij = m_i - m_j - beta (s_i + s_j)."""
    arms = list(range(len(mean)))
    if buffer is not None:
        arms = [
            i
            for i in arms
            if all(mean[i] - mean[j] + beta * (half[i] + half[j]) > -buffer for j in arms if j != i)
        ]

    def lcb(i: int, j: int) -> float:
        return mean[i] - mean[j] - beta * (half[i] + half[j])

    first = largest(arms, lambda i: min(lcb(i, j) for j in arms if j != i))
    return first, largest([j for j in arms if j != first], lambda j: -lcb(first, j))


def ids(mean: Row, half: Row, beta: float = 1.0, noise_variance: float = 1.0) -> Pair:
    """Greedy g and argmin_k min_p (delta + p Delta_k)^2 / (p I_k), with p on a grid."""
    greedy = largest(range(len(mean)), lambda k: mean[k])
    others = [k for k in range(len(mean)) if k != greedy]
    gap = {k: float(mean[greedy] - mean[k]) for k in others}
    # As delta goes to 0 so do all ratios; their order stays that of a small delta.
    regret = max(1e-9, *(beta * float(half[greedy] + half[k]) - gap[k] for k in others))
    p = np.geomspace(1e-12, 1.0, 3000)

    def ratio(k: int) -> float:
        information = math.log(1 + (half[greedy] ** 2 + half[k] ** 2) / noise_variance)
        return float(((regret + p * gap[k]) ** 2 / p).min()) / information

    return greedy, largest(others, lambda k: -ratio(k))


def upstream_ids(mean: Row, half: Row, beta: float = 1.0, rho2: float = 1.0) -> Pair:
    """The research code's IDS, without its outcome (g, g) and its random ties."""
    high = [mean[k] + beta * half[k] for k in range(len(mean))]
    candidates = [k for k in range(len(mean)) if high[k] > 0.5]
    greedy = largest(candidates, lambda k: mean[k])
    if mean[greedy] < 0.5 and 0 in candidates:
        greedy = 0
    top = max(high)

    def cost(k: int) -> float:
        grid = [step / 100 for step in range(1, 101)]
        squared = min(((1 - p) * top + p * (top + mean[k])) ** 2 / p for p in grid)
        return squared * math.log(1 + half[k] / rho2)

    return greedy, largest([k for k in candidates if k != greedy], lambda k: -cost(k))


def rucb_candidates(mean: Row, half: Row, beta: float = 1.0, buffer: float = 0.0) -> list[int]:
    """Completions that every other one, at best, could lose to."""
    arms = range(len(mean))
    return [
        i
        for i in arms
        if all(
            mean[i] + beta * half[i] + buffer >= mean[k] - beta * half[k] for k in arms if k != i
        )
    ]


def rucb(mean: Row, half: Row, rng: np.random.Generator, beta: float = 1.0) -> Pair:
    """A random possible winner, and the highest upper bound among the others."""
    first = int(rng.choice(rucb_candidates(mean, half, beta)))
    others = [k for k in range(len(mean)) if k != first]
    return first, largest(others, lambda k: mean[k] + beta * half[k])


def random(num_completions: int, rng: np.random.Generator) -> Pair:
    """Two different completions."""
    first, second = rng.choice(num_completions, size=2, replace=False)
    return int(first), int(second)


def ultrafeedback(worth: Row, rng: np.random.Generator, num_sampled: int = 4) -> Pair:
    """The best of a few at random, and another of them."""
    sampled = [int(k) for k in rng.choice(len(worth), size=num_sampled, replace=False)]
    first = largest(sampled, lambda k: worth[k])
    return first, int(rng.choice([k for k in sampled if k != first]))


def maxmin(score: Row) -> Pair:
    """Highest and lowest overall score."""
    first = largest(range(len(score)), lambda k: score[k])
    return first, largest([k for k in range(len(score)) if k != first], lambda k: -score[k])


def deltaqwen(names: Sequence[str], chosen_model: str, rejected_model: str) -> Pair:
    """The completions of two models."""
    first, second = (
        largest(range(len(names)), lambda k, model=model: float(names[k] == model))
        for model in (chosen_model, rejected_model)
    )
    return first, second


def largest(items: Sequence[Any] | range, worth: Callable[[Any], Any]) -> Any:
    """The first of the items with the largest worth."""
    best_item, best_worth = None, -math.inf
    for item in items:
        value = worth(item)
        if best_item is None or value > best_worth:
            best_item, best_worth = item, value
    return best_item


def ordered_pairs(num_completions: int) -> list[Pair]:
    """All (i, j) with i != j."""
    return [(i, j) for i in range(num_completions) for j in range(num_completions) if i != j]


def sigma(x: Any) -> float:
    """The logistic function of a moderate number."""
    return 1.0 / (1.0 + math.exp(-x))
