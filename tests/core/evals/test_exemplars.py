"""Worked examples come from the installed lm-eval, in the wording of the suite."""

from __future__ import annotations

import pytest

from activeuf_core.errors import ConfigError
from activeuf_core.evals import exemplars


def test_there_are_eight_chains_of_thought() -> None:
    found = exemplars.gsm8k()
    assert len(found) == exemplars.AVAILABLE["gsm8k"]
    assert all("So the answer is " in example["answer"] for example in found)


def test_there_are_four_worked_solutions() -> None:
    found = exemplars.minerva_math()
    assert len(found) == exemplars.AVAILABLE["minerva_math"]
    assert all("Final Answer: The final answer is " in example["solution"] for example in found)


@pytest.mark.parametrize("num_fewshot", [0, 2, 6])
def test_answered_questions_stand_before_the_row(num_fewshot: int) -> None:
    text = exemplars.truthfulqa_texts(num_fewshot)({"question": "Is it {{so}}?"})
    assert text.count("Q: ") == text.count("\nA:") == num_fewshot + 1
    assert text.endswith("Q: Is it {{so}}?\nA:")


def test_six_is_what_the_task_file_uses() -> None:
    assert exemplars.truthfulqa_text({"question": "x"}).count("Q: ") == 7


@pytest.mark.parametrize(("name", "too_many"), [("gsm8k", 9), ("ifeval", 1)])
def test_more_examples_than_there_are_is_refused(name: str, too_many: int) -> None:
    exemplars.require_available(name, too_many - 1)
    with pytest.raises(ConfigError, match=f"Allowed: 0 to {too_many - 1}"):
        exemplars.require_available(name, too_many)
