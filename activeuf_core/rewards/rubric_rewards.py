"""Rewards for touching what a rubric asks for: cheap, shallow, and honest about it.

In: a completion, a rubric, perhaps a reference. Out: rewards.

- `rubric_overlap`, 0 … 1: the mean over criteria, by weight, of the share of the criterion's words
  that the completion uses. Runs of four words copied from the rubric do not count, so pasting the
  rubric earns nothing; a bare list of its words in another order still does. It can only rank
  completions by coverage: a policy trained on it alone learns to name things. Log it with weight 0
  beside a judge, or give it little weight.
- `reference_similarity`, 0 … 1: how much of the wording it shares with the reference.
- `legacy_rubric`, 0 … 20: the older sum of overlap (10), similarity (5) and the target score (5).
  Its third part does not depend on the completion, so it moves no gradient of a method that
  compares completions of one prompt; pasting the rubric earns all of the first.

The older pipeline changed its objective when logging was on; here nothing but settings changes one.
Cost: 0.1 ms per completion; the similarity 1 ms for two texts of 800 characters, and it grows with
the product of their lengths.
"""

from __future__ import annotations

import difflib
import string
from collections import Counter
from collections.abc import Mapping
from math import fsum

from activeuf_core.rewards.rubrics import Rubric
from activeuf_core.rewards.text_measures import copied_words, words_of

COPIED_RUN = 4
PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation, " "))


def rubric_overlap(text: str, rubric: Rubric) -> float:
    """Return how far a completion covers the words of a rubric, from 0 to 1."""
    shares = criterion_overlaps(text, rubric)
    total = fsum(criterion.weight for criterion in rubric.criteria)
    return fsum(one.weight * shares[one.name] for one in rubric.criteria) / total


def criterion_overlaps(text: str, rubric: Rubric) -> Mapping[str, float]:
    """Return the share of words that a completion uses, per criterion; 1 where it has no words."""
    words = words_of(text)
    copied = copied_words(words, words_of(rubric.text), COPIED_RUN)
    own = {word for word, is_copied in zip(words, copied, strict=True) if not is_copied}
    return {
        one.name: sum(word in own for word in one.words) / len(one.words) if one.words else 1.0
        for one in rubric.criteria
    }


def tells_apart(rubric: Rubric, reference: str) -> bool:
    """Whether `rubric_overlap` ranks a good completion above nothing and above the rubric itself:
    a rubric that fails this can only mislead a policy.
    """
    nothing, echo = rubric_overlap("", rubric), rubric_overlap(rubric.text, rubric)
    return rubric_overlap(reference, rubric) > max(nothing, echo)


def reference_similarity(text: str, reference: str) -> float:
    """Return the share of matching characters of two texts, from 0 to 1, in the order reference,
    completion: the measure is not symmetric.
    """
    return difflib.SequenceMatcher(None, reference, text).ratio()


def legacy_overlap(text: str, rubric: str) -> float:
    """Return the older overlap, 0 to 10: a word of the rubric weighs one over its count there."""
    counts = Counter(_tokens(rubric))
    if not counts:
        return 0.0
    weights = {token: 1.0 / count for token, count in counts.items()}
    matched = fsum(weights[token] for token in set(_tokens(text)) if token in weights)
    return round(matched / fsum(weights.values()) * 10.0, 4)


def legacy_rubric(
    text: str, rubric: str, reference: str | None, target_score: float | str | None
) -> float:
    """Return the older sum, 0 to 20."""
    similarity = reference_similarity(text, reference) * 5.0 if reference else 0.0
    return legacy_overlap(text, rubric) + similarity + _target(target_score)


def _target(score: float | str | None) -> float:
    """Return five times a score out of ten, 0 for what is no number."""
    if score is None:
        return 0.0
    try:
        return max(0.0, min(1.0, float(score) / 10.0)) * 5.0
    except ValueError:
        return 0.0


def _tokens(text: str) -> list[str]:
    return [word for word in text.lower().translate(PUNCTUATION).split() if len(word) > 2]
