"""Metrics of several completions per question: pass@k and maj@k.

In: per question its samples, in the order they were drawn. Out: shares in [0, 1].
pass@k is the chance that at least one of k samples is right, estimated without bias from n >= k.
maj@k is whether the commonest answer of the first k samples is right: answers are equal as numbers
("42" and "42.0" vote together), a sample without an answer casts no vote, and of answers with
equally many votes the one that came first counts, which is neither lucky nor unlucky.
Source: pass@k: Chen et al., arXiv 2107.03374, equation 1; maj@k: Wang et al., arXiv 2203.11171.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from activeuf_core.errors import DataError
from activeuf_core.rewards.answers import assess, is_exact, normalise
from activeuf_core.rewards.config import AnswerSettings, Tags
from activeuf_core.rewards.metrics import Sample
from activeuf_core.rewards.proportions import Proportion, share_of


def pass_at_k(num_samples: int, num_right: int, k: int) -> float:
    """Return 1 - C(n - c, k) / C(n, k), as a product that cannot overflow.

    Raises: DataError unless 1 <= k <= n and 0 <= c <= n.
    """
    if not 1 <= k <= num_samples or not 0 <= num_right <= num_samples:
        raise DataError(
            f"pass@{k} of {num_right} right among {num_samples} samples; expected 1 <= k <= n and "
            "0 <= right <= n. Draw more samples per question, or ask for a smaller k."
        )
    wrong = num_samples - num_right
    if wrong < k:
        return 1.0
    missed = 1.0
    for drawn in range(k):
        missed *= (wrong - drawn) / (num_samples - drawn)
    return 1.0 - missed


def mean_pass_at_k(right_by_question: Mapping[str, Sequence[bool]], k: int) -> float | None:
    """Return the mean of pass@k over questions, None without questions."""
    found = [pass_at_k(len(flags), sum(flags), k) for flags in right_by_question.values()]
    return fmean(found) if found else None


def is_majority_right(
    completions: Sequence[str], answer: str, tags: Tags, settings: AnswerSettings
) -> bool:
    """Whether the commonest answer of some completions is the gold answer."""
    votes: Counter[object] = Counter()
    right: dict[object, bool] = {}
    for text in completions:
        found = assess(text, answer, tags, settings)
        if found.number is not None and found.gold.value is not None:
            votes[found.number] += 1
            right.setdefault(found.number, found.numerical)
        elif found.blocks.answer is not None:
            said = normalise(found.blocks.answer, settings.units)
            if said.text:
                votes[said.text] += 1
                right.setdefault(said.text, is_exact(said, found.gold))
    if not votes:
        return False
    ((winner, _),) = votes.most_common(1)  # of equals the first that was counted
    return right[winner]


def majority_at_k(
    samples: Sequence[Sample], k: int, tags: Tags, settings: AnswerSettings
) -> Proportion:
    """Return the share of questions whose majority of the first k samples is right.

    Questions with fewer samples than k are an error. Raises: DataError naming one.
    """
    return share_of(
        is_majority_right(
            [one.completion or "" for one in drawn[:k]], drawn[0].answer, tags, settings
        )
        for drawn in by_question(samples, at_least=k).values()
    )


def by_question(samples: Sequence[Sample], at_least: int = 1) -> dict[str, list[Sample]]:
    """Return samples by question, in their order. Raises: DataError for a question with too few."""
    found: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[sample.question_id].append(sample)
    for question_id, drawn in found.items():
        if len(drawn) < at_least:
            raise DataError(
                f"question {question_id!r} has {len(drawn)} samples, k is {at_least}. Draw more "
                "samples per question, or ask for a smaller k."
            )
    return dict(found)
