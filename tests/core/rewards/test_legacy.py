"""The legacy rewards, to the last bit: the table of known values, and what the table leaves out."""

from __future__ import annotations

import pytest

from activeuf_core.rewards import legacy
from activeuf_core.rewards.config import Tags

TAGS = Tags()
FORMAT = "<reasoning>r</reasoning><answer>{}</answer>"

GOLDEN = [
    ("42", "42", 3.0, 1.5),
    (" 42", "42", 1.5, 1.5),
    ("42.0", "42", 0.5, 1.5),
    ("1234", "1,234", -0.5, 0.0),
    ("1,234", "1,234", 3.0, 0.0),
    ("$42", "42", -0.5, 1.5),
    ("-5", "-5", 3.0, 0.0),
    ("-5", "5", -1.0, 1.5),
    ("0.0", "0", -0.5, 1.5),
    ("110", "100", 0.5, 0.0),
    ("111", "100", 0.25, 0.0),
    ("130", "100", -1.0, 0.0),
    ("The answer is 42", "42", -0.5, 1.5),
    ("step 1: 42", "42", -0.5, 0.0),
    ("1/2", "0.5", -0.5, 0.0),
    ("1e3", "1000", 0.5, 0.0),
    ("nan", "5", -1.0, 0.0),
    ("1.2.3", "5", -0.5, 0.0),
    ("90", "100", 0.5, 0.0),
    ("80", "100", 0.25, 0.0),
    ("x", "x", 3.0, 0.0),
]


@pytest.mark.parametrize(("guess", "gold", "answer", "number"), GOLDEN)
def test_golden_table(guess: str, gold: str, answer: float, number: float) -> None:
    text = FORMAT.format(guess)
    assert legacy.answer_check(text, gold, TAGS) == answer
    assert legacy.number_check(text, gold, TAGS) == number


@pytest.mark.parametrize(
    ("text", "exact", "approx"),
    [
        (FORMAT.format("4"), 3.0, 2.5),
        ("", 0.0, -2.5),
        (" " + FORMAT.format("4"), 3.0, 1.5),
        (FORMAT.format("4") + "<answer>5</answer>", 3.0, 0.5),
        ("</answer><answer></reasoning><reasoning>", 0.0, 1.5),
        ("Sure:\n" + FORMAT.format("4"), 3.0, 1.5),
    ],
)
def test_format_rewards(text: str, exact: float, approx: float) -> None:
    assert legacy.format_exact(text, TAGS) == exact
    assert legacy.format_approx(text, TAGS) == approx


def test_without_the_format_the_answer_is_worth_nothing_and_the_number_is() -> None:
    assert legacy.answer_check("<answer>42", "42", TAGS) == 0.0
    assert legacy.number_check("<answer>42", "42", TAGS) == 1.5


def test_best_and_worst_sum() -> None:
    def total(text: str) -> float:
        by_tags = legacy.format_exact(text, TAGS) + legacy.format_approx(text, TAGS)
        return (
            by_tags + legacy.answer_check(text, "42", TAGS) + legacy.number_check(text, "42", TAGS)
        )

    assert total(FORMAT.format("42")) == 10.0
    assert total("") == -2.5
