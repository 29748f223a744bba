"""A data set in the making: what leaves it, and that order does not matter."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from activeuf_core.preparation.make import make
from activeuf_core.preparation.rows import Row
from tests.core.preparation.made_rows import config, example

MANY = [example(f"What is {number}?", str(number)) for number in range(300)]


def questions(rows: Sequence[Row]) -> set[str]:
    return {row["question"] for row in rows}


def test_order_of_the_source_does_not_matter() -> None:
    rows = [*MANY, example("what is  5?", "5"), example("what is 6?", "6", source="x")]
    shuffled = random.Random(1).sample(rows, len(rows))
    one, other = (make({"train": given}, config(limit=100)) for given in (rows, shuffled))
    assert one == other


def test_what_leaves_is_counted() -> None:
    given = {"train": [*MANY, MANY[0]], "test": [MANY[1], MANY[1], MANY[2]]}
    made = make(given, config(limit=200, budget={"characters": 230}))
    counts = {split: len(rows) for split, rows in made.splits.items()}
    assert made.dropped == {
        "repeated": 2,
        "in_another_split": 2,
        "over_limit": 98,
        "over_budget": 0,
    }
    assert (counts["test"], counts["train"] + counts["val"]) == (2, 200)
    assert made.official == {"train", "test"}


def test_repeated_rows_may_stay() -> None:
    made = make({"train": [MANY[0]] * 3}, config(duplicates="keep"))
    ids = [row["id"] for rows in made.splits.values() for row in rows]
    assert ids == [ids[0], f"{ids[0]}-2", f"{ids[0]}-3"]


def test_long_prompts_leave_train_alone() -> None:
    long = [example(f"{'long ' * 50}{number}") for number in range(100)]
    made = make({"train": [*MANY, *long]}, config(budget={"characters": 300}))
    assert all(not question.startswith("long") for question in questions(made.splits["train"]))
    kept = sum(q.startswith("long") for s in ("val", "test") for q in questions(made.splits[s]))
    assert made.dropped["over_budget"] == 100 - kept and kept > 0


def test_long_prompts_may_stay() -> None:
    made = make({"train": MANY}, config(budget={"characters": 1, "too_long": "keep"}))
    assert made.splits["train"] and made.dropped["over_budget"] == 0


def test_tokens_count_where_somebody_counts() -> None:
    def count(rows: Sequence[Row]) -> dict[str, int]:
        return {row["id"]: 10 if row["question"].endswith("7?") else 2 for row in rows}

    made = make({"train": MANY}, config(budget={"tokens": 5}), count)
    assert made.tokens is not None and len(made.tokens) == 300
    assert not [q for q in questions(made.splits["train"]) if q.endswith("7?")]


def test_a_row_that_leaks_keeps_its_id_in_the_test_split() -> None:
    row: dict[str, Any] = example("a", given_id="x")
    made = make({"train": [row, example("b", given_id="y")], "test": [row]}, config())
    assert [row["id"] for row in made.splits["test"]] == ["x"]
    assert made.dropped["in_another_split"] == 1
