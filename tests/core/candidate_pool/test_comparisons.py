"""Comparisons: wins, ties and length, by hand and against counting pair by pair."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from activeuf_core.candidate_pool.comparisons import Comparisons


def counted(scores: list[float], lengths: list[int]) -> Comparisons:
    seen = Comparisons()
    seen.add([f"m{index}" for index in range(len(scores))], scores, lengths)
    return seen


def test_better_longer_and_worse_shorter() -> None:
    seen = counted([1.0, 2.0, 3.0], [10, 20, 30])
    assert (seen.pairs, seen.ties, seen.longer_wins_share) == (3, 0, 1.0)
    assert [tally.win_rate for tally in seen.models.values()] == [0.0, 0.5, 1.0]


def test_tie_counts_half_and_says_nothing_about_length() -> None:
    seen = counted([2.0, 2.0], [10, 20])
    assert seen.tied_share == 1.0
    assert seen.decided_by_length == 0
    assert [tally.win_rate for tally in seen.models.values()] == [0.5, 0.5]


def test_equal_lengths_say_nothing_about_length() -> None:
    assert counted([1.0, 2.0], [10, 10]).longer_wins_share == 0.5


def test_sums_over_prompts_agree_with_counting_every_pair() -> None:
    rng = np.random.default_rng(0)
    seen, pairs, ties, longer, decided = Comparisons(), 0, 0, 0, 0
    for _ in range(20):
        scores, lengths = rng.integers(0, 4, 6).tolist(), rng.integers(0, 9, 6).tolist()
        seen.add(list("abcdef"), scores, lengths)
        for i, j in itertools.combinations(range(6), 2):
            pairs += 1
            ties += scores[i] == scores[j]
            if scores[i] != scores[j] and lengths[i] != lengths[j]:
                decided += 1
                longer += (scores[i] > scores[j]) == (lengths[i] > lengths[j])
    found = (seen.pairs, seen.ties, seen.decided_by_length, seen.longer_wins)
    assert found == (pairs, ties, decided, longer)
    assert sum(tally.wins for tally in seen.models.values()) == pairs


def test_means_and_ranking() -> None:
    seen = Comparisons()
    seen.add(["a", "b"], [1.0, 2.0], [10, 20])
    seen.add(["a", "b"], [3.0, 5.0], [30, 20])
    assert [model for model, _ in seen.ranking()] == ["b", "a"]
    assert seen.models["a"].mean_score == pytest.approx(2.0)
    assert seen.models["a"].mean_characters == pytest.approx(20.0)


def test_nothing_rated_is_no_number() -> None:
    seen = counted([1.0], [10])
    assert math.isnan(seen.models["m0"].win_rate)
    assert seen.tied_share == 0.0
