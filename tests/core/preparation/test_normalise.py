"""Columns of a data set in one form; what cannot be read names its place."""

from __future__ import annotations

from typing import Any

import pytest

from activeuf_core.errors import DataError
from activeuf_core.preparation.config import (
    Columns,
    CustomFormat,
    Format,
    Gsm8kFormat,
    OpenRubricsFormat,
)
from activeuf_core.preparation.normalise import column_faults, normaliser
from activeuf_core.sources import SourceRow

PAIR = {
    "instruction": "Write a haiku.",
    "rubric": "1. Three lines. [Hard Rule]",
    "response_a": " a\r\nb",
    "response_b": "B",
    "winner": "B",
    "source": "x",
}
CUSTOM = CustomFormat(
    columns=Columns(
        question="q", answer="a", reference="r", target_score="s", id="key", source="from"
    )
)


def made(form: Format, **values: Any) -> dict[str, Any]:
    found = normaliser(form)(SourceRow("f:3", values))
    return {name: value for name, value in found.items() if value is not None}


def test_gsm8k_answer_and_its_gold() -> None:
    answer = "It is 1 + 1 = <<1+1=2>>2.\n#### 1,204 "
    assert made(Gsm8kFormat(), question=" Why?\r\n", answer=answer) == {
        "question": "Why?",
        "answer": "It is 1 + 1 = <<1+1=2>>2.\n#### 1,204",
        "gold": "1,204",
    }


@pytest.mark.parametrize("answer", ["The answer is 4.", None, ""])
def test_gsm8k_answer_without_its_mark_has_an_empty_gold(answer: str | None) -> None:
    assert made(Gsm8kFormat(), question="Why?", answer=answer)["gold"] == ""


def test_first_form_of_openrubrics() -> None:
    rows = {"instruction": "Do it.", "rubric": PAIR["rubric"], "source": None}
    assert made(OpenRubricsFormat(), **rows) == {"question": "Do it.", "rubric": PAIR["rubric"]}


def test_pair_of_openrubrics_keeps_white_space_that_rubrics_ask_for() -> None:
    found = made(OpenRubricsFormat(), **PAIR)
    assert (found["chosen"], found["rejected"], found["source"]) == ("B", " a\nb", "x")


@pytest.mark.parametrize("said", ["A", "a", "response_a", " model_a"])
def test_winner_in_other_words(said: str) -> None:
    assert made(OpenRubricsFormat(), **{**PAIR, "winner": said})["rejected"] == "B"


@pytest.mark.parametrize("said", ["tie", "C", "", None, 0])
def test_winner_that_is_none(said: Any) -> None:
    with pytest.raises(DataError, match=r"f:3: winner is .*expected A or B"):
        made(OpenRubricsFormat(), **{**PAIR, "winner": said})


def test_columns_of_ones_own() -> None:
    row = {"q": "Q", "a": 42.0, "r": "ref", "s": "3.5", "key": 7, "from": "web", "more": [1]}
    assert made(CUSTOM, **row) == {
        "question": "Q",
        "answer": "42",
        "gold": "42",
        "reference": "ref",
        "target_score": 3.5,
        "given_id": "7",
        "source": "web",
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"a": ["x"]}, r"f:3: a is \['x'\], expected a text or a number"),
        ({"s": "good"}, "f:3: s is 'good', expected a number or nothing"),
        ({"s": float("inf")}, "f:3: s is inf"),
        ({"key": None}, "f:3: key is None"),
        ({"q": True}, "f:3: q is True"),
    ],
)
def test_values_of_another_sort(change: dict[str, Any], said: str) -> None:
    row = {"q": "Q", "a": "A", "r": None, "s": None, "key": "k", "from": None}
    with pytest.raises(DataError, match=said):
        made(CUSTOM, **{**row, **change})


def test_nan_is_what_tables_hold_where_there_is_nothing() -> None:
    nan = float("nan")
    row = {"q": nan, "a": 3, "r": nan, "s": nan, "key": "k", "from": nan}
    assert made(CUSTOM, **row) == {"question": "", "answer": "3", "gold": "3", "given_id": "k"}


def test_a_row_without_a_column_lists_what_it_has() -> None:
    with pytest.raises(
        DataError, match=r"f:3: no column 'answer'; the row has: question, solution"
    ):
        made(Gsm8kFormat(), question="Why?", solution="4")


@pytest.mark.parametrize(
    ("form", "columns", "missing", "unknown"),
    [
        (Gsm8kFormat(), {"question", "answer"}, (), ()),
        (Gsm8kFormat(), {"question", "answer", "annotation", "short_answer"}, (), ()),
        (Gsm8kFormat(), {"question", "solution"}, ("answer",), ("solution",)),
        (Gsm8kFormat(ignore_columns=("level",)), {"question", "answer", "level"}, (), ()),
        (OpenRubricsFormat(), {"instruction", "rubric"}, (), ()),
        (OpenRubricsFormat(), {*PAIR, "model_a", "model_b"}, (), ()),
        (OpenRubricsFormat(), {"prompt", "rubric"}, ("instruction",), ("prompt",)),
        (OpenRubricsFormat(), {*PAIR} - {"winner"}, ("winner",), ()),
        (CUSTOM, {"q", "a", "r", "s", "key", "from", "more"}, (), ()),
        (CUSTOM, {"q", "r", "s", "key", "from"}, ("a",), ()),
    ],
)
def test_faults_of_columns(form: Format, columns: set[str], missing: Any, unknown: Any) -> None:
    found = column_faults(columns, form)
    assert (found.missing, found.unknown) == (missing, unknown)
