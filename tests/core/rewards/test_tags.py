"""The blocks of a completion."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from activeuf_core.rewards.config import Tags
from activeuf_core.rewards.tags import is_lenient_match, legacy_format, legacy_number, read

TAGS = Tags()
GOOD = "<reasoning>so</reasoning><answer>4</answer>"

COMPLIANT = [GOOD, f"\n {GOOD} \n", "<reasoning>a\nb</reasoning>\n\n<answer>\n4\n</answer>"]


@pytest.mark.parametrize("text", COMPLIANT)
def test_two_filled_blocks_are_compliant(text: str) -> None:
    found = read(text, TAGS)
    assert found.is_compliant
    assert (found.answer or "").strip() == "4"
    assert is_lenient_match(text, TAGS)


SPOILED = {
    "text before": f"Sure: {GOOD}",
    "text on the line before": f"Sure:\n{GOOD}",
    "text after": f"{GOOD}\nBye",
    "text between": "<reasoning>so</reasoning> hence <answer>4</answer>",
    "empty reasoning": "<reasoning> </reasoning><answer>4</answer>",
    "empty answer": "<reasoning>so</reasoning><answer></answer>",
    "two answers": f"{GOOD}<answer>5</answer>",
    "nested": "<reasoning><reasoning>so</reasoning><answer>4</answer>",
    "answer first": "<answer>4</answer><reasoning>so</reasoning>",
    "answer inside": "<reasoning>so<answer>4</answer></reasoning>",
    "never closed": "<reasoning>so</reasoning><answer>4",
    "no tags": "4",
    "nothing": "",
}


@pytest.mark.parametrize("text", SPOILED.values(), ids=SPOILED.keys())
def test_anything_else_is_not(text: str) -> None:
    assert not read(text, TAGS).is_compliant


def test_blocks_are_read_one_by_one() -> None:
    assert read("<answer>4</answer>", TAGS).answer == "4"
    assert read("<answer>4</answer>", TAGS).reasoning is None
    assert read(f"{GOOD}<answer>5</answer>", TAGS).answer is None
    assert read("</answer>4<answer>", TAGS).answer is None


LENIENT = [
    (f"Sure:\n{GOOD}\nBye", True),
    (f"Sure: {GOOD}", False),
    (f"{GOOD} Bye", False),
    ("<reasoning></reasoning><answer>4</answer>", False),
    ("<reasoning>so</reasoning><answer></answer>", False),
    ("<reasoning><reasoning>so</reasoning><answer>4</answer>", True),
    ("<reasoning>so</reasoning> hence <answer>4</answer>", True),
]


@pytest.mark.parametrize(("text", "matches"), LENIENT)
def test_lenient_pattern_matches_at_line_ends(text: str, matches: bool) -> None:
    assert is_lenient_match(text, TAGS) is matches


def test_lenient_pattern_captures_across_two_answers() -> None:
    found = legacy_format(TAGS).search(f"{GOOD}<answer>5</answer>")
    assert found is not None
    assert found[1] == "4</answer><answer>5"


def test_lenient_number_needs_no_format() -> None:
    found = legacy_number(TAGS).search("x<answer> about -1,234")
    assert found is not None
    assert found[1] == "1"


def test_other_tags_are_taken_literally() -> None:
    tags = Tags(answer_start="[A.", answer_end="A.]")
    assert read("[A.4A.]", tags).answer == "4"
    assert legacy_number(tags).search("[Ax 4") is None


def test_a_tag_that_is_part_of_another_one_is_refused() -> None:
    with pytest.raises(ValidationError, match="part of another tag"):
        Tags(answer_start="<reasoning>x")
