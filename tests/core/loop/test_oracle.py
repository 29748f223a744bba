"""Labels, ties, missing scores, and what they cost."""

from __future__ import annotations

from typing import Literal

import numpy as np

from activeuf_core.loop.oracle import Labels, Outcome, label

NAN = float("nan")


def labels(
    *scores: tuple[float, float],
    left: int | None = None,
    ties: Literal["drop", "keep_first"] = "drop",
    identical: int | None = None,
) -> Labels:
    is_identical_N = np.arange(len(scores)) == identical
    return label(np.array(scores), is_identical_N, left, ties)


def test_higher_score_is_chosen() -> None:
    found = labels((1.0, 2.0), (2.0, 1.0))
    assert found.first_is_chosen_N.tolist() == [False, True]
    assert found.annotations == 4


def test_dropped_tie_costs_its_annotations() -> None:
    found = labels((3.0, 3.0))
    assert not found.is_comparison_N.any()
    assert (found.count(Outcome.TIED), found.annotations) == (1, 2)


def test_kept_tie_goes_to_the_first_and_is_still_counted() -> None:
    found = labels((3.0, 3.0), ties="keep_first")
    assert found.is_comparison_N.all()
    assert found.first_is_chosen_N.all()
    assert found.count(Outcome.TIED) == 1


def test_missing_score_wins_nothing_and_costs_nothing() -> None:
    found = labels((NAN, 1.0), (1.0, NAN), (NAN, NAN), ties="keep_first")
    assert not found.is_comparison_N.any()
    assert (found.count(Outcome.MISSING), found.annotations) == (3, 0)


def test_identical_texts_are_not_compared_whatever_the_scores_say() -> None:
    found = labels((1.0, 2.0), (1.0, 2.0), identical=0)
    assert found.is_comparison_N.tolist() == [False, True]
    assert (found.count(Outcome.IDENTICAL), found.annotations) == (1, 2)


def test_budget_stops_exactly() -> None:
    found = labels((1, 2), (NAN, 1), (3, 3), (1, 2), (1, 2), left=5)
    wanted = [Outcome.COMPARED, Outcome.MISSING, Outcome.TIED, Outcome.UNBOUGHT, Outcome.UNBOUGHT]
    assert found.outcome_N.tolist() == wanted
    assert found.annotations == 4


def test_what_comes_after_the_last_annotation_is_not_looked_at() -> None:
    assert labels((1, 2), (NAN, 1), left=2).outcome_N[1] == Outcome.UNBOUGHT


def test_one_annotation_buys_nothing() -> None:
    assert labels((1, 2), left=1).annotations == 0
