"""Questions that cannot be scored are refused, by row, before a model is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nltk
import pytest

from activeuf_core.errors import DataError
from activeuf_core.evals.harness import run
from activeuf_core.evals.questions import ASKED, require_answerable
from tests.core.evals.conftest import ROWS, MakeScore
from tests.core.evals.test_instructions import SENTENCES
from tests.fakes import tiny_models

UNREADABLE = [r"It is $\boxed{2", r"\boxed", r"so \boxed{}"]


def solved(solution: str) -> dict[str, Any]:
    """Return a MATH row with a solution."""
    return {"problem": f"What of {solution}?", "solution": solution, "type": "Algebra"}


@pytest.fixture
def no_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the sentence tables that this machine may have."""
    monkeypatch.setattr(nltk.data, "path", [])


@pytest.mark.parametrize("name", sorted(ASKED))
def test_right_rows_pass(name: str) -> None:
    require_answerable(name, ROWS[name], "rows.jsonl")


@pytest.mark.parametrize("name", sorted(ASKED))
def test_a_question_that_stands_there_twice_is_refused(name: str) -> None:
    rows = [*ROWS[name], ROWS[name][0]]
    with pytest.raises(DataError, match=f"row {len(rows)}: column '{ASKED[name]}' .* as row 1"):
        require_answerable(name, rows, "rows.jsonl")


@pytest.mark.parametrize("solution", UNREADABLE)
def test_a_gold_answer_that_cannot_be_read_is_refused(solution: str) -> None:
    rows = [ROWS["minerva_math"][0], solved(solution)]
    with pytest.raises(DataError, match=r"rows\.jsonl, row 2: column 'solution' holds"):
        require_answerable("minerva_math", rows, "rows.jsonl")


@pytest.mark.usefixtures("no_tables")
def test_tables_are_taken_from_the_config_s_folder(shared_data: Path) -> None:
    require_answerable("ifeval", [SENTENCES], "rows.jsonl", str(shared_data / "nltk_data"))
    assert nltk.data.path[0] == str(shared_data / "nltk_data")


@pytest.mark.usefixtures("no_tables")
def test_a_folder_without_tables_is_an_error_at_once(make_score: MakeScore, tmp_path: Path) -> None:
    rows = [*ROWS["ifeval"], {**SENTENCES, "key": 9}]
    context = make_score("ifeval", rows, tmp_path / "no-model", nltk_data=str(tmp_path / "empty"))
    with pytest.raises(DataError, match=f"punkt_tab/english is in none of {tmp_path / 'empty'}. "):
        run(context)


def test_an_empty_file_is_refused(make_score: MakeScore, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gsm8k\.jsonl holds no rows"):
        run(make_score("gsm8k", [], tmp_path / "no-model"))


@pytest.mark.parametrize("break_it", ["no weights", "NaN weights", "no chat template"])
def test_a_broken_model_is_refused_and_nothing_is_written(
    make_score: MakeScore, tmp_path: Path, break_it: str
) -> None:
    folder = tiny_models.build(tmp_path / "policy", context=2048)
    if break_it == "no weights":
        (folder / "model.safetensors").unlink()
    elif break_it == "NaN weights":
        tiny_models.poison(folder, "model.norm.weight")
    else:
        (folder / "chat_template.jinja").unlink(missing_ok=True)
        tiny_models.build_tokenizer(folder, chat_template=None)
    context = make_score("gsm8k", model=folder)
    said = {"no weights": "holds no model", "NaN weights": "not finite"}
    with pytest.raises(DataError, match=said.get(break_it, "has no chat template")):
        run(context)
    assert list(context.output.iterdir()) == []
