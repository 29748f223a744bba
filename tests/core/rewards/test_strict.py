"""The corrected rewards: the table of the legacy set once more, and its loopholes closed."""

from __future__ import annotations

import random

import pytest

from activeuf_core.rewards import strict
from activeuf_core.rewards.config import AnswerSettings, Tags
from activeuf_core.rewards.metrics import Sample, measure

TAGS, SETTINGS = Tags(), AnswerSettings()
FORMAT = "<reasoning>r</reasoning><answer>{}</answer>"

TABLE = [
    ("42", "42", 3.0, 1.5),
    (" 42", "42", 3.0, 1.5),
    ("42.0", "42", 3.0, 1.5),
    ("1234", "1,234", 3.0, 1.5),
    ("1,234", "1,234", 3.0, 1.5),
    ("$42", "42", 3.0, 1.5),
    ("-5", "-5", 3.0, 1.5),
    ("-5", "5", -1.0, 0.0),
    ("0.0", "0", 3.0, 1.5),
    ("110", "100", 0.5, 0.0),
    ("111", "100", 0.25, 0.0),
    ("130", "100", -1.0, 0.0),
    ("The answer is 42", "42", 1.5, 1.5),
    ("step 1: 42", "42", 1.5, 1.5),
    ("1/2", "0.5", 3.0, 1.5),
    ("1e3", "1000", 3.0, 1.5),
    ("forty-two", "42", -1.0, 0.0),
    ("1", "#### 1", 3.0, 1.5),
]


@pytest.mark.parametrize(("guess", "gold", "answer", "number"), TABLE)
def test_table(guess: str, gold: str, answer: float, number: float) -> None:
    text = FORMAT.format(guess)
    assert strict.answer_check(text, gold, TAGS, SETTINGS) == answer
    assert strict.number_check(text, gold, TAGS, SETTINGS) == number


def test_gold_answer_of_words_has_no_number_to_check() -> None:
    assert strict.number_check(FORMAT.format("Paris"), "Paris", TAGS, SETTINGS) is None
    assert strict.answer_check(FORMAT.format("paris"), "Paris", TAGS, SETTINGS) == 3.0
    assert strict.answer_check(FORMAT.format("Rome"), "Paris", TAGS, SETTINGS) == -1.0


@pytest.mark.parametrize(
    "text", ["", "42", FORMAT.format("42") + "<answer>43</answer>", FORMAT.format("no idea")]
)
def test_hiding_the_answer_pays_no_more_than_a_wrong_one(text: str) -> None:
    wrong = strict.answer_check(FORMAT.format("7"), "42", TAGS, SETTINGS)
    assert strict.answer_check(text, "42", TAGS, SETTINGS) == wrong


@pytest.mark.parametrize(
    ("text", "approx"),
    [
        (FORMAT.format("4"), 2.5),
        ("\n " + FORMAT.format("4"), 2.5),
        ("", -2.5),
        ("Sure: " + FORMAT.format("4"), 1.5),
        ("<reasoning>r</reasoning>", 0.5),
        (FORMAT.format(""), 1.5),
        (FORMAT.format("4") + "<answer>5</answer>", 0.5),
        ("</answer><answer></reasoning><reasoning>", -1.5),
        ("<reasoning></reasoning><answer></answer>" * 5, -1.5),
    ],
)
def test_format_approx_pays_for_order_and_content(text: str, approx: float) -> None:
    assert strict.format_approx(text, TAGS) == approx


def test_full_format_is_worth_all_five_tests() -> None:
    rng = random.Random(3)
    parts = [*TAGS.model_dump().values(), "x", " ", "\n"]
    texts = ["".join(rng.choices(parts, k=rng.randint(0, 8))) for _ in range(4000)]
    for text in [*texts, FORMAT.format(1)]:
        if strict.format_exact(text, TAGS) == 3.0:
            assert strict.format_approx(text, TAGS) == 2.5


def test_reward_and_metric_agree() -> None:
    for guess, gold, _, _ in TABLE:
        text = FORMAT.format(guess)
        metrics = measure([Sample("q", gold, text)]).metrics
        is_best = strict.answer_check(text, gold, TAGS, SETTINGS) == 3.0
        assert metrics["exact_accuracy"].count == is_best
        is_number = strict.number_check(text, gold, TAGS, SETTINGS) == 1.5
        assert metrics["numerical_accuracy"].count == is_number
