"""What counts as right, by hand."""

from __future__ import annotations

import pytest

from activeuf_core.evals.answers import (
    flat_mean,
    last_number,
    score_gsm8k,
    score_ifeval,
    score_minerva_math,
    score_truthfulqa,
)
from tests.core.evals.conftest import ROWS

NUMBERS = [
    ("It is 5.", "5"),
    ("1,000 and then 12,345,678", "12345678"),
    ("from 3 to -4", "4"),
    ("about -2.5", "-2.5"),
    ("$18", "18"),
    ("none", None),
]
MATH = [
    ("Final Answer: The final answer is $2$. I hope it is correct.", 1.0, 1.0),
    (r"so $\boxed{2}$", 0.0, 1.0),
    ("hence $x = 2$", 0.0, 1.0),
    ("Final Answer: The final answer is $3$. I hope it is correct.", 0.0, 0.0),
    ("", 0.0, 0.0),
]


@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_the_last_number_is_found(text: str, number: str | None) -> None:
    assert last_number(text) == number


@pytest.mark.parametrize(("output", "score"), [(" So 1000.", 1.0), ("1,000", 1.0), ("100", 0.0)])
def test_gsm8k_compares_numbers(output: str, score: float) -> None:
    assert score_gsm8k(ROWS["gsm8k"][1], [output]) == {"exact_match": score}


def test_an_output_without_a_number_is_wrong() -> None:
    assert score_gsm8k(ROWS["gsm8k"][0], ["five"]) == {"exact_match": 0.0}


@pytest.mark.parametrize(("output", "exact", "flexible"), MATH)
def test_minerva_reads_the_final_answer(output: str, exact: float, flexible: float) -> None:
    found = score_minerva_math(ROWS["minerva_math"][0], [output])
    assert found == {"exact_match": exact, "exact_match_flex": flexible}


def test_minerva_knows_equal_forms() -> None:
    output = "Final Answer: The final answer is $0.5$. I hope it is correct."
    assert score_minerva_math(ROWS["minerva_math"][2], [output])["exact_match"] == 1.0


def test_ifeval_needs_every_instruction() -> None:
    found = score_ifeval(ROWS["ifeval"][1], ["No such word here."])
    assert found["prompt_level_loose_acc"] is False
    assert found["inst_level_loose_acc"] == [False, True]


def test_loose_checks_forgive_a_first_line() -> None:
    found = score_ifeval(ROWS["ifeval"][0], ["Sure, of course:\nNone here."])
    assert (found["prompt_level_strict_acc"], found["prompt_level_loose_acc"]) == (False, True)


def test_instructions_count_one_by_one() -> None:
    assert flat_mean([[True], [True, False, False]]) == 0.5


def test_mc2_is_the_mass_of_true_choices() -> None:
    outputs = [(-1.0, False), (-1.0, False), (-1.0, True)]
    assert score_truthfulqa(ROWS["truthfulqa"][0], outputs)["mc2"] == pytest.approx(2 / 3)


def test_mc2_holds_where_probabilities_underflow() -> None:
    outputs = [(-2000.0, False), (-2001.0, False)]
    found = score_truthfulqa(ROWS["truthfulqa"][1], outputs)["mc2"]
    assert found == pytest.approx(1 / (1 + 2.718281828**-1))
