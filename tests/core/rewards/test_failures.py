"""The failure taxonomy: an example of each kind, and which explains which."""

from __future__ import annotations

import re

import pytest

from activeuf_core.rewards import failures
from activeuf_core.rewards.arithmetic import value_of, wrong_equations
from activeuf_core.rewards.config import AnswerSettings, Tags
from activeuf_core.rewards.failures import KINDS, failure_of, failures_of, table_of
from activeuf_core.rewards.metrics import Sample

FORMAT = "<reasoning>{}</reasoning><answer>{}</answer>"

EXAMPLES = {
    "no_completion": Sample("q", "42", None, error="the server went away"),
    "repeated_text": Sample("q", "42", "<reasoning>" + "and so on " * 60, is_truncated=True),
    "truncated": Sample("q", "42", "<reasoning>There are 42", is_truncated=True, num_tokens=5),
    "wrong_format_right_answer": Sample("q", "42", "It is 42."),
    "no_tags": Sample("q", "42", "It is 43."),
    "no_answer_block": Sample("q", "42", "<reasoning>It is 43.</reasoning>"),
    "empty_reasoning": Sample("q", "42", FORMAT.format(" ", "43")),
    "unparseable_number": Sample("q", "42", FORMAT.format("r", "forty-three")),
    "sign_error": Sample("q", "42", FORMAT.format("r", "-42")),
    "off_by_factor_10": Sample("q", "42", FORMAT.format("r", "4.2")),
    "arithmetic_error": Sample("q", "42", FORMAT.format("6 * 7 = 43", "43")),
    "within_10pct": Sample("q", "42", FORMAT.format("r", "43")),
    "wrong_other": Sample("q", "42", FORMAT.format("r", "77")),
}


def test_every_kind_has_an_example_and_a_line() -> None:
    assert tuple(EXAMPLES) == KINDS
    assert re.findall(r"^\| `(\w+)`", failures.__doc__ or "", re.M) == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_kind_of_the_example(kind: str) -> None:
    found = failure_of(EXAMPLES[kind])
    assert found is not None
    assert found.kind == kind


@pytest.mark.parametrize("answer", ["42", "it is 42", "$42.00"])
def test_right_in_the_right_form_is_no_failure(answer: str) -> None:
    assert failure_of(Sample("q", "42", FORMAT.format("r", answer))) is None


def test_right_answer_of_a_stuck_policy_is_a_matter_of_form() -> None:
    text = FORMAT.format("and so on " * 60, "42") + "!"
    found = failure_of(Sample("q", "42", text))
    assert found is not None
    assert found.kind == "wrong_format_right_answer"


def test_wrong_words_are_other() -> None:
    found = failure_of(Sample("q", "Paris", FORMAT.format("r", "Rome")))
    assert found is not None
    assert (found.kind, found.said) == ("wrong_other", "Rome")


def test_details_show_what_was_seen() -> None:
    found = failures_of(
        [EXAMPLES["arithmetic_error"], EXAMPLES["sign_error"]], Tags(), AnswerSettings()
    )
    assert [failure.detail for failure in found] == ["6 * 7 = 43", "-42 instead of 42"]


def test_table_has_shares_of_all_samples_and_few_examples() -> None:
    found = [failure_of(EXAMPLES["no_tags"])] * 5 + [failure_of(EXAMPLES["sign_error"])]
    first, second = table_of([one for one in found if one], num_samples=20)
    assert (first["kind"], first["share"].count, first["share"].n) == ("no_tags", 5, 20)
    assert len(first["examples"]) == 3
    assert second["kind"] == "sign_error"


WRONG = [
    ("so 16 - 3 = 12 eggs", ["16 - 3 = 12"]),
    ("<<16-3=12>>12", ["16-3=12"]),
    ("(2+3)*4 = 21.", ["(2+3)*4 = 21"]),
    ("3 × 4 = 13", ["3 * 4 = 13"]),
    ("3 x 4 = 13", ["3 * 4 = 13"]),
    ("10/3 = 3", ["10/3 = 3"]),
    ("$5 * 3 = $16", ["$5 * 3 = $16"]),
    ("-5 + 3 = 2", ["-5 + 3 = 2"]),
]
FINE = [
    "16 - 3 = 13",
    "10/3 = 3.33",
    "2/3 = 0.66 or 0.67",
    "3 + x * 2 = 7",
    "3 + 4 = 8 * 2",
    "20 * 5% = 1",
    "50 + 3 = 12%",
    "5 - 1 - 1/2 = 3 1/2",
    "2 apples + 3 = 6",
    "1/0 = 5",
    "x2 + 3 = 9",
    "no equation",
]


@pytest.mark.parametrize(("text", "wrong"), WRONG)
def test_equation_that_does_not_hold_is_found(text: str, wrong: list[str]) -> None:
    assert wrong_equations(text) == wrong


@pytest.mark.parametrize("text", FINE)
def test_what_holds_or_is_not_read_is_left_alone(text: str) -> None:
    assert wrong_equations(text) == []


@pytest.mark.parametrize("text", ["(((1+" * 3000, "1+" * 9000, "-1 " * 9000, "((" * 9000 + "1=2"])
def test_hostile_equations_take_no_time(text: str) -> None:
    assert wrong_equations(text) == []


def test_deep_brackets_are_no_expression() -> None:
    assert value_of("(" * 50 + "1" + ")" * 50) is None
    assert value_of("2*(3-1)/4") == 1
    assert value_of("2 3") is None
    assert value_of("(2") is None


def test_real_solutions_hold(gsm8k: list[dict[str, str]]) -> None:
    wrong = [found for row in gsm8k if (found := wrong_equations(row["answer"]))]
    assert wrong == [["$32 - $20 = $300"]]  # a slip of the dataset's own
