"""Splits: by the question alone, without leaks, official ones kept."""

from __future__ import annotations

import random
from typing import Any

import pytest

from activeuf_core.preparation.config import SPLITS, Fractions
from activeuf_core.preparation.splitting import (
    divide,
    drop_repeated,
    expected_fractions,
    normalised_question,
    place,
)

THIRDS = Fractions(train=0.4, val=0.3, test=0.3)


def asked(*questions: str) -> list[dict[str, Any]]:
    return [{"question": question} for question in questions]


MANY = asked(*(f"How much is {number}?" for number in range(4000)))


def test_the_same_question_to_a_reader() -> None:
    assert normalised_question(" Why\n ＮＯＴ ") == normalised_question("why not")
    assert normalised_question("why?") != normalised_question("why")


def test_places_do_not_change_between_versions() -> None:
    """A change here moves rows of every prepared data set between train and test."""
    assert place("Why not?") == place("why  NOT?") == 0.46696887779404395
    assert place("Why not?", "limit") != place("Why not?")


def test_fractions_are_met() -> None:
    found = divide({"train": MANY}, Fractions()).splits
    shares = [len(found[split]) / len(MANY) for split in SPLITS]
    assert shares == pytest.approx([0.70, 0.15, 0.15], abs=0.02)


def test_no_row_is_lost_and_order_is_not_looked_at() -> None:
    shuffled = random.Random(0).sample(MANY, len(MANY))
    one, other = (divide({"train": rows}, Fractions()).splits for rows in (MANY, shuffled))
    for split in SPLITS:
        assert {row["question"] for row in one[split]} == {row["question"] for row in other[split]}
    assert sum(map(len, one.values())) == len(MANY)


def test_one_question_stands_in_one_split() -> None:
    twice = [*MANY, *asked(*(f"  HOW much is {number}?" for number in range(4000)))]
    found = divide({"train": twice}, THIRDS).splits
    keys = [{normalised_question(row["question"]) for row in found[split]} for split in SPLITS]
    assert sum(map(len, keys)) == len(set().union(*keys)) == 4000


def test_more_rows_move_none() -> None:
    few, all_of_them = (divide({"train": rows}, THIRDS).splits for rows in (MANY[:500], MANY))
    for split in SPLITS:
        assert {r["question"] for r in few[split]} <= {r["question"] for r in all_of_them[split]}


def test_official_splits_are_kept_and_the_rest_is_divided_in_proportion() -> None:
    test = asked("a", "b")
    found = divide({"train": MANY, "test": test}, Fractions()).splits
    assert found["test"] == test
    assert len(found["val"]) / len(MANY) == pytest.approx(0.15 / 0.85, abs=0.02)
    assert expected_fractions(Fractions(), ["train", "test"])["train"] == pytest.approx(0.70 / 0.85)


def test_all_official_means_nothing_is_divided() -> None:
    given = {"train": asked("a", "b"), "val": asked("c"), "test": asked("d")}
    assert divide(given, Fractions()).splits == given


def test_a_question_of_a_later_split_leaves_the_earlier_one() -> None:
    given = {"train": asked("a", "B", "c"), "val": asked("b", "d "), "test": asked("C", "d")}
    found = divide(given, Fractions())
    assert found.splits == {"train": asked("a"), "val": asked("b"), "test": asked("C", "d")}
    assert found.leaked == 3


def test_fraction_of_nothing_gets_nothing() -> None:
    found = divide({"train": MANY}, Fractions(train=0.9, val=0.1, test=0.0)).splits
    assert found["test"] == [] and found["val"]


def test_a_larger_limit_keeps_what_a_smaller_one_kept() -> None:
    few, more = (
        {row["question"] for rows in found.splits.values() for row in rows}
        for found in (divide({"train": MANY}, THIRDS, limit) for limit in (50, 80))
    )
    assert (len(few), len(more)) == (50, 80) and few < more


def test_a_limit_leaves_official_splits_whole() -> None:
    found = divide({"train": MANY, "test": MANY[:7]}, Fractions(), limit=10).splits
    assert len(found["test"]) == 7 and len(found["train"]) + len(found["val"]) == 10


def test_the_first_of_repeated_rows_stays() -> None:
    rows = [{"question": q, "at": at} for at, q in enumerate("abab")]
    kept, gone = drop_repeated(rows, lambda row: row["question"])
    assert ([row["at"] for row in kept], gone) == ([0, 1], 2)
