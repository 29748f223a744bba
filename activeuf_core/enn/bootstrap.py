"""Random weights that make ensemble heads see different data: one per head and pair, for ever.

In: seed, identities of pairs. Out: weights (E, N) with mean 1. Pure; a pair has the same weights
whenever it is replayed.
Source: Bayesian bootstrap, Rubin 1981: exponential weights; hash: splitmix64, Steele et al. 2014.
Shapes: E ensemble heads, N pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

INCREMENT = np.uint64(0x9E3779B97F4A7C15)
MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def splitmix64(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash 64-bit values to 64-bit values."""
    mixed = value + INCREMENT
    for shift, factor in MIX:
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def bootstrap_weights(
    seed: int, pair_ids_N: NDArray[np.int64], num_heads: int
) -> NDArray[np.float32]:
    """Return exponentially distributed weights of mean 1, shape (E, N)."""
    # Hashed one after the other, so that no two of seed, pair and head can cancel out.
    key_N = splitmix64(pair_ids_N.astype(np.uint64) ^ splitmix64(np.array([seed], dtype=np.uint64)))
    bits_EN = splitmix64(
        key_N[None, :] ^ splitmix64(np.arange(num_heads, dtype=np.uint64))[:, None]
    )
    uniform_EN = ((bits_EN >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return (-np.log(uniform_EN)).astype(np.float32)
