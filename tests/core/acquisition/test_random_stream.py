"""The random stream: known values, and independence of batch composition."""

from __future__ import annotations

import numpy as np
import pytest

from activeuf_core.acquisition.random_stream import (
    CHUNK_BLOCKS,
    RandomStream,
    philox,
    prompt_keys,
)

IDS = [f"prompt-{row}" for row in range(40)]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0, 0, 0, 0], 0, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            0x299F31D0_A4093822,
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_published_test_vectors(
    counter: list[int], key: int, expected: list[int]
) -> None:
    words = philox(np.array(counter, dtype=np.uint64)[:, None], key)
    assert [int(word[0]) for word in words] == expected


def test_prompt_keys_are_the_same_in_every_process() -> None:
    assert [hex(key) for key in prompt_keys(["a", "prompt-1"])] == [
        "0x2f42665b399ef840",
        "0x7fc0c644673f2399",
    ]


def test_a_prompt_gets_the_same_numbers_in_any_batch() -> None:
    whole = RandomStream.for_batch(3, IDS, 5).uniform(1, 30)
    shuffled = [17, 3, 39]
    part = RandomStream.for_batch(3, [IDS[row] for row in shuffled], 5).uniform(1, 30)
    np.testing.assert_array_equal(part, whole[shuffled])


def test_rows_select_prompts() -> None:
    stream = RandomStream.for_batch(3, IDS, 5)
    rows = np.array([4, 0, 12])
    np.testing.assert_array_equal(stream.uniform(2, 5, rows), stream.uniform(2, 5)[rows])


def test_a_longer_request_begins_with_a_shorter_one() -> None:
    stream = RandomStream.for_batch(3, IDS, 5)
    np.testing.assert_array_equal(stream.uniform(0, 50)[:, :7], stream.uniform(0, 7))


def test_chunks_do_not_show() -> None:
    prompt_P = prompt_keys(map(str, range(CHUNK_BLOCKS + 3)))
    whole = RandomStream(1, prompt_P).uniform(0, 8)
    np.testing.assert_array_equal(RandomStream(1, prompt_P[-4:]).uniform(0, 8), whole[-4:])


@pytest.mark.parametrize("other", [(4, 5, 1), (3, 6, 1), (3, 5, 2)])
def test_seed_batch_and_draw_each_change_the_numbers(other: tuple[int, int, int]) -> None:
    seed, batch_index, draw = other
    base = RandomStream.for_batch(3, IDS, 5).uniform(1, 8)
    assert not np.isin(RandomStream.for_batch(seed, IDS, batch_index).uniform(draw, 8), base).any()


def test_every_bit_of_a_prompts_hash_counts() -> None:
    prompt_P = np.array([5, 5 + (1 << 32), 5 + (1 << 63), 4], dtype=np.uint64)
    assert len(np.unique(RandomStream(1, prompt_P).uniform(0, 4))) == 16


def test_numbers_are_uniform_and_uncorrelated() -> None:
    u = RandomStream(9, np.arange(20000, dtype=np.uint64)).uniform(0, 10)
    assert 0.0 < u.min() < u.max() < 1.0
    counts, _ = np.histogram(u, bins=20, range=(0, 1))
    assert ((counts - 10000) ** 2 / 10000).sum() < 43.8  # chi-square, 19 degrees, 99.9 %
    assert np.abs(np.corrcoef(u.T) - np.eye(10)).max() < 4.5 / np.sqrt(20000)
