"""Why completions failed: one kind per failure, with examples for people to read.

In: `Sample`s. Out: a `Failure` per sample that is not both right and in the right form, and a table
of kinds with their shares. The kinds, in the order in which they are tried; the first that fits is
the failure's kind, because it explains the later ones:

| kind | means |
|---|---|
| `no_completion` | the sample has an error instead of a completion |
| `repeated_text` | half of all runs of three words stood there before |
| `truncated` | it ended at its longest length, without a whole answer block |
| `wrong_format_right_answer` | its number (or its words) are right, its form is not |
| `no_tags` | none of the four tags is there |
| `no_answer_block` | some tags are there, one answer block is not |
| `empty_reasoning` | the answer is wrong and nothing stands in the reasoning block |
| `unparseable_number` | the gold answer is a number and the answer block has none |
| `sign_error` | right but for the sign |
| `off_by_factor_10` | right but for a power of ten |
| `arithmetic_error` | an equation in it does not hold (16 - 3 = 12) |
| `within_10pct` | near the gold number, and no wrong equation explains why |
| `wrong_other` | everything else |

Cost: 0.2 ms per failure.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from activeuf_core.rewards.answers import Assessment, assess
from activeuf_core.rewards.arithmetic import wrong_equations
from activeuf_core.rewards.config import AnswerSettings, Tags
from activeuf_core.rewards.metrics import Sample
from activeuf_core.rewards.proportions import Proportion, proportion
from activeuf_core.rewards.text_measures import repetition

KINDS = (
    "no_completion",
    "repeated_text",
    "truncated",
    "wrong_format_right_answer",
    "no_tags",
    "no_answer_block",
    "empty_reasoning",
    "unparseable_number",
    "sign_error",
    "off_by_factor_10",
    "arithmetic_error",
    "within_10pct",
    "wrong_other",
)
"""The kinds, in the order of the table above."""
REPEATED = 0.5
SHORTEST_TO_REPEAT = 100
"""Characters: a shorter text says the same thing twice without being stuck."""
SHOWN = 400


@dataclass(frozen=True)
class Failure:
    """What went wrong with one sample, and what shows it."""

    kind: str
    question_id: str
    answer: str
    said: str
    detail: str


def failure_of(
    sample: Sample,
    tags: Tags = Tags(),  # noqa: B008 - frozen
    settings: AnswerSettings = AnswerSettings(),  # noqa: B008 - frozen
) -> Failure | None:
    """Return why a sample failed, None when it is right and in the right form."""
    if sample.completion is None:
        return Failure("no_completion", sample.question_id, sample.answer, "", sample.error or "")
    found = assess(sample.completion, sample.answer, tags, settings)
    if found.is_right and found.blocks.is_compliant:
        return None
    kind, detail = _kind_of(sample, sample.completion, found, tags)
    said = found.blocks.answer if found.blocks.answer is not None else sample.completion[-SHOWN:]
    return Failure(kind, sample.question_id, sample.answer, said.strip()[-SHOWN:], detail)


def failures_of(samples: Iterable[Sample], tags: Tags, settings: AnswerSettings) -> list[Failure]:
    """Return the failures among samples."""
    found = (failure_of(sample, tags, settings) for sample in samples)
    return [failure for failure in found if failure is not None]


def table_of(
    failures: Sequence[Failure], num_samples: int, examples: int = 3
) -> list[dict[str, Any]]:
    """Return one row per kind that occurs, commonest first: share of all samples and examples."""
    counts = Counter(failure.kind for failure in failures)
    by_kind: defaultdict[str, list[Failure]] = defaultdict(list)
    for failure in failures:
        if len(by_kind[failure.kind]) < examples:
            by_kind[failure.kind].append(failure)
    order = sorted(counts, key=lambda kind: (-counts[kind], KINDS.index(kind)))
    return [
        {"kind": kind, "share": _share(counts[kind], num_samples), "examples": by_kind[kind]}
        for kind in order
    ]


def _share(count: int, n: int) -> Proportion:
    return proportion(count, n)


def _kind_of(sample: Sample, text: str, found: Assessment, tags: Tags) -> tuple[str, str]:
    """Return the first kind that fits, and what shows it."""
    repeated = repetition(text)
    if repeated > REPEATED and len(text) >= SHORTEST_TO_REPEAT and not found.is_right:
        return "repeated_text", f"{repeated:.0%} of all runs of three words stood there before"
    if sample.is_truncated and found.blocks.answer is None:
        return "truncated", f"ended after {sample.num_tokens or 'its most'} tokens"
    if found.is_right or found.flexible:
        return "wrong_format_right_answer", _form(text, tags)
    if found.blocks.answer is None:
        has_tags = any(tag in text for tag in tags.model_dump().values())
        return ("no_answer_block" if has_tags else "no_tags"), _form(text, tags)
    if not (found.blocks.reasoning or "").strip():
        return "empty_reasoning", "nothing stands between the reasoning tags"
    if found.gold.value is None:
        return "wrong_other", ""
    if found.number is None:
        return "unparseable_number", "the answer block holds no number"
    return _kind_of_number(text, found, found.number, found.gold.value)


def _kind_of_number(
    text: str, found: Assessment, number: Fraction, gold: Fraction
) -> tuple[str, str]:
    said = f"{float(number):g} instead of {float(gold):g}"
    if number == -gold:
        return "sign_error", said
    if gold != 0 and number != 0 and _is_power_of_ten(number / gold):
        return "off_by_factor_10", said
    wrong = wrong_equations(text)
    if wrong:
        return "arithmetic_error", wrong[0]
    return ("within_10pct" if found.partial else "wrong_other"), said


def _is_power_of_ten(ratio: Fraction) -> bool:
    larger = max(ratio, 1 / ratio)
    return larger > 1 and larger.denominator == 1 and bool(re.fullmatch("10+", str(larger)))


def _form(text: str, tags: Tags) -> str:
    """Say how often each tag is there."""
    return ", ".join(f"{text.count(tag)} {tag}" for tag in tags.model_dump().values())
