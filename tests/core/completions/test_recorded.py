"""Recorded completions: the member's rows, its ratings, and all that a pool file can get wrong."""

from __future__ import annotations

from typing import Any

import pytest

from activeuf_core.completions.config import CompletionsConfig
from activeuf_core.completions.recorded import given_rating, pick_member
from activeuf_core.config import DataRef
from activeuf_core.errors import DataError
from activeuf_core.sources import SourceRow

CONFIG = CompletionsConfig(
    member="b", mode="recorded", source=DataRef(name="d", identity="x"), rating_column="pref"
)


def row(prompt_id: Any, *completions: Any) -> SourceRow:
    return SourceRow(f"f:{prompt_id}", {"prompt_id": prompt_id, "completions": list(completions)})


def said(text: Any, model: str = "b", field: str = "response", **others: Any) -> dict[str, Any]:
    return {"model": model, field: text, **others}


def picked(*rows: SourceRow) -> dict[str, dict[str, Any]]:
    return pick_member(rows, CONFIG, {"1", "2"})


def test_member_can_have_another_name_in_the_record() -> None:
    config = CONFIG.model_copy(update={"recorded_as": "org/b"})
    found = pick_member([row(1, said("yes", "org/b"), said("no"))], config, {"1"})
    assert (found["1"]["model"], found["1"]["completion"]) == ("b", "yes")


def test_only_the_member_and_the_wanted_prompts_are_picked() -> None:
    rows = [row(1, said("no", "a"), said("yes")), row(2, said("no", "a")), row(3, said("yes"))]
    assert {key: found["completion"] for key, found in picked(*rows).items()} == {"1": "yes"}


@pytest.mark.parametrize("field", ["response", "response_text", "completion"])
def test_text_under_any_known_field(field: str) -> None:
    assert picked(row(1, said("yes", field=field)))["1"]["completion"] == "yes"


def test_null_text_is_missing_and_an_empty_one_is_not() -> None:
    found = picked(row(1, said(None)), row(2, said("")))
    assert {key: value["completion"] for key, value in found.items()} == {"2": ""}


def test_rating_and_what_else_is_known_are_kept() -> None:
    found = picked(row(1, said("a", pref="0.25", finish_reason="stop")), row(2, said("b")))
    assert found["1"]["given_rating"] == 0.25
    assert found["1"]["finish_reason"] == "stop"
    assert found["2"]["given_rating"] is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(1, said("x", "bb"))], r"no completion of 'b'.*did you mean 'bb'"),
        ([row(1, said("x"), said("y"))], r"f:1: 'b' answers prompt '1' a second time"),
        ([row(1, {"model": "b", "text": "x"})], r"f:1: .*no text \(it has: model, text\)"),
        ([row(1, said(["x"]))], r"f:1: .*expected a text"),
        ([row(1, "x")], r"f:1: completions is \['x'\], expected a list of objects"),
        ([SourceRow("f:1", {"prompt_id": 1})], r"f:1: completions is None"),
        ([row(None, said("x"))], r"prompt_id is None"),
    ],
)
def test_wrong_pool_file_is_refused(rows: list[SourceRow], message: str) -> None:
    with pytest.raises(DataError, match=message):
        picked(*rows)


@pytest.mark.parametrize("value", ["high", float("inf"), [1], True])
def test_rating_that_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match=r"f:1: pref is .*expected a finite number"):
        given_rating(value, "f:1", "pref")


@pytest.mark.parametrize(
    ("value", "rating"), [(None, None), ("", None), (float("nan"), None), (0, 0.0), ("4.5", 4.5)]
)
def test_rating_from_numbers_and_texts(value: Any, rating: float | None) -> None:
    assert given_rating(value, "f:1", "pref") == rating
