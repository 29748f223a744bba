"""DeltaUCB and DeltaQuantile against their formulas, and by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from activeuf_core.acquisition import delta, reference
from activeuf_core.acquisition.base import Bounds
from activeuf_core.acquisition.config import DeltaQuantileConfig, DeltaUCBConfig
from activeuf_core.acquisition.registry import build


def valid_rows(bounds: Bounds) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Lower and upper bounds of the real completions of each prompt, and their places."""
    places = [np.flatnonzero(mask_C) for mask_C in bounds.mask_PC]
    return [
        (bounds.lower_PC[row][place], bounds.upper_PC[row][place], place)
        for row, place in enumerate(places)
    ]


@pytest.mark.parametrize("keep", [1.0, 0.5])
def test_deltaucb_follows_its_formula(
    bounds_of: Callable[..., Bounds], stream_of: Callable, keep: float
) -> None:
    bounds = bounds_of(300, keep=keep)
    expected = [
        place[list(reference.deltaucb(lower, upper))].tolist()
        for lower, upper, place in valid_rows(bounds)
    ]
    assert build(DeltaUCBConfig()).select(bounds, stream_of(bounds)).tolist() == expected


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        ([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2, 0]),
        ([-9.0, 0.0, 0.5], [9.0, 1.0, 2.0], [2, 0]),  # 0 is best on both sides: 11 beats 9
        ([-9.0, -8.0, 0.5], [9.0, 1.0, 2.0], [0, 1]),  # and here 17 beats 11
        ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0, 1]),
    ],
)
def test_deltaucb_by_hand(
    stream_of: Callable, lower: list[float], upper: list[float], expected: list[int]
) -> None:
    mask_PC = np.ones((1, 3), dtype=bool)
    lower_PC, upper_PC = np.array([lower]), np.array([upper])
    bounds = Bounds((lower_PC + upper_PC) / 2, lower_PC, upper_PC, mask_PC, ["p"])
    assert build(DeltaUCBConfig()).select(bounds, stream_of(bounds)).tolist() == [expected]


@pytest.mark.parametrize("keep", [1.0, 0.5])
@pytest.mark.parametrize(
    ("quantile", "epsilon"), [(0.05, 0.0), (0.0, 0.0), (0.3, 0.1), (0.5, 0.5), (1.0, 0.0)]
)
def test_deltaquantile_follows_its_formula(
    bounds_of: Callable[..., Bounds],
    stream_of: Callable,
    keep: float,
    quantile: float,
    epsilon: float,
) -> None:
    bounds = bounds_of(100, keep=keep)
    config = DeltaQuantileConfig(quantile=quantile, epsilon=epsilon)
    selected = build(config).select(bounds, stream_of(bounds))
    for pair, (lower, upper, place) in zip(selected.tolist(), valid_rows(bounds), strict=True):
        first, second = place[list(reference.deltaquantile(lower, upper, quantile, epsilon))]
        if epsilon == 0.0:
            assert pair == [first, second]
        else:  # many pairs share the largest upper bound; which of them is not said
            assert pair[0] == first


def test_deltaquantile_zero_is_deltaucb(
    bounds_of: Callable[..., Bounds], stream_of: Callable
) -> None:
    bounds = bounds_of(200)
    zero = DeltaQuantileConfig(quantile=0.0, epsilon=0.0)
    np.testing.assert_array_equal(
        build(zero).select(bounds, stream_of(bounds)),
        build(DeltaUCBConfig()).select(bounds, stream_of(bounds)),
    )


def test_deltaquantile_does_not_depend_on_chunks(
    bounds_of: Callable[..., Bounds], stream_of: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds = bounds_of(50)
    whole = build(DeltaQuantileConfig()).select(bounds, stream_of(bounds))
    monkeypatch.setattr(delta, "CHUNK_VALUES", 1)
    np.testing.assert_array_equal(
        build(DeltaQuantileConfig()).select(bounds, stream_of(bounds)), whole
    )
