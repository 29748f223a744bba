"""InfoMax, InfoGain, IDS, RUCB and MaxMinLCB against their formulas, and by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from activeuf_core.acquisition import reference
from activeuf_core.acquisition.base import Bounds
from activeuf_core.acquisition.config import (
    IDSConfig,
    InfoGainConfig,
    InfoMaxConfig,
    MaxMinLCBConfig,
    MethodConfig,
    RUCBConfig,
)
from activeuf_core.acquisition.registry import build


def select(config: MethodConfig, bounds: Bounds, stream_of: Callable) -> list[list[int]]:
    """Select with seed 0."""
    return build(config).select(bounds, stream_of(bounds)).tolist()


def bounds_by_hand(mean: list[float], half: list[float]) -> Bounds:
    """One prompt."""
    mean_PC, half_PC = np.array([mean]), np.array([half])
    mask_PC = np.ones(mean_PC.shape, dtype=bool)
    return Bounds(mean_PC, mean_PC - half_PC, mean_PC + half_PC, mask_PC, ["p"])


def rows(bounds: Bounds) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and half-width of each prompt."""
    return list(zip(bounds.mean_PC, bounds.half_width_PC, strict=True))


def test_infomax_follows_its_formula(bounds_of: Callable[..., Bounds], stream_of: Callable) -> None:
    bounds = bounds_of(200)
    expected = [
        sorted(reference.infomax(lower, upper))
        for lower, upper in zip(bounds.lower_PC, bounds.upper_PC, strict=True)
    ]
    assert select(InfoMaxConfig(), bounds, stream_of) == expected


def test_infomax_prefers_wide_bounds_and_close_means(stream_of: Callable) -> None:
    bounds = bounds_by_hand([0.0, 0.1, 5.0, 0.0], [1.0, 0.9, 1.0, 0.1])
    assert select(InfoMaxConfig(), bounds, stream_of) == [[0, 1]]


def test_infomax_tells_saturated_pairs_apart(stream_of: Callable) -> None:
    # Every probability rounds to 0 or 1 here; only the complements differ.
    bounds = bounds_by_hand([0.0, 400.0, 0.5], [40.0, 41.0, 43.0])
    assert select(InfoMaxConfig(), bounds, stream_of) == [[0, 2]]


def test_infogain_second_follows_its_formula(
    bounds_of: Callable[..., Bounds], stream_of: Callable
) -> None:
    bounds = bounds_of(200)
    selected = select(InfoGainConfig(), bounds, stream_of)
    expected = [
        list(reference.infogain(first, lower, upper))
        for (first, _), lower, upper in zip(selected, bounds.lower_PC, bounds.upper_PC, strict=True)
    ]
    assert selected == expected


def test_infogain_first_is_the_winner_of_a_head(
    repeated: Callable[..., Bounds], stream_of: Callable
) -> None:
    heads = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
    bounds = repeated(4000, mean=[0.25, 0.75, 0.0], half=[0.5, 0.5, 0.5], heads=heads)
    first = build(InfoGainConfig()).select(bounds, stream_of(bounds))[:, 0]
    counts = np.bincount(first, minlength=3)
    assert counts[2] == 0
    assert abs(int(counts[0]) - 1000) < 3.3 * np.sqrt(4000 * 3 / 16)


def test_ids_follows_its_formula(bounds_of: Callable[..., Bounds], stream_of: Callable) -> None:
    bounds = bounds_of(60)
    for config in (IDSConfig(), IDSConfig(ucb_beta=0.5, noise_variance=0.1)):
        expected = [
            list(reference.ids(mean, half, config.ucb_beta, config.noise_variance))
            for mean, half in rows(bounds)
        ]
        assert select(config, bounds, stream_of) == expected


def test_ids_asks_about_what_it_does_not_know(stream_of: Callable) -> None:
    bounds = bounds_by_hand([2.0, 1.0, 1.0], [0.1, 0.1, 3.0])
    assert select(IDSConfig(), bounds, stream_of) == [[0, 2]]


def test_ids_upstream_picks_the_least_uncertain(stream_of: Callable) -> None:
    bounds = bounds_by_hand([2.0, 1.0, 1.0], [0.1, 0.1, 3.0])
    assert select(IDSConfig(compat="upstream"), bounds, stream_of) == [[0, 1]]


def test_ids_upstream_follows_the_research_code(
    bounds_of: Callable[..., Bounds], stream_of: Callable
) -> None:
    bounds = bounds_of(300)
    kept = [
        row
        for row, (mean, half) in enumerate(rows(bounds))
        if (mean + half > 0.5).sum() > 1  # with fewer it pairs a completion with itself
    ]
    selected = select(IDSConfig(compat="upstream"), bounds, stream_of)
    expected = [list(reference.upstream_ids(*rows(bounds)[row])) for row in kept]
    assert len(kept) > 250
    assert [selected[row] for row in kept] == expected


@pytest.mark.parametrize(
    ("mean", "expected"),
    [
        ([-5.0, -3.0, -4.0], [1, 2]),  # the research code pairs 0 with itself
        ([-5.0, -3.0, 4.0], [2, 1]),  # and here 2 with itself
    ],
)
def test_ids_upstream_pairs_two_where_the_research_code_has_one(
    stream_of: Callable, mean: list[float], expected: list[int]
) -> None:
    config = IDSConfig(compat="upstream")
    assert select(config, bounds_by_hand(mean, [0.1, 0.1, 0.1]), stream_of) == [expected]


def test_ids_with_nothing_to_learn_still_selects(stream_of: Callable) -> None:
    assert select(IDSConfig(), bounds_by_hand([1.0, 2.0], [0.0, 0.0]), stream_of) == [[1, 0]]


def test_rucb_draws_uniformly_among_possible_winners(
    repeated: Callable[..., Bounds], stream_of: Callable
) -> None:
    bounds = repeated(9000, mean=[0.0, 1.0, 1.5, -9.0], half=[1.0, 0.5, 0.5, 1.0])
    pairs = build(RUCBConfig()).select(bounds, stream_of(bounds))
    counts = np.bincount(pairs[:, 0], minlength=4)
    assert reference.rucb_candidates(bounds.mean_PC[0], bounds.half_width_PC[0]) == [0, 1, 2]
    assert counts[3] == 0
    assert ((counts[:3] - 3000) ** 2 / 3000).sum() < 13.8  # 2 degrees, 99.9 %
    assert all(second == (2 if first != 2 else 1) for first, second in pairs.tolist())


def test_rucb_shifts_with_the_rewards(
    bounds_of: Callable[..., Bounds], stream_of: Callable
) -> None:
    bounds = bounds_of()
    shifted = Bounds(
        bounds.mean_PC - 50, bounds.lower_PC - 50, bounds.upper_PC - 50, bounds.mask_PC
    )
    stream = stream_of(bounds)
    np.testing.assert_array_equal(
        build(RUCBConfig()).select(shifted, stream), build(RUCBConfig()).select(bounds, stream)
    )


def test_rucb_buffer_admits_more(repeated: Callable[..., Bounds], stream_of: Callable) -> None:
    bounds = repeated(500, mean=[0.0, 3.0], half=[1.0, 1.0])
    strict = build(RUCBConfig()).select(bounds, stream_of(bounds))
    lenient = build(RUCBConfig(decision_buffer=1.5)).select(bounds, stream_of(bounds))
    assert set(strict[:, 0]) == {1}
    assert set(lenient[:, 0]) == {0, 1}


def test_rucb_upstream_thresholds_rewards(
    repeated: Callable[..., Bounds], stream_of: Callable
) -> None:
    config = RUCBConfig(compat="upstream")
    bounds = repeated(500, mean=[0.0, 0.6, 9.0], half=[0.1, 0.1, 0.1])
    assert set(build(config).select(bounds, stream_of(bounds))[:, 0]) == {1, 2}
    low = repeated(500, mean=[-3.0, -2.0, -1.0], half=[0.1, 0.1, 0.1])
    assert set(build(config).select(low, stream_of(low))[:, 0]) == {0, 1, 2}


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_maxminlcb_follows_its_formula(
    bounds_of: Callable[..., Bounds], stream_of: Callable, beta: float
) -> None:
    bounds = bounds_of(200)
    expected = [list(reference.maxminlcb(mean, half, beta)) for mean, half in rows(bounds)]
    assert select(MaxMinLCBConfig(ucb_beta=beta), bounds, stream_of) == expected


def test_a_candidate_set_would_not_change_maxminlcb(
    bounds_of: Callable[..., Bounds], stream_of: Callable
) -> None:
    bounds = bounds_of(300)
    selected = select(MaxMinLCBConfig(ucb_beta=0.5), bounds, stream_of)
    checked = 0
    for pair, (mean, half) in zip(selected, rows(bounds), strict=True):
        if len(reference.rucb_candidates(mean, half, 0.5)) > 1:
            assert pair == list(reference.maxminlcb(mean, half, 0.5, buffer=0.0))
            checked += 1
    assert checked > 100


def test_maxminlcb_breaks_ties_at_random(
    repeated: Callable[..., Bounds], stream_of: Callable
) -> None:
    bounds = repeated(6000, mean=[1.0, 1.0, 1.0], half=[0.2, 0.2, 0.2])
    pairs = build(MaxMinLCBConfig()).select(bounds, stream_of(bounds))
    _, counts = np.unique(pairs, axis=0, return_counts=True)
    assert len(counts) == 6
    assert ((counts - 1000) ** 2 / 1000).sum() < 20.5  # 5 degrees, 99.9 %
