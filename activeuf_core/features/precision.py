"""How features stand on disk: float32, float16, or bfloat16 as the upper halves of float32 numbers.

NumPy has no bfloat16: its matrix is of unsigned 16-bit numbers, which nothing else in the project
is, so that a reader knows it by its type. Light: NumPy only. Every function is pure.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BFLOAT16 = np.dtype(np.uint16)
"""The type on disk of features in bfloat16."""
STORED = {"float32": np.dtype(np.float32), "float16": np.dtype(np.float16), "bfloat16": BFLOAT16}
"""Precision → type on disk."""


def encode(features: NDArray[np.float32], precision: str) -> NDArray[Any]:
    """Return features as they stand on disk; what does not fit becomes infinite.

    bfloat16 rounds to nearest, ties to even. Args: precision: a key of STORED.
    """
    if precision != "bfloat16":
        with np.errstate(over="ignore"):
            return features.astype(STORED[precision])
    bits = np.ascontiguousarray(features, dtype=np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))
    # Rounding up could carry a NaN's bits over into another number.
    kept = np.where(np.isnan(features), bits | np.uint32(0x400000), rounded)
    return (kept >> 16).astype(np.uint16)


def decode(stored: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """Return features as numbers: what is not bfloat16 comes back as it is."""
    if stored.dtype != BFLOAT16:
        return stored
    return (stored.astype(np.uint32) << 16).view(np.float32)


def precision_of(dtype: np.dtype[Any]) -> str | None:
    """Return the precision that a type on disk stands for; None when it is none of features."""
    return next((name for name, kind in STORED.items() if kind == dtype), None)
