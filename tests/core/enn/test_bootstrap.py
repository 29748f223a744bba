"""Bootstrap weights: fixed per head and pair, exponential, uncorrelated."""

from __future__ import annotations

import numpy as np

from activeuf_core.enn.bootstrap import bootstrap_weights, splitmix64

IDS = np.arange(20000)


def test_splitmix64_gives_the_published_sequence() -> None:
    # State 0 after one, two and three increments: the first outputs of the generator.
    states = np.arange(3, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert [hex(value) for value in splitmix64(states)] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
        "0x6c45d188009454f",
    ]


def test_a_pair_keeps_its_weights() -> None:
    whole = bootstrap_weights(5, IDS, 4)
    np.testing.assert_array_equal(bootstrap_weights(5, IDS[[7, 2]], 4), whole[:, [7, 2]])
    assert (bootstrap_weights(6, IDS, 4) != whole).all()


def test_weights_are_exponential() -> None:
    weights = bootstrap_weights(0, IDS, 3)
    assert weights.dtype == np.float32
    for quantile, value in [(0.1, 0.105), (0.5, 0.693), (0.9, 2.303), (0.99, 4.605)]:
        assert abs((weights < value).mean() - quantile) < 0.006


def test_heads_and_neighbours_are_uncorrelated() -> None:
    weights = bootstrap_weights(0, IDS, 5)
    rows = np.concatenate([weights[:, :-1], weights[:, 1:]])
    assert np.abs(np.corrcoef(rows) - np.eye(10)).max() < 4.5 / np.sqrt(len(IDS))
