"""Filters: what is dropped, how often, and that order and identity are kept."""

from __future__ import annotations

from typing import Any

import pytest

from activeuf_core.errors import DataError
from activeuf_core.prompts import filters
from activeuf_core.schemas import user_message


def prompt(text: str, prompt_id: str = "") -> dict[str, Any]:
    return {"prompt_id": prompt_id or text, "prompt": user_message(text)}


def ids(rows: list[filters.Row]) -> list[str]:
    return [row["prompt_id"] for row in rows]


MANY = [prompt(f"text {i}", str(i)) for i in range(200)]


def test_blank_prompts_are_dropped() -> None:
    kept, dropped = filters.drop_blank([prompt("a"), prompt(" \n", "b")])
    assert (ids(kept), dropped) == (["a"], 1)


def test_duplicates_are_found_by_normalised_text() -> None:
    rows = [prompt("Why  not?", "1"), prompt("why not?\n", "2"), prompt("ｗhy not?", "3")]
    kept, dropped = filters.drop_duplicates([*rows, prompt("why?", "4")])
    assert (ids(kept), dropped) == (["1", "4"], 2)


def test_roles_tell_conversations_apart() -> None:
    system = {"role": "system", "content": "a"}
    rows = [prompt("a b", "1"), {"prompt_id": "2", "prompt": [system, *user_message("b")]}]
    assert filters.drop_duplicates(rows)[1] == 0


def test_length_counts_all_turns() -> None:
    two_turns = {"prompt_id": "long", "prompt": [*user_message("abc"), *user_message("de")]}
    kept, dropped = filters.drop_long([two_turns, prompt("abcd")], 4)
    assert (ids(kept), dropped) == (["abcd"], 1)


def test_sample_keeps_order_and_ignores_it() -> None:
    kept, dropped = filters.sample(MANY, 20, seed=4)
    turned, _ = filters.sample(MANY[::-1], 20, seed=4)
    assert dropped == 180
    assert ids(kept) == ids(turned)[::-1] == sorted(ids(kept), key=int)


def test_larger_sample_keeps_what_a_smaller_one_kept() -> None:
    assert set(ids(filters.sample(MANY, 20, 4)[0])) < set(ids(filters.sample(MANY, 30, 4)[0]))


def test_sample_depends_on_the_seed() -> None:
    assert ids(filters.sample(MANY, 20, 4)[0]) != ids(filters.sample(MANY, 20, 5)[0])


@pytest.mark.parametrize("limit", [None, 200, 999])
def test_sample_of_everything(limit: int | None) -> None:
    assert filters.sample(MANY, limit, 4) == (MANY, 0)


def test_duplicate_id_is_named_with_both_texts() -> None:
    with pytest.raises(DataError, match=r"prompt_id 'x' belongs to two.*'one'.*'two'"):
        filters.require_unique_ids([prompt("one", "x"), prompt("two", "x")])
