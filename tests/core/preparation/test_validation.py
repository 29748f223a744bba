"""Rules: each passes on a sound data set, and each fails on a fixture of its own."""

from __future__ import annotations

from typing import Any

import pytest

from activeuf_core.preparation.findings import Finding, run_rules
from activeuf_core.preparation.statistics import describe
from activeuf_core.preparation.validation import RULES, Facts
from tests.core.preparation.made_rows import config, facts, row

RUBRIC = "1. Be brief. [Hard Rule]\n2. Be kind. [Principle]"
NAMES = [rule.name for rule in RULES]


def rows(first: int, last: int) -> list[Any]:
    return [row(f"What is {number}?", str(number)) for number in range(first, last)]


SOUND = facts(rows(0, 70), rows(70, 85), rows(85, 100))
EMPTY = {"num_examples": 0, "characters": {}}


def finding(name: str, found: Facts) -> Finding:
    return next(one for one in run_rules(RULES, found) if one.name == name)


def changed(*more: Any, **settings: Any) -> Facts:
    """Return sound facts with further rows for training."""
    return facts([*rows(0, 70), *more], rows(70, 85), rows(85, 100), config(**settings))


def of_openrubrics(*more: Any) -> Facts:
    return changed(*more, kind="openrubrics")


FAILING: dict[str, Facts] = {
    "splits_non_empty": facts(rows(0, 9), rows(9, 12)),
    "no_blank_fields": changed(row(" ")),
    "gold_answer_parseable": changed(row("Who?", "seven")),
    "split_leakage": changed(row("what is  99?", "99")),
    "tags_configured": changed(prompt={"system": "Answer in <answer>."}),
    "duplicate_rate": changed(row("what is 1?", "1"), row("WHAT is 2?", "2")),
    "answers_agree": changed(row("what is 1?", "2")),
    "prompt_fits_budget": changed(budget={"characters": 20}),
    "split_fractions": facts(rows(0, 10), rows(10, 50), rows(50, 100)),
    "rubrics_parseable": changed(row("How?", rubric="be nice")),
    "pairs_differ": changed(row("How?", chosen="same", rejected="same")),
    "stats_drift": facts(
        statistics={"splits": {"train": describe(rows(0, 70))}},
        before={"splits": {"train": describe(rows(0, 50))}},
    ),
}


def test_every_rule_has_a_failing_fixture() -> None:
    assert sorted(FAILING) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_passes_on_sound_rows(name: str) -> None:
    assert finding(name, SOUND).passed


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_fails_on_its_fixture(name: str) -> None:
    assert not finding(name, FAILING[name]).passed


OF_NO_ROW = {"splits_non_empty", "split_fractions", "tags_configured"}


@pytest.mark.parametrize("name", sorted(set(NAMES) - OF_NO_ROW))
def test_a_failed_rule_shows_why(name: str) -> None:
    assert finding(name, FAILING[name]).examples


def test_what_blocks() -> None:
    assert [rule.name for rule in RULES if rule.blocking] == [
        *("splits_non_empty", "no_blank_fields", "gold_answer_parseable", "split_leakage"),
    ]


def test_a_split_of_fraction_nothing_may_be_empty() -> None:
    fractions = {"train": 0.85, "val": 0.15, "test": 0.0}
    found = facts(rows(0, 85), rows(85, 100), settings=config(fractions=fractions))
    assert finding("splits_non_empty", found).passed
    assert finding("split_fractions", found).passed


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (row("Q", ""), "gold"),
        (row("Q", rubric=" "), "rubric"),
        (row("Q", chosen="x", rejected=" \n"), "rejected"),
    ],
)
def test_blank_fields_are_named(wrong: Any, said: str) -> None:
    found = finding("no_blank_fields", changed(wrong))
    assert found.values == {"rows": 1}
    assert found.examples[0]["blank"] == said


def test_answers_that_are_no_numbers_need_none() -> None:
    assert finding("gold_answer_parseable", of_openrubrics(row("Who?", "seven"))).passed
    assert finding("tags_configured", of_openrubrics()).passed


def test_a_question_that_contains_a_tag_is_found() -> None:
    found = finding("tags_configured", changed(row("What is <answer>?")))
    assert not found.passed and found.values["questions_with_a_tag"] == 1


def test_leaks_that_were_dropped_are_told() -> None:
    found = finding("split_leakage", facts(rows(0, 9), dropped={"in_another_split": 3}))
    assert found.passed and found.values == {"rows": 0, "dropped": 3}


def test_dropped_rows_count_among_the_repeated() -> None:
    found = finding("duplicate_rate", facts(rows(0, 70), dropped={"repeated": 30}))
    assert not found.passed and found.values["share"] == pytest.approx(0.3)


def test_equal_numbers_agree_however_they_are_written() -> None:
    assert finding("answers_agree", changed(row("what is 1?", "$1.0"))).passed


def test_tokens_decide_where_they_are_counted() -> None:
    counted = {f"What is {number}?": 3 if number else 300 for number in range(100)}
    limits = {"over_budget_share": 0.0}
    found = finding(
        "prompt_fits_budget",
        facts(rows(0, 100), settings=config(limits=limits), tokens=counted),
    )
    assert not found.passed and found.examples[0]["length"] == 300
    assert "256 tokens" in found.description


def test_dropped_prompts_count_among_the_long() -> None:
    found = finding("prompt_fits_budget", facts(rows(0, 98), dropped={"over_budget": 2}))
    assert not found.passed and found.values == {"share": 0.02, "kept": 0, "dropped": 2}


def test_small_data_sets_may_lie_further_off() -> None:
    assert finding("split_fractions", facts(rows(0, 5), rows(5, 8), rows(8, 10))).passed


def test_official_splits_are_no_part_of_fractions() -> None:
    found = facts(rows(0, 82), rows(82, 100), rows(100, 900), official=("train", "test"))
    assert finding("split_fractions", found).passed


def test_no_earlier_statistics_is_no_drift() -> None:
    found = finding("stats_drift", facts(statistics={"splits": {"train": EMPTY}}))
    assert found.passed and found.values == {"compared": 0}
