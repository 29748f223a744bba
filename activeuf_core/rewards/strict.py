"""The four rewards for tags and numbers, corrected: same names and ranges, no loopholes known.

In: a completion, a gold answer. Out: rewards between -3.5 and 10 in sum.

| reward | range | what it pays for |
|---|---|---|
| `format_exact` | 0 or 3 | the completion is one reasoning and one answer block, both filled |
| `format_approx` | -2.5 … 2.5 | five steps towards it, half a point for or against each |
| `answer_check` | -1 … 3 | how near the answer block is to the gold answer |
| `number_check` | 0 or 1.5 | the number of the answer block equals the gold number |

Against the legacy set: signs, commas, decimals and fractions are read; "42.0" and "42" are worth
the same; text on another line, empty blocks and second answers no longer pass; tags count in their
order only, so that piling them up earns nothing; a gold answer of 0 can be met. An answer is judged
by its own block and needs no perfect format: the format has two rewards of its own. No answer, two
answers and words for a number pay as little as a wrong number, where the legacy set pays more for
them: a policy that is unsure must not be better off without an answer.
"""

from __future__ import annotations

from activeuf_core.rewards import tags as tag_reader
from activeuf_core.rewards.answers import assess
from activeuf_core.rewards.config import AnswerSettings, Tags

RIGHT, RIGHT_AMONG_WORDS, NEAR, LESS_NEAR, WRONG = 3.0, 1.5, 0.5, 0.25, -1.0


def format_exact(text: str, tags: Tags) -> float:
    """Return 3 for a completion that is its two blocks and nothing else, else 0."""
    return 3.0 if tag_reader.read(text, tags).is_compliant else 0.0


def format_approx(text: str, tags: Tags) -> float:
    """Return the sum of five tests, half a point for or against each: from -2.5 to 2.5.

    One opening reasoning tag; at the very beginning, white space aside; then one closing tag with
    something between them; behind it one opening answer tag; behind that one closing tag with
    something between.
    """
    opened, closed = text.find(tags.reasoning_start), text.find(tags.reasoning_end)
    asked, ended = text.find(tags.answer_start), text.find(tags.answer_end)
    reasoning = text[opened + len(tags.reasoning_start) : max(closed, 0)]
    answer = text[asked + len(tags.answer_start) : max(ended, 0)]
    tests = (
        text.count(tags.reasoning_start) == 1,
        text.lstrip().startswith(tags.reasoning_start),
        text.count(tags.reasoning_end) == 1 and closed > opened >= 0 and bool(reasoning.strip()),
        text.count(tags.answer_start) == 1 and asked > closed >= 0,
        text.count(tags.answer_end) == 1 and ended > asked >= 0 and bool(answer.strip()),
    )
    return sum(0.5 if passed else -0.5 for passed in tests)


def answer_check(text: str, answer: str, tags: Tags, settings: AnswerSettings) -> float:
    """Return what the answer block is worth.

    3 for the gold answer; 1.5 for its number among other words; 0.5 within 10 %, 0.25 within 20 %
    of it; -1 for everything else.
    """
    found = assess(text, answer, tags, settings)
    if found.exact:
        return RIGHT
    if found.numerical:
        return RIGHT_AMONG_WORDS
    if found.partial:
        return NEAR
    if found.partial_wide:
        return LESS_NEAR
    return WRONG


def number_check(text: str, answer: str, tags: Tags, settings: AnswerSettings) -> float | None:
    """Return 1.5 for the gold number, else 0; None where the gold answer is no number."""
    found = assess(text, answer, tags, settings)
    if found.gold.value is None:
        return None
    return 1.5 if found.numerical else 0.0
