"""Row-wise choices, on rows small enough to check by eye."""

from __future__ import annotations

import numpy as np

from activeuf_core.acquisition import row_choice
from activeuf_core.acquisition.random_stream import RandomStream

VALUE_PC = np.array([[3.0, 5.0, 5.0], [9.0, -np.inf, 1.0]])


def test_best_and_best_except() -> None:
    assert row_choice.best(VALUE_PC).tolist() == [1, 0]
    assert row_choice.best_except(VALUE_PC, np.array([1, 0])).tolist() == [2, 2]


def test_best_of_others() -> None:
    assert row_choice.best_of_others(VALUE_PC).tolist() == [[5, 5, 5], [1, 9, 9]]


def test_best_except_leaves_its_input_alone() -> None:
    before = VALUE_PC.copy()
    row_choice.best_except(VALUE_PC, np.array([0, 0]))
    np.testing.assert_array_equal(VALUE_PC, before)


def test_nth_allowed() -> None:
    allowed_PC = np.array([[True, False, True], [False, True, True]])
    assert row_choice.nth_allowed(allowed_PC, np.array([1, 0])).tolist() == [2, 1]


def test_random_allowed_is_uniform_over_the_allowed() -> None:
    stream = RandomStream(1, np.arange(30000, dtype=np.uint64))
    allowed_PC = np.broadcast_to(np.array([True, False, True, True]), (30000, 4))
    counts = np.bincount(row_choice.random_allowed(allowed_PC, stream, 0), minlength=4)
    assert counts[1] == 0
    assert ((counts[[0, 2, 3]] - 10000) ** 2 / 10000).sum() < 13.8  # 2 degrees, 99.9 %


def test_best_within_draws_only_among_the_close() -> None:
    stream = RandomStream(1, np.arange(4000, dtype=np.uint64))
    value_PC = np.broadcast_to(np.array([1.0, 2.0, 1.99995, 1.9]), (4000, 4))
    counts = np.bincount(row_choice.best_within(value_PC, 1e-4, stream, 0), minlength=4)
    assert counts[[0, 3]].tolist() == [0, 0]
    assert abs(int(counts[1]) - 2000) < 3.3 * np.sqrt(1000)


def test_best_within_zero_tolerance_is_best() -> None:
    stream = RandomStream(1, np.arange(2, dtype=np.uint64))
    assert row_choice.best_within(np.array([[1.0, 2.0], [3.0, 2.0]]), 0.0, stream, 0).tolist() == [
        1,
        0,
    ]
