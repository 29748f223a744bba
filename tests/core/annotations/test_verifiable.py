"""The verifiable judge: each kind passes and fails, ratings are graded, errors name the fault."""

from __future__ import annotations

from typing import Any

import pytest

from activeuf_core.annotations.verifiable import ASPECTS, KINDS, check, rate, validate
from activeuf_core.errors import ConfigError


def kind(name: str, **params: Any) -> dict[str, Any]:
    """Spell a constraint."""
    return {"kind": name, **params}


CASES = [
    (kind("contains", values=["Rome", "Tiber"]), "Rome lies on the Tiber.", "Rome"),
    (kind("contains_any", values=["hot", "warm"]), "It is WARM.", "It is hotter."),
    (kind("label", value="yes", others=["no"]), "Yes, not no.", "No. Or yes?"),
    (kind("numeric_answer", value=1200), "3 * 400 = 1,200.", "1200 is not 3."),
    (kind("one_of", values=["yes", "no"]), ' "Yes". ', "Yes, it is."),
    (kind("excludes", values=["rain"]), "Trains run.", "Rain falls."),
    (kind("starts_with", value="Sure:"), "Sure: a pear", "sure: a pear"),
    (kind("ends_with", value="home."), "They went home.\n", "They went home"),
    (kind("max_words", count=2), "- red fox", "a red fox"),
    (kind("min_words", count=3), "a red fox", "red fox"),
    (kind("max_sentences", count=1), "It costs 2.50 now", "Yes. It is."),
    (kind("sentence_count", count=2), 'He said "go!" We went.', "We went."),
    (kind("line_count", count=2), "one\n\ntwo", "one"),
    (kind("bullet_count", count=2), "- a\n* b", "1. a\n2. b"),
    (kind("numbered_count", count=2), "1. a\n2) b", "- a\n- b"),
    (kind("item_count", count=3), "a, b, c", "a\nb\nc"),
    (kind("all_lowercase"), "rain 2 falls", "Rain"),
    (kind("all_uppercase"), "RAIN, 2", "RAIn"),
    (kind("json_object", keys=["a", "b"]), '```json\n{"a": 1, "b": 2}\n```', '{"a": 1, "c": 2}'),
    (kind("no_repetition", size=2), "a b c a d", "a b c a b"),
]


@pytest.mark.parametrize(("constraint", "good", "bad"), CASES, ids=lambda value: str(value)[:40])
def test_each_kind_passes_and_fails(constraint: dict[str, Any], good: str, bad: str) -> None:
    assert check(constraint, good)
    assert not check(constraint, bad)


def test_every_kind_has_a_case() -> None:
    assert {case[0]["kind"] for case in CASES} == set(KINDS)


@pytest.mark.parametrize("constraint", [case[0] for case in CASES], ids=lambda c: c["kind"])
def test_degrees_stay_in_range_on_odd_texts(constraint: dict[str, Any]) -> None:
    for text in ("", "   ", "...", "{", "[" * 5000, "\x00", "ä" * 400, "1\n" * 90, "-", "a, " * 60):
        assert all(1.0 <= value <= 5.0 for value in rate([constraint], text).values())


@pytest.mark.parametrize("constraint", [case[0] for case in CASES], ids=lambda c: c["kind"])
def test_an_empty_completion_satisfies_nothing(constraint: dict[str, Any]) -> None:
    assert not check(constraint, " \n")
    assert set(rate([constraint], "").values()) == {1.0}


def test_ratings_name_their_aspects_in_order() -> None:
    constraints = [kind("max_words", count=3), kind("contains", values=["Lisbon"])]
    assert tuple(rate(constraints, "Lisbon")) == ASPECTS


def test_an_aspect_without_constraint_is_left_out() -> None:
    assert set(rate([], "Hello there.")) == {"clarity"}


def test_a_perfect_answer_gets_five() -> None:
    constraints = [kind("max_words", count=1), kind("numeric_answer", value=20)]
    assert set(rate(constraints, "20").values()) == {5.0}


def test_correctness_is_the_mean_degree() -> None:
    constraints = [kind("contains", values=["a", "b"]), kind("numeric_answer", value=7)]
    # degrees 0.5 and 0.4 (the right number is not the last one)
    assert rate(constraints, "a 7 8")["correctness"] == pytest.approx(1 + 4 * 0.45)


def test_a_limit_missed_by_more_is_rated_lower() -> None:
    limit = [kind("max_words", count=4)]
    ratings = [rate(limit, "word " * n)["instruction_following"] for n in (4, 8, 16)]
    assert ratings == pytest.approx([5.0, 1 + 4 * 0.5**0.5, 3.0], abs=1e-3)


def test_a_right_sentence_beats_a_wrong_word() -> None:
    constraints = [kind("contains", values=["Lisbon"]), kind("max_words", count=1)]
    right, wrong = "The capital of Portugal is Lisbon.", "Madrid"
    assert sum(rate(constraints, right).values()) > sum(rate(constraints, wrong).values())


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("The cat sat on the warm mat.", "The cat sat the cat sat the cat sat."),
        ("The cat sat on the warm old mat.", "The cat sat on the warm old"),
        ("A plain text.", "A plän téxt ☃."),
        (
            "Short and clear. " + "x y z. ",
            "Short and clear. " + " ".join(map(str, range(60))) + ".",
        ),
    ],
    ids=["repetition", "cut off", "odd characters", "length"],
)
def test_each_part_of_clarity_counts(better: str, worse: str) -> None:
    assert rate([], better)["clarity"] > rate([], worse)["clarity"]


def test_a_text_that_was_asked_to_be_long_is_not_punished() -> None:
    text = " ".join(f"word{i}" for i in range(44)) + "."
    assert rate([kind("min_words", count=30)], text)["clarity"] == 5.0
    assert rate([], text)["clarity"] < 5.0


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        ({"kind": "max_word", "count": 3}, "did you mean 'max_words'"),
        ({"count": 3}, "unknown kind None"),
        ({"kind": ["max_words"]}, "unknown kind"),
        ({"kind": "max_words", "counts": 3}, "did you mean 'count'"),
        ({"kind": "max_words"}, "lacks the parameter 'count'"),
        ({"kind": "max_words", "count": 0}, "count is 0, expected a whole number"),
        ({"kind": "max_words", "count": True}, "count is True"),
        ({"kind": "numeric_answer", "value": float("nan")}, "expected a finite number"),
        ({"kind": "contains", "values": []}, "expected a list of texts"),
        ({"kind": "contains", "values": "red"}, "values is 'red'"),
        ({"kind": "starts_with", "value": " "}, "expected a text"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_constraint_is_refused_by_name(constraint: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(constraint)
    with pytest.raises(ConfigError, match=message):
        rate([constraint], "")
