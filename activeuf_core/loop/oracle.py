"""The oracle: labels acquired pairs from the judge's overall scores, and says what they cost.

In: overall scores of pairs (N, 2), first and second selected; the annotations that may still be
bought. Out: one `Outcome` per pair. A comparison costs two annotations. Nobody wins a tie by
accident: `ties` decides, and ties are counted either way. A missing overall score is no
annotation: it costs nothing and gives no comparison. The scores are there before, or are judged
when a pair is about to be bought (`judging.py`): the labels are the same.
Shapes: N pairs, in the order in which they are bought.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ANNOTATIONS_PER_COMPARISON = 2

Bools = NDArray[np.bool_]


class Outcome(IntEnum):
    """What became of an acquired pair."""

    COMPARED = 0
    """Labelled: the overall scores differ."""
    TIED = 1
    """Bought, but the overall scores are equal."""
    MISSING = 2
    """An overall score is missing; nothing was bought."""
    IDENTICAL = 3
    """Both completions have the same text; nothing was bought."""
    UNBOUGHT = 4
    """The budget had run out."""


@dataclass(frozen=True, eq=False)
class Labels:
    """The oracle's answer for a batch of pairs."""

    outcome_N: NDArray[np.int8]
    is_comparison_N: Bools
    """True where the pair becomes a row of the preference dataset."""
    first_is_chosen_N: Bools
    """Meaningful where `is_comparison_N`."""

    @property
    def annotations(self) -> int:
        """Annotations that were bought."""
        return ANNOTATIONS_PER_COMPARISON * (
            self.count(Outcome.COMPARED) + self.count(Outcome.TIED)
        )

    def count(self, outcome: Outcome) -> int:
        """Number of pairs with an outcome."""
        return int(np.count_nonzero(self.outcome_N == outcome))


def label(
    score_N2: NDArray[np.floating[Any]],
    is_identical_N: Bools,
    annotations_left: int | None,
    ties: Literal["drop", "keep_first"],
) -> Labels:
    """Label pairs in their order until the annotations run out (None: they do not).

    Args:
        score_N2: overall scores, NaN where missing.
        is_identical_N: True where both texts are the same: whatever the scores say, nobody wins.
        ties: `drop` gives a tied pair no comparison; `keep_first` makes the first selected the
            chosen one.
    """
    first_N, second_N = score_N2[:, 0], score_N2[:, 1]
    outcome_N = np.where(first_N == second_N, Outcome.TIED, Outcome.COMPARED).astype(np.int8)
    outcome_N[np.isnan(first_N) | np.isnan(second_N)] = Outcome.MISSING
    outcome_N[is_identical_N] = Outcome.IDENTICAL
    if annotations_left is not None:
        is_bought_N = (outcome_N == Outcome.COMPARED) | (outcome_N == Outcome.TIED)
        cost_N = ANNOTATIONS_PER_COMPARISON * is_bought_N
        left_N = annotations_left - (np.cumsum(cost_N) - cost_N)
        outcome_N[left_N < ANNOTATIONS_PER_COMPARISON] = Outcome.UNBOUGHT
    is_comparison_N = outcome_N == Outcome.COMPARED
    if ties == "keep_first":
        is_comparison_N = is_comparison_N | (outcome_N == Outcome.TIED)
    return Labels(outcome_N, is_comparison_N, first_N >= second_N)
