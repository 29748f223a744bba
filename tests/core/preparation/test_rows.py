"""Rows: ids that no source decides, prompts, and what two equal rows have in common."""

from __future__ import annotations

import pytest

from activeuf_core.errors import DataError
from activeuf_core.preparation.rows import content_key, prompt_of, text_of, to_row, with_ids
from tests.core.preparation.made_rows import config, example

SYSTEM = {"role": "system", "content": "S"}
USER = {"role": "user", "content": "Why?"}


def test_ids_come_from_the_row_and_order_rows() -> None:
    one, other = with_ids([example("a"), example("b")]), with_ids([example("b"), example("a")])
    assert one == other
    assert [row["id"] for row in one] == sorted(row["id"] for row in one)


def test_each_column_of_content_makes_another_id() -> None:
    columns = ("answer", "rubric", "reference", "chosen", "rejected")
    rows = [example("a"), *(example("a", **{name: "other"}) for name in columns)]
    assert len({row["id"].partition("-")[0] for row in with_ids(rows)}) == 6


def test_equal_rows_get_numbers() -> None:
    first, second = with_ids([example("a"), example("a")])
    assert second["id"] == f"{first['id']}-2"


def test_given_ids_are_kept_and_may_not_repeat() -> None:
    assert with_ids([example("a", given_id="x")])[0]["id"] == "x"
    with pytest.raises(DataError, match="id 'x' belongs to two rows; the second asks 'b'"):
        with_ids([example("a", given_id="x"), example("b", given_id="x")])


def test_rows_say_the_same_whatever_the_case_of_the_question_alone() -> None:
    assert content_key(example("Why  NOT?")) == content_key(example("why not?"))
    assert content_key(example("a", chosen="B")) != content_key(example("a", chosen="b"))
    assert content_key(example("a", None)) != content_key(example("a", ""))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ({"system": "S"}, [SYSTEM, USER]),
        ({"system": ""}, [USER]),
        ({"system": "S", "system_turn": "user"}, [{"role": "user", "content": "S\n\nWhy?"}]),
    ],
)
def test_prompts(prompt: dict[str, str], expected: list[dict[str, str]]) -> None:
    assert prompt_of("Why?", config(prompt=prompt)) == expected


def test_completions_become_conversations() -> None:
    made = to_row({**example("a", chosen="C", rejected=""), "id": "x"}, config())
    assert made["chosen"] == [{"role": "assistant", "content": "C"}]
    assert (text_of(made["rejected"]), made["reference"]) == ("", None)
