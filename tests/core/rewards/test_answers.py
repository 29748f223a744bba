"""When an answer is the gold answer: a table, and what holds for every completion."""

from __future__ import annotations

import random

import pytest

from activeuf_core.rewards.answers import Assessment, assess, gold_of, normalise
from activeuf_core.rewards.config import AnswerSettings, Tags

TAGS, SETTINGS = Tags(), AnswerSettings()


def of(answer: str, gold: str, around: str = "{}") -> Assessment:
    text = around.format(f"<answer>{answer}</answer>")
    return assess(text, gold, TAGS, SETTINGS)


SAME = [
    ("42", "42"),
    (" 42\n", "42"),
    ("42.0", "42"),
    ("42.", "42"),
    ("$42", "42"),
    ("42 dollars", "42"),
    ("42dollars", "42"),
    ("50 percent", "50%"),
    ("1,234", "1234"),
    ("1234", "1,234"),
    ("\u22125", "-5"),
    ("1/2", "0.5"),
    ("1e3", "1000"),
    ("0.0", "0"),
    ("PARIS.", "Paris"),
    ("New  York", "new york"),
]


@pytest.mark.parametrize(("answer", "gold"), SAME)
def test_same_answer_in_other_clothes_is_exact(answer: str, gold: str) -> None:
    assert of(answer, gold).exact
    assert of(answer, gold).is_right


@pytest.mark.parametrize(
    ("answer", "gold"), [("-5", "5"), ("42", "24"), ("", "42"), ("Rome", "Paris"), ("1,23", "123")]
)
def test_another_answer_is_wrong(answer: str, gold: str) -> None:
    assert not of(answer, gold).is_right


def test_number_among_words_is_numerical_and_not_exact() -> None:
    found = of("The answer is 42", "42")
    assert (found.exact, found.numerical, found.partial) == (False, True, True)


def test_last_number_of_the_block_counts() -> None:
    assert of("step 1: 42", "42").numerical
    assert not of("step 1: 42", "1").numerical


def test_number_outside_the_block_is_flexible_only() -> None:
    found = assess("so it is 42", "42", TAGS, SETTINGS)
    assert (found.numerical, found.flexible, found.number) == (False, True, None)


@pytest.mark.parametrize(
    ("said", "partial", "wide"),
    [
        ("110", True, True),
        ("90", True, True),
        ("111", False, True),
        ("120", False, True),
        ("121", False, False),
        ("-100", False, False),
    ],
)
def test_bands_around_the_gold_number(said: str, partial: bool, wide: bool) -> None:
    found = of(said, "100")
    assert (found.partial, found.partial_wide) == (partial, wide)


def test_band_of_a_negative_gold_number() -> None:
    assert of("-95", "-100").partial
    assert not of("95", "-100").partial


def test_gold_number_zero_has_no_band() -> None:
    assert of("0", "0").partial
    assert not of("0.01", "0").partial_wide


def test_gold_answer_stands_behind_the_last_mark() -> None:
    assert gold_of("16-3 = 13 #### no\n#### 1,234 ") == "1,234"
    assert gold_of("7") == "7"


def test_units_are_settings() -> None:
    assert normalise("5 km", ("km",)).value == 5
    assert normalise("5 km").value is None
    assert normalise("5 akm", ("km",)).value is None


def test_partial_holds_numerical_holds_exact() -> None:
    rng = random.Random(2)
    parts = ["4", "42", "-", "$", ",", ".", "0", " ", "/", "e", "%", "x", "<answer>", "</answer>"]
    for _ in range(3000):
        text = "<answer>" + "".join(rng.choices(parts, k=rng.randint(0, 8))) + "</answer>"
        found = assess(text, rng.choice(["42", "0", "-4", "0.5"]), TAGS, SETTINGS)
        steps = [found.exact, found.numerical, found.partial, found.partial_wide]
        assert steps == sorted(steps)
        assert found.flexible >= found.numerical


def test_real_solutions_are_right(gsm8k: list[dict[str, str]]) -> None:
    for row in gsm8k:
        text = f"<reasoning>{row['answer']}</reasoning><answer>{gold_of(row['answer'])}</answer>"
        found = assess(text, row["answer"], TAGS, SETTINGS)
        assert found.exact and found.numerical and found.blocks.is_compliant, row["answer"]
