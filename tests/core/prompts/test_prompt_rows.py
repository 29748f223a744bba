"""Prompt rows: texts and conversations, ids, constraints and answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from activeuf_core.config import DataRef
from activeuf_core.errors import DataError
from activeuf_core.prompts.config import PromptsConfig
from activeuf_core.prompts.rows import to_messages, to_prompt
from activeuf_core.schemas import assistant_message, user_message
from activeuf_core.sources import SourceRow

CONFIG = PromptsConfig(source=DataRef(name="d", identity="x"))


def made(**values: Any) -> dict[str, Any]:
    return to_prompt(SourceRow("f:3", values), CONFIG)


def test_text_becomes_a_user_turn() -> None:
    assert to_messages("hi", "f") == user_message("hi")


def test_conversation_loses_the_last_assistant_turn_only() -> None:
    asked = [*user_message("a"), *assistant_message("b"), *user_message("c")]
    assert to_messages([*asked, *assistant_message("d")], "f") == asked
    assert to_messages(asked, "f") == asked


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        [],
        assistant_message("a"),
        [{"role": "human", "content": "a"}],
        [{"role": "user"}],
        ["a"],
    ],
)
def test_what_is_no_conversation_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match=r"f:3: prompt"):
        made(prompt=value)


def test_missing_column_lists_the_columns() -> None:
    with pytest.raises(DataError, match=r"f:3: no column 'prompt'.*has: chosen, id"):
        made(id=1, chosen="a")


def test_whole_number_id_becomes_text() -> None:
    assert made(prompt="a", prompt_id=12)["prompt_id"] == "12"


def test_absent_id_is_a_digest_of_the_conversation() -> None:
    first, again, other = made(prompt="a"), made(prompt=user_message("a")), made(prompt="b")
    assert first["prompt_id"] == again["prompt_id"] != other["prompt_id"]


def test_constraints_are_kept_as_json_without_filled_in_nulls() -> None:
    given = [{"kind": "max_words", "count": 3, "values": None}]
    assert json.loads(made(prompt="a", constraints=given)["constraints"]) == [
        {"kind": "max_words", "count": 3}
    ]


@pytest.mark.parametrize("value", [None, "", [], "[]"])
def test_no_constraints_are_null(value: Any) -> None:
    assert made(prompt="a", constraints=value)["constraints"] is None


@pytest.mark.parametrize("value", ["{", '"text"', {"kind": "a"}, ["a"]])
def test_constraints_of_another_form_are_refused(value: Any) -> None:
    with pytest.raises(DataError, match=r"f:3: constraints"):
        made(prompt="a", constraints=value)


def test_answer_and_source_are_texts() -> None:
    row = made(prompt="a", answer=42, source="koala")
    assert (row["answer"], row["source"]) == ("42", "koala")
