"""Counter-based random numbers: one value per (experiment seed, batch, prompt, draw, place).

In: seed, prompt ids, batch index. Out: uniform numbers (P, n) that depend on nothing else, so a
prompt gets the same numbers whatever else is in its batch, in every process and after a restart.
Source: Philox4x32-10, Salmon et al. 2011 (Parallel random numbers: as easy as 1, 2, 3).
Cost: about 6 ns per number on one core for large batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from activeuf_core.seeding import derive_seed

MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
LOW_WORD = np.uint64(0xFFFFFFFF)
WORD_BITS = np.uint64(32)
CHUNK_BLOCKS = 8192
"""Counters per pass: six work arrays of 64 KiB stay in the second-level cache."""

Words = NDArray[np.uint64]


def philox(counter: Iterable[Words], key: int) -> tuple[Words, Words, Words, Words]:
    """Encrypt counters of four 32-bit words with a 64-bit key; overwrites its input.

    Args: counter: four uint64 arrays of one shape, each value below 2**32.
    Returns: four arrays of the same shape, each value uniform below 2**32.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key & 0xFFFFFFFF, key >> 32 & 0xFFFFFFFF
    product0, product1 = np.empty_like(c0), np.empty_like(c0)
    for _ in range(10):
        np.multiply(c0, MULTIPLIERS[0], out=product0)
        np.multiply(c2, MULTIPLIERS[1], out=product1)
        np.right_shift(product1, WORD_BITS, out=c0)
        c0 ^= c1
        c0 ^= np.uint64(k0)
        np.right_shift(product0, WORD_BITS, out=c2)
        c2 ^= c3
        c2 ^= np.uint64(k1)
        np.bitwise_and(product1, LOW_WORD, out=c1)
        np.bitwise_and(product0, LOW_WORD, out=c3)
        k0, k1 = (k0 + KEY_STEPS[0]) & 0xFFFFFFFF, (k1 + KEY_STEPS[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


def prompt_keys(prompt_ids: Iterable[str]) -> Words:
    """Hash prompt ids to 64 bits each, the same in every process."""
    digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in prompt_ids)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


@dataclass(frozen=True, eq=False)
class RandomStream:
    """The random numbers of one batch of prompts."""

    key: int
    """64 bits that stand for the experiment seed and the batch."""
    prompt_P: Words
    """`prompt_keys` of the batch."""

    @classmethod
    def for_batch(cls, seed: int, prompt_ids: Iterable[str], batch_index: int) -> RandomStream:
        """Return the stream of a batch of an experiment."""
        return cls(derive_seed(seed, "acquisition", batch_index), prompt_keys(prompt_ids))

    def uniform(
        self, draw: int | NDArray[np.int64], num: int, rows: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Return uniform numbers strictly between 0 and 1.

        Args:
            draw: which of the independent series of a prompt; one for all or one per row.
            num: numbers per prompt; a longer request begins with the numbers of a shorter one.
            rows: the prompts wanted; all when None.
        Returns: shape (P, num), or (len(rows), num).
        """
        prompt_R = self.prompt_P if rows is None else self.prompt_P[rows]
        draw_R = np.full(len(prompt_R), draw) if isinstance(draw, int) else draw
        blocks = -(-num // 4)
        out = np.empty((len(prompt_R), blocks, 4))
        step = max(1, CHUNK_BLOCKS // blocks)
        for start in range(0, len(prompt_R), step):
            part = slice(start, start + step)
            self._fill(out[part], prompt_R[part], draw_R[part])
        return out.reshape(len(prompt_R), 4 * blocks)[:, :num]

    def _fill(
        self, out_RB4: NDArray[np.float64], prompt_R: Words, draw_R: NDArray[np.int64]
    ) -> None:
        """Write the numbers of a chunk of prompts: counter = (prompt, draw, block)."""
        counter_4RB = np.empty((4, *out_RB4.shape[:2]), dtype=np.uint64)
        counter_4RB[0] = (prompt_R & LOW_WORD)[:, None]
        counter_4RB[1] = (prompt_R >> WORD_BITS)[:, None]
        counter_4RB[2] = draw_R[:, None]
        counter_4RB[3] = np.arange(out_RB4.shape[1], dtype=np.uint64)
        for place, word_RB in enumerate(philox(counter_4RB, self.key)):
            out_RB4[:, :, place] = word_RB
        out_RB4 += 0.5
        out_RB4 *= 2.0**-32
