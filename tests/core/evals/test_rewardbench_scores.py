"""RewardBench 2's arithmetic against values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from activeuf_core.errors import DataError
from activeuf_core.evals.rewardbench_scores import (
    Rewards,
    TiesRow,
    best_of_n,
    group_ties,
    ties_row,
    ties_score,
    ties_stderr,
)


def rewards(chosen: list[float], rejected: list[float]) -> Rewards:
    """Return the rewards of a row."""
    return Rewards(np.array(chosen), np.array(rejected))


BEST_OF = [
    ([3.0], [1.0, 2.0, 0.0], 1.0),
    ([1.0], [1.0, 0.0, 0.0], 1 / 2),
    ([1.0], [1.0, 1.0, 1.0], 1 / 4),
    ([0.0], [1.0, 0.0, 0.0], 0.0),
    ([2.0, 2.0], [2.0], 2 / 3),
]


@pytest.mark.parametrize(("chosen", "rejected", "score"), BEST_OF)
def test_a_shared_top_place_counts_in_part(
    chosen: list[float], rejected: list[float], score: float
) -> None:
    assert best_of_n(rewards(chosen, rejected)) == pytest.approx(score)


def test_a_row_becomes_gap_and_spread() -> None:
    assert ties_row(rewards([5.0, 3.0], [1.0, 2.0])) == TiesRow(gap=1.0, spread=2.0)


def test_a_perfect_answer_scores_one_and_a_little() -> None:
    reference, tied = {0: TiesRow(4.0, 0.0)}, {0: TiesRow(2.0, 1.0)}
    expected = 0.3 + 0.3 + 0.2 + 0.2 + 0.01 * np.tanh(2.0 - 1.0)
    assert ties_score(reference, tied) == pytest.approx(expected)


def test_each_term_has_its_weight() -> None:
    # Question 0: both right, gap 3 over spread 1, but the reference's gap 0.5 is below the spread.
    # Question 1: reference right, tied wrong (gap -1).
    reference = {0: TiesRow(0.5, 0.0), 1: TiesRow(2.0, 0.0)}
    tied = {0: TiesRow(3.0, 1.0), 1: TiesRow(-1.0, 2.0)}
    tie_break = (np.tanh(0.5 / 1 - 1) + np.tanh(-1 / 2 - 1)) / 2
    expected = 0.3 * 0.5 + 0.3 * 1.0 + 0.2 * 0.5 + 0.2 * 0.0 + 0.01 * tie_break
    assert ties_score(reference, tied) == pytest.approx(expected)


def test_no_spread_and_no_gap_is_no_tie_break() -> None:
    assert ties_score({0: TiesRow(0.0, 0.0)}, {0: TiesRow(0.0, 0.0)}) == pytest.approx(0.0)


def test_no_spread_is_the_limit_of_the_tie_break() -> None:
    assert ties_score({0: TiesRow(1.0, 0.0)}, {0: TiesRow(1.0, 0.0)}) == pytest.approx(1.01)


def test_accuracy_counts_rows_without_a_partner() -> None:
    reference = {0: TiesRow(1.0, 0.0), 1: TiesRow(-1.0, 0.0)}
    expected = 0.3 + 0.3 * 0.5 + 0.4 + 0.01 * np.tanh(1 / 0.5 - 1)
    assert ties_score(reference, {0: TiesRow(1.0, 0.5)}) == pytest.approx(expected)


@pytest.mark.parametrize("reference", [{}, {1: TiesRow(1.0, 0.0)}])
def test_without_a_pair_of_rows_there_is_no_score(reference: dict[int, TiesRow]) -> None:
    assert ties_score(reference, {0: TiesRow(1.0, 0.5)}) is None


def test_the_error_of_equal_questions_is_zero() -> None:
    rows = {i: TiesRow(2.0, 1.0) for i in range(4)}
    assert ties_stderr(rows, rows) == pytest.approx(0.0)
    assert ties_stderr({0: rows[0]}, {0: rows[0]}) is None


def test_the_error_of_accuracies_is_near_the_binomial_one() -> None:
    rows = {i: TiesRow(1.0 if i % 2 else -1.0, 3.0) for i in range(100)}
    assert ties_stderr(rows, rows) == pytest.approx(0.6 * 0.05, rel=0.15)


def test_ids_say_which_row_is_which() -> None:
    first, second = TiesRow(1.0, 0.0), TiesRow(2.0, 0.0)
    assert group_ties(["ref:48", "tied:48"], [first, second]) == ({48: first}, {48: second})


def test_an_id_given_twice_is_refused() -> None:
    with pytest.raises(DataError, match="'ref:1' occurs twice"):
        group_ties(["ref:1", "ref:1"], [TiesRow(1.0, 0.0)] * 2)


def test_ties_from_rewards_to_score_by_hand() -> None:
    # Question 1: four right colours between 4 and 5, wrong ones at 2 and 1: gap 2, spread 1. Its
    # reference: 3 against 1.5, gap 1.5. Question 2 has equal rewards throughout: nothing is right.
    ids = ["tied:1", "ref:1", "tied:2", "ref:2"]
    found = [
        rewards([5.0, 4.0, 4.5, 4.2], [2.0, 1.0]),
        rewards([3.0], [1.5, 0.0]),
        rewards([1.0, 1.0], [1.0]),
        rewards([2.0], [2.0]),
    ]
    score = ties_score(*group_ties(ids, [ties_row(one) for one in found]))
    tie_break = (np.tanh(1.5 / 1.0 - 1) + 0.0) / 2
    by_hand = 0.3 * 0.5 + 0.3 * 0.5 + 0.2 * 0.5 + 0.2 * 0.5 + 0.01 * tie_break
    assert score == pytest.approx(by_hand)


def test_ties_need_a_gap_above_the_spread_not_at_it() -> None:
    at_it = {0: TiesRow(gap=1.0, spread=1.0)}
    assert ties_score({0: TiesRow(1.0, 0.0)}, at_it) == pytest.approx(0.3 + 0.3)
