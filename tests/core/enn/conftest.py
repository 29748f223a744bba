"""Small comparisons for the loop's reward models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray


@dataclass
class Comparisons:
    """Chosen and rejected features with their numbers."""

    chosen_ND: NDArray[np.float32]
    rejected_ND: NDArray[np.float32]
    pair_ids_N: NDArray[np.int64]


def make_comparisons(num: int = 50, size: int = 6, *, signal: float = 1.0) -> Comparisons:
    """Pairs of Gaussian features in which a hidden linear reward prefers the chosen one."""
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(2, num, size)).astype(np.float32)
    prefers = ((first - second) @ rng.normal(size=size) * signal > rng.logistic(size=num))[:, None]
    chosen, rejected = np.where(prefers, first, second), np.where(prefers, second, first)
    return Comparisons(chosen, rejected, np.arange(num) + 100)


@pytest.fixture
def comparisons() -> Comparisons:
    """Fifty pairs of six features."""
    return make_comparisons()
