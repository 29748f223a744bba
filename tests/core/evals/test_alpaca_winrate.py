"""Win rates at equal length: by hand, on made-up judges, and beside what was published."""

from __future__ import annotations

import csv
import json
import lzma
from pathlib import Path

import numpy as np
import pytest

from activeuf_core.evals.alpaca_winrate import (
    Floats,
    Gamed,
    discrete_win_rate,
    fit_difficulty,
    length_controlled,
    tanh_length,
)

POOL, BOARD = "pool/alpaca_eval_pool.jsonl.xz", "pool/alpaca_eval_models.csv"
REFERENCE = "gpt4_1106_preview"
ATTACKS = ("NullModel", "gpt4_gamed")
VARIANTS = ("_concise", "_verbose", "togetherai")
"""Models that are others told to be short or long, or served elsewhere."""

N = 600


def made_up(quality: float, longer_by: float, love: float) -> tuple[Floats, Floats, Floats]:
    """Return preferences, lengths and reference lengths of a judge that loves length."""
    rng = np.random.default_rng(0)
    reference = rng.normal(1000.0, 200.0, N)
    lengths = reference + rng.normal(longer_by, 300.0, N)
    logits = quality - love * tanh_length(lengths, reference)
    return 1.0 / (1.0 + np.exp(-logits)), lengths, reference


def test_the_length_term_is_the_tanh_of_the_standardised_difference() -> None:
    found = tanh_length(np.array([1.0, 2.0]), np.array([3.0, 2.0]))
    assert found == pytest.approx([np.tanh(2.0 / np.sqrt(2.0)), 0.0])


def test_lengths_that_differ_by_the_same_say_nothing() -> None:
    assert tanh_length(np.array([1.0, 2.0]), np.array([2.0, 3.0])).tolist() == [0.0, 0.0]


def test_what_a_judge_gives_for_length_is_taken_away() -> None:
    preference, lengths, reference = made_up(quality=0.0, longer_by=300.0, love=2.0)
    found = length_controlled(preference, lengths, reference, draws=0)
    assert preference.mean() > 0.7
    assert found.win_rate == pytest.approx(0.5, abs=0.01)
    assert found.length == pytest.approx(-2.0, abs=0.1)


def test_equal_lengths_leave_the_win_rate_as_it_is() -> None:
    preference = np.random.default_rng(1).uniform(size=N) ** 2
    same = np.full(N, 100.0)
    found = length_controlled(preference, same, same, draws=0)
    assert found.win_rate == pytest.approx(preference.mean(), abs=0.005)


def test_difficulty_is_a_term_of_its_own() -> None:
    preference, lengths, reference = made_up(quality=-1.0, longer_by=0.0, love=0.0)
    difficulty = np.random.default_rng(1).normal(size=N)
    logits = np.log(preference / (1 - preference)) + 1.5 * difficulty
    judged = 1.0 / (1.0 + np.exp(-logits))
    found = length_controlled(judged, lengths, reference, difficulty, draws=0)
    assert found.difficulty == pytest.approx(1.5, abs=0.1)
    assert found.win_rate == pytest.approx(judged.mean(), abs=0.01)


def test_a_gamed_reference_keeps_the_length_term() -> None:
    preference, lengths, reference = made_up(quality=0.5, longer_by=0.0, love=0.0)
    gamed = Gamed(
        np.repeat([0.8, -0.8], N),
        np.zeros(2 * N),
        np.repeat([0.1, 0.9], N),
        weight=0.5,
    )
    free = length_controlled(preference, lengths, reference, np.zeros(N), draws=0)
    tied = length_controlled(preference, lengths, reference, np.zeros(N), gamed, draws=0)
    assert free.length == pytest.approx(0.0, abs=0.05)
    assert tied.length < -0.5


def test_the_error_shrinks_with_the_number_of_instructions() -> None:
    rng = np.random.default_rng(1)
    noisy, lengths, reference = rng.uniform(size=N), rng.normal(100, 9, N), np.full(N, 100.0)
    all_of_them = length_controlled(noisy, lengths, reference).stderr
    some = length_controlled(noisy[:60], lengths[:60], reference[:60]).stderr
    assert all_of_them is not None and some is not None
    assert 0.005 < all_of_them < some < 0.1


@pytest.mark.parametrize("preferences", [[1.0], [0.0, 0.0], [1.0, 1.0, 1.0]])
def test_few_and_unanimous_judgements_have_a_win_rate(preferences: list[float]) -> None:
    preference = np.array(preferences)
    lengths = np.arange(1.0, len(preference) + 1)
    found = length_controlled(preference, lengths, lengths[::-1].copy())
    assert (found.win_rate > 0.5) == (preferences[0] == 1.0)
    assert (found.stderr is None) == (len(preferences) == 1)


def test_a_tie_is_half_a_win() -> None:
    assert discrete_win_rate([0.9, 0.1, 0.5, 0.51]) == pytest.approx(2.5 / 4)


def test_difficulties_are_found_again() -> None:
    rng = np.random.default_rng(1)
    true_N = rng.normal(size=200)
    length_MN = np.tanh(rng.normal(size=(30, 200)))
    logits_MN = rng.normal(size=(30, 1)) - length_MN + true_N
    preference_MN = 1.0 / (1.0 + np.exp(-logits_MN))
    preference_MN[0, :50] = np.nan
    found = fit_difficulty(preference_MN, length_MN)
    assert np.corrcoef(found, true_N)[0, 1] > 0.99


@pytest.fixture(scope="module")
def published(shared_data: Path) -> tuple[dict[str, float], dict[str, Floats], dict[str, Floats]]:
    """Return the published win rates, and preferences and lengths by model."""
    with lzma.open(shared_data / POOL, "rt", encoding="utf-8") as handle:
        rows = [json.loads(line) for line in handle]
    preferences: dict[str, Floats] = {}
    lengths: dict[str, Floats] = {}
    for place, row in enumerate(rows):
        for one in row["completions"]:
            name = one["model"]
            for values in (preferences, lengths):
                values.setdefault(name, np.full(len(rows), np.nan))
            lengths[name][place] = len(one["response"])
            preferences[name][place] = one.get("ae2_pref", np.nan)
    with (shared_data / BOARD).open(encoding="utf-8") as handle:
        column = "ae2_lc_winrate_leaderboard"
        board = {row["model"]: float(row[column]) for row in csv.DictReader(handle) if row[column]}
    return board, preferences, lengths


def test_the_length_controlled_win_rate_is_near_the_published_one(
    published: tuple[dict[str, float], dict[str, Floats], dict[str, Floats]],
) -> None:
    board, preferences, lengths = published
    models = [
        name
        for name in sorted(board)
        if not np.isnan(preferences[name]).all()
        and name not in (*ATTACKS, REFERENCE)
        and not name.endswith(VARIANTS)
    ]
    reference = lengths[REFERENCE]
    judged = {name: ~np.isnan(preferences[name]) for name in models}
    length_MN = np.stack([np.nan_to_num(tanh_length(lengths[n], reference)) for n in models])
    difficulty = fit_difficulty(np.stack([preferences[name] for name in models]), length_MN)
    ours = [
        100.0
        * length_controlled(
            preferences[name][judged[name]],
            lengths[name][judged[name]],
            reference[judged[name]],
            difficulty[judged[name]],
            draws=0,
        ).win_rate
        for name in models
    ]
    theirs = np.array([board[name] for name in models])
    error = np.abs(np.array(ours) - theirs)
    our_ranks, their_ranks = (np.argsort(np.argsort(values)) for values in (ours, theirs))
    assert len(models) == 46
    assert error.mean() < 1.0
    assert error.max() < 5.0
    assert np.corrcoef(our_ranks, their_ranks)[0, 1] > 0.98
