"""Choices within each row of a batch: the best, the best but one, the n-th allowed, a random one.

In: values (P, C), with -inf where a completion must not be chosen. Out: one index per row.
Ties go to the lowest index unless a function says otherwise.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from activeuf_core.acquisition.base import Bools, Floats, Ints
from activeuf_core.acquisition.random_stream import RandomStream

Number = TypeVar("Number", bound=np.generic)


def best(value_PC: Floats) -> Ints:
    """Index of the largest value of each row, shape (P,)."""
    return value_PC.argmax(axis=1)


def best_except(value_PC: Floats, excluded_P: Ints) -> Ints:
    """Index of the largest value of each row other than `excluded_P`, shape (P,)."""
    others_PC = value_PC.copy()
    others_PC[np.arange(len(others_PC)), excluded_P] = -np.inf
    return others_PC.argmax(axis=1)


def best_of_others(value_PC: Floats) -> Floats:
    """For every completion the largest value among the others of its row, shape (P, C)."""
    first_P = best(value_PC)
    second_P = best_except(value_PC, first_P)
    result_PC = np.repeat(at(value_PC, first_P)[:, None], value_PC.shape[1], axis=1)
    result_PC[np.arange(len(value_PC)), first_P] = at(value_PC, second_P)
    return result_PC


def at(value_PC: NDArray[Number], index_P: Ints) -> NDArray[Number]:
    """The value at one index of each row, shape (P,)."""
    return value_PC[np.arange(len(value_PC)), index_P]


def nth_allowed(allowed_PC: Bools, rank_P: Ints) -> Ints:
    """Index of the `rank`-th True (from 0) of each row, shape (P,)."""
    if allowed_PC.all():
        return rank_P
    return (np.cumsum(allowed_PC, axis=1) == rank_P[:, None] + 1).argmax(axis=1)


def random_allowed(
    allowed_PC: Bools, stream: RandomStream, draw: int, rows: Ints | None = None
) -> Ints:
    """Index of a True of each row, each with the same probability, shape (P,).

    `rows` are the prompts of the stream that the rows of `allowed_PC` stand for; all when None.
    """
    u_P = stream.uniform(draw, 1, rows)[:, 0]
    rank_P = (u_P * np.count_nonzero(allowed_PC, axis=1)).astype(np.int64)
    return nth_allowed(allowed_PC, rank_P)


def best_within(value_PC: Floats, tolerance: float, stream: RandomStream, draw: int) -> Ints:
    """Index of the largest value of each row, at random among those within `tolerance` of it."""
    index_P = best(value_PC)
    close_PC = value_PC >= (at(value_PC, index_P) - tolerance)[:, None]
    tied = np.flatnonzero(np.count_nonzero(close_PC, axis=1) > 1)
    if len(tied):
        index_P[tied] = random_allowed(close_PC[tied], stream, draw, tied)
    return index_P


def pairs(first_P: Ints, second_P: Ints) -> Ints:
    """Join two indices per prompt to the result of a rule, shape (P, 2)."""
    return np.stack([first_P, second_P], axis=1)
