"""The verifiable judge: constraints that code can check, turned into ratings from 1 to 5.

In: a prompt's constraints, `[{"kind": "max_words", "count": 8}, ...]`, and a completion's text.
Out: aspect → rating. No model, no network; the same text always gets the same ratings.

Each kind of KINDS measures a degree in [0, 1], where 1 means that the constraint holds and less
says how near the text came, and belongs to one of two aspects. A third aspect comes from the text
alone:

    correctness             right and on topic: mean degree of the kinds that look at content
    instruction_following   the form asked for: mean degree of the kinds that look at form
    clarity                 0.3 free of repetition, 0.2 finished, 0.2 plain characters,
                            0.3 no longer than needed

A rating is 1 + 4 × degree. An aspect without a constraint is left out, never filled in; an empty
completion gets 1 everywhere. The overall score is the mean of the ratings, so correctness weighs up
to 1.33 points, and length in `clarity` at most 0.4: when both keep the form, a short wrong answer
never beats a right one by being short. Degrees below 1 and the length term make exact ties the
exception: 17 % of the demo's pairs, a quarter of them equal texts, the rest mostly short answers
that are wrong in the same form. What code cannot see (facts beyond the listed phrases, tone, truth
of a denial) is not rated: this is a judge for data written for it.
Cost: about 70 µs per completion.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from activeuf_core.errors import ConfigError, choose_from

CORRECTNESS = "correctness"
INSTRUCTION_FOLLOWING = "instruction_following"
CLARITY = "clarity"
ASPECTS = (CORRECTNESS, INSTRUCTION_FOLLOWING, CLARITY)

FREE_WORDS = 20
"""Words that cost nothing in `clarity` when no constraint asks for another length."""

Constraint = Mapping[str, Any]

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?")
BULLET = re.compile(r"^\s*[-*•]\s+\S")
NUMBERED = re.compile(r"^\s*\d+[.)]\s+\S")
SENTENCE_END = re.compile(r"[.!?]+[\"')\]]*(?=\s|$)")


@dataclass(frozen=True)
class Kind:
    """One kind of constraint: what it rates, its parameters, and how far a text meets it."""

    aspect: str
    params: Mapping[str, str]
    """Parameter name → type, a key of PARAM_TYPES. All of them are required."""
    degree: Callable[[Any, str], float]
    """(constraint, stripped text that is not empty) → degree in [0, 1]; 1 means that it holds."""


def check(constraint: Constraint, completion_text: str) -> bool:
    """Say whether a completion satisfies a constraint; an empty completion satisfies none.

    Raises: ConfigError for an unknown kind or wrong parameters.
    """
    return _degree(constraint, completion_text.strip()) >= 1.0


def rate(constraints: Sequence[Constraint], text: str) -> dict[str, float]:
    """Rate a completion: aspect → rating in [1, 5], in the order of ASPECTS.

    An aspect for which there is no constraint is absent; `clarity` never is.
    Raises: ConfigError for an unknown kind or wrong parameters.
    """
    text = text.strip()
    degrees: dict[str, list[float]] = {}
    for constraint in constraints:
        degree = _degree(constraint, text)
        degrees.setdefault(KINDS[constraint["kind"]].aspect, []).append(degree)
    degrees[CLARITY] = [_clarity(text, _word_budget(constraints)) if text else 0.0]
    return {name: _rating(degrees[name]) for name in ASPECTS if name in degrees}


def validate(constraint: Constraint) -> None:
    """Check a constraint without a text.

    Raises: ConfigError naming the kind or the parameter, its value, and what is allowed.
    """
    kind = constraint.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"constraint of unknown kind {kind!r}; {choose_from(kind, KINDS)}.")
    params = KINDS[kind].params
    for name in constraint.keys() - {"kind"}:
        if name not in params:
            allowed = choose_from(name, params)
            raise ConfigError(f"constraint {kind!r} has no parameter {name!r}; {allowed}.")
    for name, type_name in params.items():
        if name not in constraint:
            raise ConfigError(f"constraint {kind!r} lacks the parameter {name!r} ({type_name}).")
        if not PARAM_TYPES[type_name](constraint[name]):
            value = constraint[name]
            raise ConfigError(f"constraint {kind!r}: {name} is {value!r}, expected {type_name}.")


def _degree(constraint: Constraint, text: str) -> float:
    """Return how far a stripped text meets a constraint, 0 for an empty one."""
    validate(constraint)
    if not text:
        return 0.0
    return KINDS[constraint["kind"]].degree(constraint, text)


def _rating(degrees: Sequence[float]) -> float:
    return round(1.0 + 4.0 * sum(degrees) / len(degrees), 4)


# --- what a text is made of -------------------------------------------------------------------


def _words(text: str) -> list[str]:
    """Return the chunks between spaces that hold a letter or a digit."""
    return [chunk for chunk in text.split() if any(char.isalnum() for char in chunk)]


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _num_sentences(text: str) -> int:
    """Count sentences; a list marker such as `1.` ends none, the last one needs no full stop."""
    plain = re.sub(r"(?m)^\s*\d+[.)]\s+", "", text)
    return len([part for part in SENTENCE_END.split(plain) if _words(part)])


def _find(phrase: str, text: str) -> int:
    """Return where a phrase stands as whole words, case ignored, or -1."""
    match = re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text, re.IGNORECASE)
    return match.start() if match else -1


def _numbers(text: str) -> list[float]:
    return [float(found.replace(",", "")) for found in NUMBER.findall(text)]


def _bare(text: str) -> str:
    """Return a text without case and without quotes, stars and punctuation around it."""
    return text.strip(" \t\n\"'`*.,;:!?").casefold()


def _num_repeats(words: Sequence[str], size: int) -> int:
    """Count the runs of `size` words that stood earlier in the text already."""
    runs = Counter(tuple(words[i : i + size]) for i in range(len(words) - size + 1))
    return sum(count - 1 for count in runs.values())


# --- degrees ----------------------------------------------------------------------------------


def _nearness(count: int, target: int) -> float:
    """Return 1 at the target, falling in proportion to the distance from it."""
    return max(0.0, 1.0 - abs(count - target) / max(target, 1))


def _contains(constraint: Constraint, text: str) -> float:
    found = [_find(value, text) >= 0 for value in constraint["values"]]
    return sum(found) / len(found)


def _contains_any(constraint: Constraint, text: str) -> float:
    return float(any(_find(value, text) >= 0 for value in constraint["values"]))


def _label(constraint: Constraint, text: str) -> float:
    """1 when the text names the right label before any other one, 0.25 when it does so later."""
    place = _find(constraint["value"], text)
    if place < 0:
        return 0.0
    rivals = [_find(other, text) for other in constraint["others"]]
    return 0.25 if any(0 <= rival < place for rival in rivals) else 1.0


def _numeric_answer(constraint: Constraint, text: str) -> float:
    """1 when the last number of the text is the answer, 0.4 when another one is."""
    right = [math.isclose(number, constraint["value"]) for number in _numbers(text)]
    if not any(right):
        return 0.0
    return 1.0 if right[-1] else 0.4


def _one_of(constraint: Constraint, text: str) -> float:
    """1 when an option is the whole text, 0.3 when the text names one among other words."""
    if _bare(text) in {_bare(value) for value in constraint["values"]}:
        return 1.0
    return 0.3 * _contains_any(constraint, text)


def _excludes(constraint: Constraint, text: str) -> float:
    return 1.0 - _contains(constraint, text)


def _starts_with(constraint: Constraint, text: str) -> float:
    if text.startswith(constraint["value"]):
        return 1.0
    return 0.5 if text.casefold().startswith(constraint["value"].casefold()) else 0.0


def _ends_with(constraint: Constraint, text: str) -> float:
    if text.endswith(constraint["value"]):
        return 1.0
    return 0.5 if text.casefold().endswith(constraint["value"].casefold()) else 0.0


def _max_words(constraint: Constraint, text: str) -> float:
    """1 within the limit, then falling as the square root.

    So a right sentence where one word was asked for still beats a wrong word.
    """
    return min(1.0, math.sqrt(constraint["count"] / max(len(_words(text)), 1)))


def _min_words(constraint: Constraint, text: str) -> float:
    return min(1.0, len(_words(text)) / constraint["count"])


def _max_sentences(constraint: Constraint, text: str) -> float:
    return min(1.0, constraint["count"] / max(_num_sentences(text), 1))


def _sentence_count(constraint: Constraint, text: str) -> float:
    return _nearness(_num_sentences(text), constraint["count"])


def _line_count(constraint: Constraint, text: str) -> float:
    return _nearness(len(_lines(text)), constraint["count"])


def _bullet_count(constraint: Constraint, text: str) -> float:
    return _nearness(sum(bool(BULLET.match(line)) for line in _lines(text)), constraint["count"])


def _numbered_count(constraint: Constraint, text: str) -> float:
    return _nearness(sum(bool(NUMBERED.match(line)) for line in _lines(text)), constraint["count"])


def _item_count(constraint: Constraint, text: str) -> float:
    """Items between commas, on one line."""
    if len(_lines(text)) != 1:
        return 0.0
    return _nearness(sum(bool(_words(item)) for item in text.split(",")), constraint["count"])


def _all_lowercase(constraint: Constraint, text: str) -> float:
    del constraint
    return _share_of_letters(text, str.islower)


def _all_uppercase(constraint: Constraint, text: str) -> float:
    del constraint
    return _share_of_letters(text, str.isupper)


def _share_of_letters(text: str, wanted: Callable[[str], bool]) -> float:
    letters = [char for char in text if char.isalpha()]
    return sum(wanted(char) for char in letters) / len(letters) if letters else 0.0


def _json_object(constraint: Constraint, text: str) -> float:
    """1 for a JSON object with exactly the keys, a Markdown fence around it allowed."""
    body = re.sub(r"^```(?:json)?\s*|\s*```$", "", text)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):  # RecursionError: thousands of nested brackets
        return 0.0
    if not isinstance(value, dict):
        return 0.2
    keys = set(constraint["keys"])
    return 0.4 + 0.6 * len(keys & value.keys()) / len(keys | value.keys())


def _no_repetition(constraint: Constraint, text: str) -> float:
    words = _words(text.casefold())
    repeats = _num_repeats(words, constraint["size"])
    return max(0.0, 1.0 - repeats / max(len(words) - constraint["size"] + 1, 1))


# --- clarity ----------------------------------------------------------------------------------


def _word_budget(constraints: Sequence[Constraint]) -> int:
    """Return how many words cost nothing.

    As many as the constraints allow, or half as many again as they ask for, else FREE_WORDS.
    """
    limits = [c["count"] for c in constraints if c["kind"] == "max_words"]
    needed = [c["count"] * 3 // 2 for c in constraints if c["kind"] == "min_words"]
    return max([min([*limits, FREE_WORDS]), *needed])


def _clarity(text: str, budget: int) -> float:
    """Return the degree of clarity of a text that is not empty; its four parts are in the head."""
    words = _words(text.casefold())
    repeats = _num_repeats(words, 3) / max(len(words) - 2, 1) if words else 1.0
    # A few words need no full stop: "Paris", or a bullet.
    is_finished = len(_words(text.splitlines()[-1])) <= 6 or SENTENCE_END.search(text[-3:])
    plain = sum(char.isascii() and (char.isprintable() or char == "\n") for char in text)
    excess = math.log2(max(len(words), 1) / budget)
    brevity = min(1.0, max(0.0, 1.0 - excess / 3.0))
    parts = (0.3 * (1.0 - repeats), 0.2 * bool(is_finished), 0.2 * plain / len(text), 0.3 * brevity)
    return sum(parts)


# --- the tables -------------------------------------------------------------------------------


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


PARAM_TYPES: Mapping[str, Callable[[object], bool]] = {
    "a text that is not empty": _is_text,
    "a list of texts that are not empty": _is_texts,
    "a whole number of at least 1": _is_count,
    "a finite number": _is_number,
}
_TEXT, _TEXTS, _COUNT, _NUMBER = PARAM_TYPES

KINDS: Mapping[str, Kind] = {
    "contains": Kind(CORRECTNESS, {"values": _TEXTS}, _contains),
    "contains_any": Kind(CORRECTNESS, {"values": _TEXTS}, _contains_any),
    "label": Kind(CORRECTNESS, {"value": _TEXT, "others": _TEXTS}, _label),
    "numeric_answer": Kind(CORRECTNESS, {"value": _NUMBER}, _numeric_answer),
    "one_of": Kind(INSTRUCTION_FOLLOWING, {"values": _TEXTS}, _one_of),
    "excludes": Kind(INSTRUCTION_FOLLOWING, {"values": _TEXTS}, _excludes),
    "starts_with": Kind(INSTRUCTION_FOLLOWING, {"value": _TEXT}, _starts_with),
    "ends_with": Kind(INSTRUCTION_FOLLOWING, {"value": _TEXT}, _ends_with),
    "max_words": Kind(INSTRUCTION_FOLLOWING, {"count": _COUNT}, _max_words),
    "min_words": Kind(INSTRUCTION_FOLLOWING, {"count": _COUNT}, _min_words),
    "max_sentences": Kind(INSTRUCTION_FOLLOWING, {"count": _COUNT}, _max_sentences),
    "sentence_count": Kind(INSTRUCTION_FOLLOWING, {"count": _COUNT}, _sentence_count),
    "line_count": Kind(INSTRUCTION_FOLLOWING, {"count": _COUNT}, _line_count),
    "bullet_count": Kind(INSTRUCTION_FOLLOWING, {"count": _COUNT}, _bullet_count),
    "numbered_count": Kind(INSTRUCTION_FOLLOWING, {"count": _COUNT}, _numbered_count),
    "item_count": Kind(INSTRUCTION_FOLLOWING, {"count": _COUNT}, _item_count),
    "all_lowercase": Kind(INSTRUCTION_FOLLOWING, {}, _all_lowercase),
    "all_uppercase": Kind(INSTRUCTION_FOLLOWING, {}, _all_uppercase),
    "json_object": Kind(INSTRUCTION_FOLLOWING, {"keys": _TEXTS}, _json_object),
    "no_repetition": Kind(INSTRUCTION_FOLLOWING, {"size": _COUNT}, _no_repetition),
}
"""Every kind of constraint.

To add one: a degree function above, a line here, a pass and a fail in the tests.
"""
