"""Rubrics: what a completion should do, as weighted criteria.

In: OpenRubrics' numbered text, or YAML. Out: `Rubric`s and `RubricSet`s, checked: weights above 0,
names that differ, at least one criterion.
A criterion's keywords decide whether a completion touches it. Where none are given they are the
words of its description, without those that any rubric has.
Source: the format of OpenRubrics (arXiv 2510.07743): one item a line, "1. … [Hard Rule]" or
"[Principle]".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from activeuf_core.config import StrictModel, parse, read_yaml
from activeuf_core.errors import DataError
from activeuf_core.rewards.text_measures import words_of

ITEM = re.compile(r"^\s*(?:\d+[.)]|[-*•])\s+(.*?)\s*$")
KIND = re.compile(r"\s*\[(hard rule|principle)\]\s*$", re.IGNORECASE)
Kind = Literal["hard_rule", "principle"]
HARD_RULE_WEIGHT = 2.0
"""A demand that the prompt states counts as two qualities that a good answer should have: the
dataset ranks hard rules first and gives no numbers."""
SHORTEST_KEYWORD = 3

COMMON_WORDS = frozenset(
    word
    for line in (
        "a about above accurate accurately all also an and any appropriate are as at avoid based",
        "be been before being between both but by can clear clearly completion contain contains",
        "could demonstrate demonstrates do does each ensure ensures every explicitly for from has",
        "have how if in include includes including into is it its maintain maintains makes may",
        "more must necessary no not of on only or other out over prompt provide provides related",
        "relevant request requested response should so such than that the their them then there",
        "these they this those through to under use user users uses using was well were what when",
        "where which while who will with without within would you your",
    )
    for word in line.split()
)
"""Words of the language and of rubrics in general: to use them says nothing about a criterion."""


class Criterion(StrictModel):
    """One thing to look for."""

    name: str = Field(min_length=1)
    description: str = Field(min_length=1)
    weight: float = Field(default=1.0, gt=0.0)
    kind: Kind = "principle"
    keywords: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The words that show that a completion touches it, in lower case, each once."""
        given = words_of(" ".join(self.keywords)) or [
            word
            for word in words_of(self.description)
            if len(word) >= SHORTEST_KEYWORD and word not in COMMON_WORDS
        ]
        return tuple(dict.fromkeys(given))


class Rubric(StrictModel):
    """The criteria for the completions of one prompt, or of one type of question."""

    name: str = Field(min_length=1)
    criteria: tuple[Criterion, ...] = Field(min_length=1)
    question_types: tuple[str, ...] = ()
    """Types it is for; empty: any."""

    @model_validator(mode="after")
    def _names_differ(self) -> Rubric:
        """Facts are logged per criterion, by name."""
        _check_names([criterion.name for criterion in self.criteria], "criterion")
        return self

    @property
    def text(self) -> str:
        """The rubric as numbered text, hard rules marked."""
        marks = {"hard_rule": "[Hard Rule]", "principle": "[Principle]"}
        return "\n".join(
            f"{place}. {one.description} {marks[one.kind]}"
            for place, one in enumerate(self.criteria, start=1)
        )


class RubricSet(StrictModel):
    """Rubrics by name and type of question."""

    name: str = Field(min_length=1)
    rubrics: tuple[Rubric, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> RubricSet:
        """Rubrics are chosen by name."""
        _check_names([rubric.name for rubric in self.rubrics], "rubric")
        return self

    def for_type(self, question_type: str) -> Rubric:
        """Return the first rubric that names the type, else that is for any type, else of all."""
        named = [one for one in self.rubrics if question_type in one.question_types]
        general = [one for one in self.rubrics if not one.question_types]
        return [*named, *general, *self.rubrics][0]


def from_text(text: str, name: str = "rubric") -> Rubric:
    """Return the rubric that a numbered text describes; a line without a number goes on the last.

    Raises: DataError when it has no items.
    """
    items: list[str] = []
    for line in text.splitlines():
        found = ITEM.match(line)
        if found and found[1]:
            items.append(found[1])
        elif items and line.strip():
            items[-1] = f"{items[-1]} {line.strip()}"
    if not items and text.strip():
        items = [text.strip()]
    criteria = tuple(_criterion(place, item) for place, item in enumerate(items, start=1))
    if not criteria:
        raise DataError(
            f"rubric {name!r} is {text!r:.80}; expected items such as '1. … [Hard Rule]'. Leave "
            "the row's rubric null where there is none."
        )
    return Rubric(name=name, criteria=criteria)


def read_rubrics(path: Path) -> RubricSet:
    """Read a YAML file with `rubrics`, or with the `criteria` of a single one.

    Raises: ConfigError for an unknown key or a wrong value.
    """
    values = read_yaml(path)
    if "criteria" in values:
        values = {"name": values.get("name", path.stem), "rubrics": [values]}
    return parse(RubricSet, values, path)


def _criterion(place: int, item: str) -> Criterion:
    found = KIND.search(item)
    is_hard = found is not None and found[1].lower() == "hard rule"
    return Criterion(
        name=f"item_{place}",
        description=KIND.sub("", item).strip() or item,
        weight=HARD_RULE_WEIGHT if is_hard else 1.0,
        kind="hard_rule" if is_hard else "principle",
    )


def _check_names(names: Sequence[str], what: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{what} names {twice} occur twice; make all differ")
