"""IFEval's checkers work without a network, and say what they lack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nltk
import pytest

from activeuf_core.errors import DataError
from activeuf_core.evals.answers import score_ifeval
from activeuf_core.evals.instructions import NEED_SENTENCES, checkers, require_checkable
from activeuf_core.evals.rows import load_rows
from tests.core.evals.conftest import ROWS

SENTENCES = {
    "prompt": "Write three sentences.",
    "instruction_id_list": ["length_constraints:number_sentences"],
    "kwargs": [{"num_sentences": 3, "relation": "at least"}],
}


@pytest.fixture(autouse=True)
def no_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the tables that this machine may have."""
    monkeypatch.setattr(nltk.data, "path", [])


def row(name: str, **arguments: Any) -> dict[str, Any]:
    """Return a row with one instruction."""
    return {"prompt": "x", "instruction_id_list": [name], "kwargs": [arguments]}


def test_plain_rows_need_no_tables() -> None:
    require_checkable(ROWS["ifeval"], "rows.jsonl")


@pytest.mark.parametrize("name", NEED_SENTENCES)
def test_rows_that_need_tables_say_where_to_put_them(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        require_checkable([ROWS["ifeval"][0], row(name)], str(tmp_path / "rows.jsonl"))
    assert "row 2" in str(caught.value)
    assert f"{tmp_path / 'nltk_data'}" in str(caught.value)


def test_an_unknown_instruction_is_named() -> None:
    with pytest.raises(DataError, match="did you mean 'punctuation:no_comma'"):
        require_checkable([row("punctuation:no_commas")], "rows.jsonl")


def test_arguments_that_do_not_fit_are_named() -> None:
    with pytest.raises(DataError, match=r"row 1, keywords:existence: its arguments .*words"):
        require_checkable([row("keywords:existence", words=["a"])], "rows.jsonl")


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(nltk, "download", lambda *names: asked.append(names))
    checkers.cache_clear()
    assert checkers().process_results
    assert asked == []


def test_tables_beside_the_data_are_found(shared_data: Path) -> None:
    location = shared_data / "ifeval" / "input_data.jsonl.gz"
    require_checkable([SENTENCES], str(location))
    assert score_ifeval({**SENTENCES, "key": 1}, ["One. Two. Three."])["prompt_level_strict_acc"]
    assert not score_ifeval({**SENTENCES, "key": 1}, ["One. Two."])["prompt_level_strict_acc"]


def test_all_real_rows_can_be_checked(shared_data: Path) -> None:
    location = str(shared_data / "ifeval" / "input_data.jsonl.gz")
    rows = load_rows("ifeval", location)
    require_checkable(rows, location)
    scores = [score_ifeval(row, ["Hello there."]) for row in rows[:40]]
    assert any(score["prompt_level_loose_acc"] for score in scores)
