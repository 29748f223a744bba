"""The contract's data: what `Bounds` refuses, and the messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from activeuf_core.acquisition.base import Bounds
from activeuf_core.errors import DataError

ONES = np.ones((2, 3))
ALL = np.ones((2, 3), dtype=bool)
IDS = ["first", "second"]


def test_a_prompt_with_one_completion_is_named() -> None:
    mask = np.array([[True, True, False], [False, True, False]])
    with pytest.raises(DataError, match="'second' has fewer than two completions"):
        Bounds(ONES, ONES, ONES, mask, IDS)


def test_without_ids_the_row_is_named() -> None:
    with pytest.raises(DataError, match="prompt in row 0, in row 1 has fewer"):
        Bounds(ONES, ONES, ONES, ~ALL)


def test_long_lists_of_prompts_are_cut() -> None:
    ones, ids = np.ones((5, 1)), list("abcde")
    with pytest.raises(DataError, match=r"'a', 'b', 'c' \(and 2 more\)"):
        Bounds(ones, ones, ones, ones > 0, ids)


@pytest.mark.parametrize("field", ["mean_PC", "lower_PC", "upper_PC", "overall_score_PC"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_must_be_finite(field: str, value: float) -> None:
    wrong = ONES.copy()
    wrong[1, 2] = value
    arrays: dict[str, Any] = {"mean_PC": ONES, "lower_PC": ONES, "upper_PC": ONES, field: wrong}
    with pytest.raises(DataError, match=f"'second' has a {field} that is NaN or infinite"):
        Bounds(**arrays, mask_PC=ALL, prompt_ids=IDS)


def test_heads_must_be_finite() -> None:
    heads = np.zeros((4, 2, 3))
    heads[2, 0, 1] = np.nan
    with pytest.raises(DataError, match="'first' has a heads_EPC"):
        Bounds(ONES, ONES, ONES, ALL, IDS, heads_EPC=heads)


def test_padding_may_hold_anything() -> None:
    holed = ONES.copy()
    holed[0, 2] = np.nan
    bounds = Bounds(holed, holed, holed, np.isfinite(holed))
    assert bounds.num_valid_P.tolist() == [2, 3]
    assert bounds.fill(bounds.mean_PC, -1.0).tolist() == [[1, 1, -1], [1, 1, 1]]


def test_bounds_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(DataError, match="'first', 'second' has a lower bound above"):
        Bounds(ONES, ONES + 1, ONES - 1, ALL, IDS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean_PC": np.ones((2, 4))}, r"mean_PC has shape \(2, 4\)"),
        ({"heads_EPC": np.ones((5, 2, 4))}, r"heads_EPC has shape \(5, 2, 4\)"),
        ({"mask_PC": np.ones((2, 3))}, "boolean"),
        ({"prompt_ids": ["only one"]}, "1 prompt ids for 2 prompts"),
    ],
)
def test_shapes_are_checked(change: dict[str, Any], message: str) -> None:
    arrays: dict[str, Any] = {"mean_PC": ONES, "lower_PC": ONES, "upper_PC": ONES, "mask_PC": ALL}
    with pytest.raises(DataError, match=message):
        Bounds(**arrays | change)


def test_bounds_without_rewards() -> None:
    bounds = Bounds.without_rewards(ALL, prompt_ids=IDS)
    assert bounds.half_width_PC.tolist() == [[0.0] * 3] * 2
