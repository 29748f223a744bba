"""First in, first out; sampled by age."""

from __future__ import annotations

import numpy as np
import pytest

from activeuf_core.loop.replay_buffer import ReplayBuffer


def filled(numbers: range, capacity: int, step: int) -> ReplayBuffer:
    """Return a buffer to which comparisons were added `step` at a time."""
    buffer = ReplayBuffer(capacity, 2, np.dtype(np.float16))
    for first in range(numbers.start, numbers.stop, step):
        part = np.arange(first, min(first + step, numbers.stop))
        feature_ND = np.stack([part, part], axis=1).astype(np.float16)
        buffer.add(part, feature_ND, -feature_ND)
    return buffer


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_oldest_leave_first() -> None:
    number_N, chosen_ND, rejected_ND = filled(range(10), capacity=4, step=3).sample(9, rng())
    assert sorted(number_N) == [6, 7, 8, 9]
    assert np.array_equal(chosen_ND[:, 0], number_N)
    assert np.array_equal(rejected_ND[:, 1], -number_N)


def test_sample_is_without_replacement() -> None:
    number_N, _, _ = filled(range(50), capacity=100, step=7).sample(30, rng())
    assert len(set(number_N.tolist())) == 30


@pytest.mark.parametrize("step", [1, 3, 20])
def test_sample_depends_on_content_not_on_how_it_came_in(step: int) -> None:
    number_N, _, _ = filled(range(20), capacity=6, step=step).sample(4, rng())
    refilled_N, _, _ = filled(range(14, 20), capacity=6, step=6).sample(4, rng())
    assert number_N.tolist() == refilled_N.tolist()


def test_sample_is_a_copy() -> None:
    buffer = filled(range(3), capacity=3, step=3)
    number_N, chosen_ND, _ = buffer.sample(3, rng())
    chosen_ND[:] = 99
    assert buffer.sample(3, rng())[1].max() == number_N.max() == 2


def test_empty_buffer_gives_an_empty_sample() -> None:
    assert len(filled(range(0), capacity=3, step=1).sample(5, rng())[0]) == 0
