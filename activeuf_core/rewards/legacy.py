"""The four rewards of the notebook that many trainings began from, to the last bit.

In: a completion, a gold answer. Out: rewards between -2.5 and 10 in sum. They are here so that a
training can be compared with older ones, and not because they are right: a sign or a comma loses
the number check, "42.0" is worth less than "42", a gold answer of 0 can only be met by its very
characters. `strict.py` has the corrected ones; `docs/rewards.md` shows both side by side.
Where the original ends a training with an error (an answer that is null), there is no reward.
Source: the GSM8K notebooks of Unsloth and Tunix.
"""

from __future__ import annotations

from activeuf_core.rewards import tags as tag_reader
from activeuf_core.rewards.config import Tags


def format_exact(text: str, tags: Tags) -> float:
    """Return 3 when the lenient pattern is found anywhere, else 0."""
    return 3.0 if tag_reader.is_lenient_match(text, tags) else 0.0


def format_approx(text: str, tags: Tags) -> float:
    """Return the sum of five tests, half a point for or against each: from -2.5 to 2.5."""
    tests = (
        text.count(tags.reasoning_start) == 1,
        text.startswith(tags.reasoning_start),
        text.count(tags.reasoning_end) == 1,
        text.count(tags.answer_start) == 1,
        text.count(tags.answer_end) == 1,
    )
    return sum(0.5 if passed else -0.5 for passed in tests)


def answer_check(text: str, answer: str, tags: Tags) -> float:
    """Return 3 for the very characters of the answer, 1.5 but for spaces around them, less for a
    number near it, -1 for another number, -0.5 for no number; 0 without the format.
    """
    found = tag_reader.legacy_format(tags).search(text)
    if found is None:
        return 0.0
    guess = found[1]
    if guess == answer:
        return 3.0
    if guess.strip() == answer.strip():
        return 1.5
    try:
        ratio = float(guess) / float(answer)
    except (ValueError, ZeroDivisionError):
        return -0.5
    if 0.9 <= ratio <= 1.1:
        return 0.5
    return 0.25 if 0.8 <= ratio <= 1.2 else -1.0


def number_check(text: str, answer: str, tags: Tags) -> float:
    """Return 1.5 when the first digits behind the answer tag equal the answer as floats, else 0."""
    number = first_number(text, tags)
    gold = as_float(answer)
    return 1.5 if number is not None and number == gold else 0.0


def first_number(text: str, tags: Tags) -> float | None:
    """Return what the lenient pattern reads as a number, None when it finds none."""
    found = tag_reader.legacy_number(tags).search(text)
    return as_float(found[1]) if found else None


def as_float(text: str) -> float | None:
    """Return what Python's `float` makes of a text, None where it refuses."""
    try:
        return float(text.strip())
    except ValueError:
        return None
