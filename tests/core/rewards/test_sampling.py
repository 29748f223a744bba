"""pass@k and maj@k against what they mean: counting all draws, counting votes."""

from __future__ import annotations

import itertools

import pytest

from activeuf_core.errors import DataError
from activeuf_core.rewards.config import AnswerSettings, Tags
from activeuf_core.rewards.metrics import Sample
from activeuf_core.rewards.sampling import (
    is_majority_right,
    majority_at_k,
    mean_pass_at_k,
    pass_at_k,
)

TAGS, SETTINGS = Tags(), AnswerSettings()


@pytest.mark.parametrize(("n", "right"), [(5, 0), (5, 1), (5, 3), (5, 5), (1, 1), (7, 2)])
def test_pass_at_k_is_the_share_of_all_draws(n: int, right: int) -> None:
    flags = [True] * right + [False] * (n - right)
    for k in range(1, n + 1):
        draws = list(itertools.combinations(flags, k))
        share = sum(any(draw) for draw in draws) / len(draws)
        assert pass_at_k(n, right, k) == pytest.approx(share)


def test_pass_at_k_grows_with_k_and_is_the_accuracy_at_one() -> None:
    found = [pass_at_k(200, 13, k) for k in range(1, 201)]
    assert found == sorted(found)
    assert found[0] == pytest.approx(13 / 200)
    assert found[-1] == 1.0


@pytest.mark.parametrize(("n", "right", "k"), [(3, 1, 4), (3, 4, 1), (3, 1, 0)])
def test_impossible_draws_are_refused(n: int, right: int, k: int) -> None:
    with pytest.raises(DataError, match="pass@"):
        pass_at_k(n, right, k)


def test_mean_over_questions() -> None:
    assert mean_pass_at_k({"a": [True, False], "b": [False, False]}, 1) == 0.25
    assert mean_pass_at_k({}, 1) is None


def majority(*answers: str, gold: str = "42") -> bool:
    texts = [f"<answer>{answer}</answer>" if answer else "none" for answer in answers]
    return is_majority_right(texts, gold, TAGS, SETTINGS)


def test_majority_counts_equal_numbers_together() -> None:
    assert majority("7", "42", "42.0", "7", "$42")
    assert not majority("7", "42", "7")


def test_of_equal_votes_the_first_counts() -> None:
    assert majority("42", "7")
    assert not majority("7", "42")


def test_samples_without_an_answer_cast_no_vote() -> None:
    assert majority("", "", "42")
    assert not majority("", "")


def test_majority_of_words() -> None:
    assert majority("Paris", "Rome", "paris", gold="PARIS")


def test_majority_at_k_looks_at_the_first_k() -> None:
    texts = ["<answer>42</answer>", "<answer>7</answer>", "<answer>7</answer>"]
    samples = [Sample("q", "42", text) for text in texts]
    assert majority_at_k(samples, 1, TAGS, SETTINGS).count == 1
    assert majority_at_k(samples, 3, TAGS, SETTINGS).count == 0
    with pytest.raises(DataError, match="'q' has 3 samples, k is 4"):
        majority_at_k(samples, 4, TAGS, SETTINGS)
