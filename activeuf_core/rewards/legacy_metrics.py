"""The metrics as three older evaluators define them, for comparison with their numbers.

In: completions, gold answers. Out: shares in [0, 1] per definition. They differ from each other and
from `metrics.py`; `docs/rewards.md` says where.

- `rewards`: exact means 3 points of the legacy answer check, partial 1.5, numerical the number
  check, format the lenient pattern.
- `numbers`: the first number behind the answer tag, as a float; partial within 10 % of the gold
  number by the ratio, so that a gold answer of 0 loses both.
- `search`: a number from wherever one stands: behind "the answer is", behind "=" at a line's end,
  alone in answer tags, at a line's end; format means both blocks are filled, in any order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import fmean

from activeuf_core.rewards import legacy
from activeuf_core.rewards.config import Tags
from activeuf_core.rewards.tags import is_lenient_match

Shares = dict[str, float]


def by_rewards(completions: Sequence[str], answers: Sequence[str], tags: Tags) -> Shares:
    """Return the shares that thresholds on the legacy rewards give."""
    pairs = list(zip(completions, answers, strict=True))
    checks = [legacy.answer_check(text, answer, tags) for text, answer in pairs]
    return {
        "exact": _share([check > 2.0 for check in checks]),
        "partial": _share([check > 0.5 for check in checks]),
        "numerical": _share([legacy.number_check(*pair, tags) > 0.0 for pair in pairs]),
        "format": _share([is_lenient_match(text, tags) for text in completions]),
    }


def by_numbers(completions: Sequence[str], answers: Sequence[str], tags: Tags) -> Shares:
    """Return the shares of the first number behind the answer tag."""
    numbers = [legacy.first_number(text, tags) for text in completions]
    golds = [legacy.as_float(answer) for answer in answers]
    pairs = list(zip(numbers, golds, strict=True))
    return {
        "exact": _share([number is not None and number == gold for number, gold in pairs]),
        "partial": _share([_is_near(number, gold) for number, gold in pairs]),
        "format": _share([is_lenient_match(text, tags) for text in completions]),
    }


def by_search(completions: Sequence[str], answers: Sequence[str], tags: Tags) -> Shares:
    """Return the shares of a number found wherever there is one."""
    pairs = [
        (searched_number(text, tags), legacy.as_float(answer))
        for text, answer in zip(completions, answers, strict=True)
    ]
    exact = [number is not None and number == gold for number, gold in pairs]
    near = [same or _is_near(*pair) for same, pair in zip(exact, pairs, strict=True)]
    return {
        "exact": _share(exact),
        "partial": _share(near),
        "format": _share([_has_blocks(text, tags) for text in completions]),
    }


def searched_number(text: str, tags: Tags) -> float | None:
    """Return the number that the search finds first."""
    number = r"([\d,.-]+)"
    opening, closing = re.escape(tags.answer_start), re.escape(tags.answer_end)
    for pattern in (
        rf"(?:the answer is|answer:|final answer:?)\s*{number}",
        rf"(?:=|equals)\s*{number}\s*$",
        rf"{opening}\s*{number}\s*{closing}",
        rf"{number}\s*$",
    ):
        found = re.search(pattern, text.lower(), re.IGNORECASE | re.MULTILINE)
        value = legacy.as_float(found[1].replace(",", "")) if found else None
        if value is not None:
            return value
    return None


def _is_near(number: float | None, gold: float | None) -> bool:
    return bool(gold) and number is not None and 0.9 <= number / (gold or 1.0) <= 1.1


def _has_blocks(text: str, tags: Tags) -> bool:
    """Whether both blocks have something in them, wherever they stand."""
    ends = ((tags.reasoning_start, tags.reasoning_end), (tags.answer_start, tags.answer_end))
    found = [
        re.search(rf"{re.escape(start)}(.*?){re.escape(end)}", text, re.DOTALL)
        for start, end in ends
    ]
    return all(block is not None and bool(block[1].strip()) for block in found)


def _share(flags: Sequence[bool]) -> float:
    return fmean(flags) if flags else 0.0
