"""Rubrics from text and YAML, and the rewards that read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from activeuf_core.errors import ConfigError, DataError
from activeuf_core.rewards.rubric_rewards import (
    criterion_overlaps,
    legacy_overlap,
    legacy_rubric,
    reference_similarity,
    rubric_overlap,
    tells_apart,
)
from activeuf_core.rewards.rubrics import Criterion, Rubric, RubricSet, from_text, read_rubrics

TEXT = (
    "1. The response prompts for the country exactly as asked. [Hard Rule]\n"
    "2. The response checks whether the country borders the Mediterranean\n"
    "   Sea. [hard rule]\n"
    "3. The response uses meaningful variable names. [Principle]\n"
)


def test_numbered_items_become_criteria() -> None:
    found = from_text(TEXT)
    assert [one.kind for one in found.criteria] == ["hard_rule", "hard_rule", "principle"]
    assert [one.weight for one in found.criteria] == [2.0, 2.0, 1.0]
    assert found.criteria[1].description.endswith("borders the Mediterranean Sea.")


def test_text_survives_a_round_trip() -> None:
    assert from_text(from_text(TEXT).text) == from_text(TEXT)


def test_text_without_numbers_is_one_criterion() -> None:
    (only,) = from_text("Be kind.").criteria
    assert (only.description, only.kind) == ("Be kind.", "principle")


@pytest.mark.parametrize("text", ["", " \n "])
def test_no_items_are_an_error(text: str) -> None:
    with pytest.raises(DataError, match="expected items"):
        from_text(text)


def test_words_of_a_criterion_are_its_own() -> None:
    assert from_text(TEXT).criteria[2].words == ("meaningful", "variable", "names")
    given = Criterion(name="c", description="d", keywords=("Blue Sky", "blue"))
    assert given.words == ("blue", "sky")


YAML = """
name: maths
rubrics:
  - name: steps
    question_types: [math]
    criteria: [{name: shown, description: Shows every step., weight: 3}]
  - name: any
    criteria: [{name: polite, description: Stays polite.}]
"""


def test_rubrics_are_chosen_by_type(tmp_path: Path) -> None:
    (tmp_path / "rubrics.yaml").write_text(YAML, encoding="utf-8")
    found = read_rubrics(tmp_path / "rubrics.yaml")
    assert found.for_type("math").name == "steps"
    assert found.for_type("poetry").name == "any"
    assert RubricSet(name="one", rubrics=found.rubrics[:1]).for_type("poetry").name == "steps"


def test_single_rubric_is_a_set_of_one(tmp_path: Path) -> None:
    path = tmp_path / "tone.yaml"
    path.write_text("name: tone\ncriteria: [{name: a, description: Warm.}]\n", encoding="utf-8")
    assert [one.name for one in read_rubrics(path).rubrics] == ["tone"]


@pytest.mark.parametrize(
    ("criteria", "said"),
    [
        ("[]", "criteria"),
        ("[{name: a, description: d, weight: 0}]", "weight"),
        ("[{name: a, description: d}, {name: a, description: e}]", "occur twice"),
        ("[{name: a, description: d, wieght: 1}]", "wieght"),
    ],
)
def test_wrong_rubrics_are_refused(tmp_path: Path, criteria: str, said: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(f"name: r\ncriteria: {criteria}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        read_rubrics(path)


RUBRIC = from_text(TEXT)
GOOD = (
    "It asks which country, checks that it borders the Mediterranean, and its variable names are "
    "meaningful."
)


def test_overlap_ranks_answer_above_blank_and_echo() -> None:
    good, blank, echo = (rubric_overlap(text, RUBRIC) for text in (GOOD, "", TEXT))
    assert good > 0.4
    assert blank == 0.0
    assert echo == 0.0


def test_rubric_that_tells_nothing_apart_is_found_out() -> None:
    assert tells_apart(RUBRIC, GOOD)
    assert not tells_apart(RUBRIC, "Bananas.")
    assert not tells_apart(from_text("1. It should be clear."), GOOD)


def test_overlap_is_the_weighted_mean_of_its_criteria() -> None:
    by_name = criterion_overlaps(GOOD, RUBRIC)
    mean = (2 * by_name["item_1"] + 2 * by_name["item_2"] + by_name["item_3"]) / 5
    assert rubric_overlap(GOOD, RUBRIC) == pytest.approx(mean)
    assert by_name["item_3"] == 1.0


def test_a_word_list_still_pays_as_the_docs_admit() -> None:
    words = sorted({word for one in RUBRIC.criteria for word in one.words}, reverse=True)
    assert rubric_overlap(" ".join(words), RUBRIC) > 0.9


def test_criterion_of_common_words_asks_for_nothing() -> None:
    rubric = Rubric(name="r", criteria=(Criterion(name="a", description="It should be clear."),))
    assert rubric_overlap("x", rubric) == 1.0


def test_similarity_is_one_for_the_reference_itself() -> None:
    assert reference_similarity("same words", "same words") == 1.0
    assert reference_similarity("abc", "xyz") == 0.0


@pytest.mark.parametrize(
    ("text", "rubric", "overlap"),
    [
        ("blue sky", "blue sky", 10.0),
        ("blue", "blue sky", 5.0),
        ("blue", "blue blue sky", 3.3333),
        ("sky", "blue blue sky", 6.6667),
        ("Blue!", "blue, sky.", 5.0),
        ("a b", "a b", 0.0),
        ("x", "", 0.0),
    ],
)
def test_legacy_overlap_by_hand(text: str, rubric: str, overlap: float) -> None:
    assert legacy_overlap(text, rubric) == overlap


@pytest.mark.parametrize(
    ("reference", "target", "reward"),
    [
        (None, None, 10.0),
        ("blue sky", None, 15.0),
        ("blue sky", 10, 20.0),
        (None, 25, 15.0),
        (None, -1, 10.0),
        (None, "bad", 10.0),
        ("", 5, 12.5),
    ],
)
def test_legacy_sum(reference: str | None, target: float | str | None, reward: float) -> None:
    assert legacy_rubric("blue sky", "blue sky", reference, target) == reward
