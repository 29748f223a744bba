"""The replay buffer: the most recent comparisons, as features in two preallocated arrays.

In: features of chosen and rejected completions. Out: a seeded sample of them. The oldest
comparison leaves first.
Cost: 2 D values per place, in the features' type on disk: 65 MB for 6,400 comparisons of 2,560
float16 values.
Shapes: N comparisons, D feature size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]


class ReplayBuffer:
    """Comparisons by age: 0 is the oldest one held."""

    def __init__(self, capacity: int, feature_size: int, dtype: np.dtype[Any]) -> None:
        # np.empty takes no memory before it is written to, so an oversized buffer costs nothing.
        self._chosen_ND = np.empty((capacity, feature_size), dtype=dtype)
        self._rejected_ND = np.empty((capacity, feature_size), dtype=dtype)
        self._comparison_N = np.empty(capacity, dtype=np.int64)
        self._next = 0
        self._length = 0

    def __len__(self) -> int:
        """Comparisons held."""
        return self._length

    @property
    def capacity(self) -> int:
        """Comparisons that fit."""
        return len(self._chosen_ND)

    def add(self, comparison_N: Ints, chosen_ND: Floats, rejected_ND: Floats) -> None:
        """Append comparisons, dropping the oldest ones that no longer fit.

        Args: comparison_N: their numbers in the order of labelling: the identity that a sample
        returns.
        """
        kept = slice(max(0, len(chosen_ND) - self.capacity), None)
        comparison_N, chosen_ND, rejected_ND = (
            comparison_N[kept],
            chosen_ND[kept],
            rejected_ND[kept],
        )
        place_N = (self._next + np.arange(len(chosen_ND))) % self.capacity
        self._chosen_ND[place_N] = chosen_ND
        self._rejected_ND[place_N] = rejected_ND
        self._comparison_N[place_N] = comparison_N
        self._next = int(self._next + len(chosen_ND)) % self.capacity
        self._length = min(self._length + len(chosen_ND), self.capacity)

    def sample(self, num: int, rng: np.random.Generator) -> tuple[Ints, Floats, Floats]:
        """Draw min(num, len) different comparisons in random order.

        Drawn by age, never by place, so that a buffer that was refilled after a restart gives the
        same sample.
        Returns: their numbers (N,), chosen and rejected features (N, D), copied.
        """
        age_N = rng.permutation(self._length)[:num]
        place_N = (self._next - self._length + age_N) % self.capacity
        return self._comparison_N[place_N], self._chosen_ND[place_N], self._rejected_ND[place_N]
