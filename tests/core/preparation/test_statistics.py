"""Statistics: worked by hand on a few rows; drift between two preparations."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from activeuf_core.preparation.statistics import (
    describe,
    describe_golds,
    describe_rubrics,
    drift,
    summary,
)
from tests.core.preparation.made_rows import row

RUBRIC = "1. One. [Hard Rule]\n2. Two. [Principle]\n3. Three. [Principle]"


def test_summary_by_hand() -> None:
    found = summary(range(1, 102))
    assert (found["min"], found["p5"], found["p50"], found["p95"], found["max"]) == (
        *(1.0, 6.0, 51.0, 96.0, 101.0),
    )
    assert found["mean"] == 51.0
    assert summary([]) == {}


def test_golds_by_sort() -> None:
    golds = ["1,204", "-3", "2.5", "7", "seven", "-1,000.5"]
    assert describe_golds(golds) == {
        "total": 6,
        "numbers": 5,
        "integer": 3,
        "decimal": 2,
        "negative": 2,
        "comma": 2,
        "no_number": 1,
    }


def test_rubrics_by_kind() -> None:
    found = describe_rubrics([RUBRIC, "1. Only. [Hard Rule]"])
    assert (found["hard_rule"], found["principle"]) == (2, 2)
    assert (found["per_rubric"]["min"], found["per_rubric"]["max"]) == (1.0, 3.0)


def test_a_split_by_hand() -> None:
    found = describe(
        [row("abc", source="x"), row("ABC "), row("abcdef")], {"abc": 5, "ABC ": 6, "abcdef": 7}
    )
    assert (found["num_examples"], found["unique_questions"]) == (3, 2)
    assert found["characters"]["question"]["p50"] == 4.0
    assert found["tokens"]["prompt"]["max"] == 7.0
    assert found["sources"] == {"x": 1}


def test_what_no_row_has_is_not_told() -> None:
    found = describe([row("a", None)])
    assert "gold" not in found and "rubric_items" not in found and "tokens" not in found
    assert set(found["characters"]) == {"question", "prompt"}


def test_an_empty_split_is_described() -> None:
    assert describe([]) == {"num_examples": 0, "unique_questions": 0, "characters": {}}


BEFORE = {"splits": {"train": describe([row("abcd", "1"), row("abcdef", "1.5")])}}


def changed(**values: Any) -> dict[str, Any]:
    now = copy.deepcopy(BEFORE)
    now["splits"]["train"].update(values)
    return now


def test_nothing_moved() -> None:
    assert set(drift(BEFORE, BEFORE).values()) == {0.0}


def test_counts_move_relatively_and_shares_absolutely() -> None:
    golds = {"total": 4, "numbers": 4, "decimal": 1}
    moved = drift(changed(num_examples=4, gold=golds), BEFORE)
    assert moved["train.num_examples"] == pytest.approx(1.0)
    assert moved["train.gold.decimal"] == pytest.approx(0.25)


def test_a_split_that_came_moved_by_all() -> None:
    now = {"splits": {**BEFORE["splits"], "val": BEFORE["splits"]["train"]}}
    assert drift(now, BEFORE)["val.num_examples"] == 1.0
