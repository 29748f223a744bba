"""The exact selection probabilities of every rule that draws, by chi-square at a fixed seed; and
deterministic rules on ragged batches, pair for pair.

DTS and DRTS with one draw per completion are in `test_thompson`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest

from activeuf_core.acquisition import config as settings
from activeuf_core.acquisition import reference
from activeuf_core.acquisition.base import Bounds
from activeuf_core.acquisition.registry import ACQUISITION_FUNCTIONS, build
from tests.core.acquisition.test_thompson import (
    HALF,
    HEADS,
    MEAN,
    chi_square,
    excluding,
    retried,
    winning_probability,
)

Probabilities = dict[tuple[int, int], float]

NUM = 40000
LOWER, UPPER = MEAN - HALF, MEAN + HALF
FIVE = np.array([0.3, -1.0, 2.0, 0.9, 0.1])
WINS, LOSSES = np.array([1, 1, 2]) / 4, np.array([3, 1, 0]) / 4
"""How many of the four `HEADS` each completion wins and loses."""


def pairs_of(first: np.ndarray, second: Callable[[int], int]) -> Probabilities:
    """Return the probabilities when the second follows from the first."""
    pairs = dict.fromkeys(permutations(range(len(first)), 2), 0.0)
    for i, probability in enumerate(first):
        if probability > 0:
            pairs[i, second(i)] = float(probability)
    return pairs


def infogain_second(first: int) -> int:
    return reference.infogain(first, LOWER, UPPER)[1]


def rival(first: int, beta: float = 1.0) -> int:
    """Return the highest optimistic estimate among the others."""
    return max((k for k in range(3) if k != first), key=lambda k: MEAN[k] + beta * HALF[k])


def among(allowed: list[int]) -> np.ndarray:
    return np.array([1 / len(allowed) if k in allowed else 0.0 for k in range(3)])


def best_of_sample(worth: np.ndarray, size: int) -> Probabilities:
    """Return the probabilities of the best of a random subset, then another of it."""
    pairs = dict.fromkeys(permutations(range(len(worth)), 2), 0.0)
    subsets = list(combinations(range(len(worth)), size))
    for subset in subsets:
        best = max(subset, key=lambda k: worth[k])
        for other in set(subset) - {best}:
            pairs[best, other] += 1 / len(subsets) / (size - 1)
    return pairs


def two_draws(q: np.ndarray, second: Callable[[int], np.ndarray]) -> Probabilities:
    return {(i, j): q[i] * second(i)[j] for i, j in permutations(range(len(q)), 2)}


WIDE = winning_probability(MEAN, 2 * HALF)
LAW: list[tuple[settings.MethodConfig, Probabilities]] = [
    (settings.RandomConfig(), dict.fromkeys(permutations(range(3), 2), 1 / 6)),
    (
        settings.DTSConfig(noise="uniform", ucb_beta=2.0),
        two_draws(WIDE, lambda i: excluding(MEAN, 2 * HALF, i)),
    ),
    (settings.DTSConfig(compat="upstream", max_iterations=3), retried(WINS, WINS, 3)),
    (settings.DRTSConfig(compat="upstream", max_iterations=2), retried(WINS, LOSSES, 2)),
    (
        settings.DRTSConfig(noise="uniform", ucb_beta=2.0),
        two_draws(WIDE, lambda i: excluding(-MEAN, 2 * HALF, i)),
    ),
    (settings.InfoGainConfig(), pairs_of(WINS, infogain_second)),
    (
        settings.InfoGainConfig(noise="uniform"),
        pairs_of(winning_probability(MEAN, HALF), infogain_second),
    ),
    (settings.RUCBConfig(), pairs_of(among(reference.rucb_candidates(MEAN, HALF)), rival)),
    (
        settings.RUCBConfig(compat="upstream", ucb_beta=0.3),
        pairs_of(
            among([k for k in range(3) if MEAN[k] + 0.3 * HALF[k] > 0.5]), lambda i: rival(i, 0.3)
        ),
    ),
    (settings.UltraFeedbackConfig(num_sampled=2), best_of_sample(MEAN, 2)),
]


@pytest.mark.parametrize(("config", "law"), LAW, ids=[str(config) for config, _ in LAW])
def test_pairs_have_their_exact_probabilities(
    repeated: Callable[..., Bounds],
    stream_of: Callable,
    config: settings.MethodConfig,
    law: Probabilities,
) -> None:
    bounds = repeated(NUM, mean=MEAN, half=HALF, heads=HEADS)
    pairs = build(config).select(bounds, stream_of(bounds))
    degrees = sum(probability > 0 for probability in law.values()) - 1
    assert chi_square(pairs, law) < _quantile_999(degrees)


@pytest.mark.parametrize("compat", [None, "upstream"])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_ultrafeedback_has_the_probabilities_of_a_random_subset(
    repeated: Callable[..., Bounds], stream_of: Callable, compat: Any, size: int
) -> None:
    bounds = repeated(NUM, mean=FIVE if compat else -FIVE, score=-FIVE if compat else FIVE)
    config = settings.UltraFeedbackConfig(num_sampled=size, compat=compat)
    pairs = build(config).select(bounds, stream_of(bounds))
    law = best_of_sample(FIVE, size)
    degrees = sum(probability > 0 for probability in law.values()) - 1
    assert chi_square(pairs, law) < _quantile_999(degrees)


def _quantile_999(degrees: int) -> float:
    """Return chi-square's 99.9 % point, by Wilson and Hilferty's approximation."""
    part = 2 / (9 * degrees)
    return degrees * (1 - part + 3.09 * part**0.5) ** 3


def upstream_ids(row: dict[str, np.ndarray]) -> tuple[int, int]:
    return reference.upstream_ids(row["mean"], row["half"])


PAIR_FOR_PAIR: dict[str, tuple[settings.MethodConfig, Callable[..., Any]]] = {
    "infomax": (
        settings.InfoMaxConfig(),
        lambda row: sorted(reference.infomax(row["lower"], row["upper"])),
    ),
    "maxminlcb": (
        settings.MaxMinLCBConfig(ucb_beta=2.0),
        lambda row: reference.maxminlcb(row["mean"], row["half"], 2.0),
    ),
    "deltaucb": (
        settings.DeltaUCBConfig(),
        lambda row: reference.deltaucb(row["lower"], row["upper"]),
    ),
    "deltaquantile": (
        settings.DeltaQuantileConfig(),
        lambda row: reference.deltaquantile(row["lower"], row["upper"], 0.05, 0.0),
    ),
    "ids": (settings.IDSConfig(compat="upstream"), upstream_ids),
    "maxmin": (settings.MaxMinConfig(), lambda row: reference.maxmin(row["score"])),
    "deltaqwen": (
        settings.DeltaQwenConfig(),
        lambda row: reference.deltaqwen(
            row["models"].tolist(), "Qwen/Qwen3-32B", "Qwen/Qwen3-0.6B"
        ),
    ),
}


@pytest.mark.parametrize(
    ("name", "size"),
    [
        (name, size)
        for name in PAIR_FOR_PAIR
        for size in ((300, 3), (300, 8), (40, 30))
        if name != "deltaqwen" or size[1] <= 8  # the fixture names eight models
    ],
)
def test_deterministic_rules_pick_the_pairs_of_the_formulas(
    bounds_of: Callable[..., Bounds], stream_of: Callable, name: str, size: tuple[int, int]
) -> None:
    config, formula = PAIR_FOR_PAIR[name]
    bounds = _bounds(bounds_of, *size)
    pairs = build(config).select(bounds, stream_of(bounds))
    checked = 0
    for number, pair in enumerate(pairs.tolist()):
        places = np.flatnonzero(bounds.mask_PC[number])
        row = _row(bounds, number, places)
        if name == "ids" and (row["upper"] > 0.5).sum() < 2:
            continue  # there the research code pairs a completion with itself
        assert pair == [int(places[place]) for place in formula(row)]
        checked += 1
    assert checked > len(pairs) / 2


def test_every_rule_is_tested_by_law_or_pair_for_pair() -> None:
    drawn = {config.method for config, _ in LAW}
    assert drawn | set(PAIR_FOR_PAIR) == set(ACQUISITION_FUNCTIONS)


def _bounds(bounds_of: Callable[..., Bounds], num_prompts: int, num_completions: int) -> Bounds:
    """Return a ragged batch; one that is wider than the fixture's has no models' names."""
    if num_completions <= 8:
        return bounds_of(num_prompts, num_completions, keep=0.7)
    rng = np.random.default_rng(3)
    shape = (num_prompts, num_completions)
    mean_PC, half_PC = rng.normal(size=shape), rng.uniform(0.2, 1.5, size=shape)
    mask_PC = rng.random(shape) < 0.7
    mask_PC[:, :2] = True
    return Bounds(
        mean_PC,
        mean_PC - half_PC,
        mean_PC + half_PC,
        mask_PC,
        [str(number) for number in range(num_prompts)],
        overall_score_PC=rng.normal(size=shape),
    )


def _row(bounds: Bounds, number: int, places: np.ndarray) -> dict[str, np.ndarray]:
    """Return the completions of a prompt that exist, as its formula takes them."""
    named = {
        "mean": bounds.mean_PC,
        "half": bounds.half_width_PC,
        "lower": bounds.lower_PC,
        "upper": bounds.upper_PC,
        "score": bounds.overall_score_PC,
        "models": bounds.completion_models_PC,
    }
    return {name: array[number, places] for name, array in named.items() if array is not None}
