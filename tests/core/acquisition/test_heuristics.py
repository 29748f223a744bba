"""The static baselines, by hand and by frequency."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest

from activeuf_core.acquisition import reference
from activeuf_core.acquisition.base import Bounds
from activeuf_core.acquisition.config import (
    DeltaQwenConfig,
    MaxMinConfig,
    RandomConfig,
    UltraFeedbackConfig,
)
from activeuf_core.acquisition.registry import build
from activeuf_core.errors import DataError


def counts_of(pairs_P2: np.ndarray) -> dict[tuple[int, int], int]:
    """How often each ordered pair was selected."""
    pairs, counts = np.unique(pairs_P2, axis=0, return_counts=True)
    return {(int(i), int(j)): int(n) for (i, j), n in zip(pairs, counts, strict=True)}


@pytest.mark.parametrize("mask", [[True, True, True], [True, False, True, True, False]])
def test_random_is_uniform_over_ordered_pairs(
    repeated: Callable[..., Bounds], stream_of: Callable, mask: list[bool]
) -> None:
    bounds = repeated(12000, mean=np.zeros(len(mask)), mask=mask)
    counts = counts_of(build(RandomConfig()).select(bounds, stream_of(bounds)))
    assert set(counts) == set(permutations(np.flatnonzero(mask).tolist(), 2))
    assert sum((n - 2000) ** 2 / 2000 for n in counts.values()) < 20.5  # 5 degrees, 99.9 %


def test_ultrafeedback_takes_the_best_of_its_sample(
    repeated: Callable[..., Bounds], stream_of: Callable
) -> None:
    bounds = repeated(12000, mean=[9.0, 0, 0, 0, 0], score=[1.0, 2.0, 3.0, 4.0, 5.0])
    counts = counts_of(build(UltraFeedbackConfig()).select(bounds, stream_of(bounds)))
    # The sample leaves out one of five: 4 in it with 4/5, else 3 is the best of 0 to 3.
    expected = {(4, j): 12000 * 4 / 5 / 4 for j in range(4)} | {(3, j): 800.0 for j in range(3)}
    assert set(counts) == set(expected)
    assert sum((counts[p] - n) ** 2 / n for p, n in expected.items()) < 22.5  # 6 degrees


def test_ultrafeedback_upstream_ranks_by_mean_reward(
    repeated: Callable[..., Bounds], stream_of: Callable
) -> None:
    bounds = repeated(200, mean=[9.0, 0, 0, 0], score=[1.0, 2.0, 3.0, 4.0])
    pairs = build(UltraFeedbackConfig(compat="upstream")).select(bounds, stream_of(bounds))
    assert (pairs[:, 0] == 0).all()


def test_ultrafeedback_uses_all_where_there_are_few(
    repeated: Callable[..., Bounds], stream_of: Callable
) -> None:
    mask = [True, False, True, False]
    bounds = repeated(50, mean=np.zeros(4), mask=mask, score=[1.0, 9.0, 2.0, 9.0])
    pairs = build(UltraFeedbackConfig()).select(bounds, stream_of(bounds))
    assert (pairs == [2, 0]).all()


def test_maxmin_is_best_against_worst(repeated: Callable[..., Bounds], stream_of: Callable) -> None:
    bounds = repeated(1, mean=np.zeros(4), score=[3.0, 1.0, 4.0, 2.0])
    assert build(MaxMinConfig()).select(bounds, stream_of(bounds)).tolist() == [[2, 1]]


def test_maxmin_separates_equal_scores(
    repeated: Callable[..., Bounds], stream_of: Callable
) -> None:
    bounds = repeated(1, mean=np.zeros(3), score=[2.0, 2.0, 2.0])
    assert build(MaxMinConfig()).select(bounds, stream_of(bounds)).tolist() == [[0, 1]]


def test_deltaqwen_finds_its_models(bounds_of: Callable[..., Bounds], stream_of: Callable) -> None:
    bounds = bounds_of(3)
    assert build(DeltaQwenConfig()).select(bounds, stream_of(bounds)).tolist() == [[0, 1]] * 3
    other = DeltaQwenConfig(chosen_model="h", rejected_model="d")
    assert build(other).select(bounds, stream_of(bounds)).tolist() == [[7, 3]] * 3
    assert bounds.completion_models_PC is not None
    assert reference.deltaqwen(bounds.completion_models_PC[0].tolist(), "h", "d") == (7, 3)


def test_deltaqwen_names_the_prompt_without_the_model(
    bounds_of: Callable[..., Bounds], stream_of: Callable
) -> None:
    bounds = bounds_of(3, 2)
    with pytest.raises(DataError, match="'prompt-0' has no completion of 'big'; it has Qwen"):
        build(DeltaQwenConfig(chosen_model="big")).select(bounds, stream_of(bounds))
