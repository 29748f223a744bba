"""One seed in, one independent stream per purpose out.

A stage never touches global random state: it asks for a stream by the seed of its config and a
purpose. Streams of different purposes are independent, and the same (seed, purpose) gives the same
stream in every process.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed for a purpose, e.g. `derive_seed(4, "loop", "shuffle")`."""
    text = "\x1f".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return a counter-based generator for a purpose."""
    return np.random.Generator(np.random.Philox(derive_seed(seed, *purpose)))
