"""AlpacaEval's arithmetic: from preferences and lengths to the win rate at equal length.

In: per judged instruction the preference for the policy in [0, 1], and both outputs' lengths in
characters; where there is a table of them, the instructions' difficulties. Out: the win rate, the
length-controlled win rate, and the model behind it.
Source: Length-Controlled AlpacaEval (Dubois et al. 2024): a logistic regression of the preference
on tanh of the standardised length difference, the instruction's difficulty, and a constant for the
policy, without intercept; an L1 penalty whose strength is cross-validated; read off where the
lengths are equal. Optional rows in which the reference model was told to be longer or shorter share
the first two terms and have no constant: they keep what length is worth from being fitted away.
Cost: 0.3 s for 805 instructions, and 2 s for the standard error. scikit-learn is imported inside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from activeuf_core.seeding import generator

PENALTIES = np.logspace(-4, 4, 10)
"""Inverse strengths of the penalty that are tried."""
FOLDS = 5
FEW = 50
"""With fewer rows nothing can be cross-validated: the penalty is then a mild one."""
MILD = 10.0
"""Also the strongest penalty of a standard error: one that pulls every weight to 0 leaves none."""
SOLVER_SEED = 123
SMALLEST = 1e-9
"""Preferences are kept this far from 0 and 1, so that both classes always occur."""
BOOTSTRAP_DRAWS = 200
DIFFICULTY_PRIOR = 1.0
"""Precision of the normal prior of difficulties when they are fitted."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Gamed:
    """Rows in which the reference model was told to be longer or shorter.

    `tanh_length`, `difficulty` and `preference`: one value per row; `weight`: of each row.
    """

    tanh_length: Floats
    difficulty: Floats
    preference: Floats
    weight: float


@dataclass(frozen=True)
class LengthControlled:
    """A length-controlled win rate and the regression that it is read off.

    `length`: what the regression gives the reference for being longer (usually negative: the judge
    likes length). `difficulty`: None where no difficulties are known. `inverse_penalty`: the C that
    cross-validation chose.
    """

    win_rate: float
    stderr: float | None
    length: float
    difficulty: float | None
    constant: float
    inverse_penalty: float


def tanh_length(lengths: Floats, reference_lengths: Floats) -> Floats:
    """Return tanh of (reference - output) length over its deviation; zeros when nothing varies."""
    difference = reference_lengths - lengths
    deviation = float(difference.std(ddof=1)) if len(difference) > 1 else 0.0
    return np.tanh(difference / deviation) if deviation > 0 else np.zeros(len(difference))


def length_controlled(
    preference: Floats,
    lengths: Floats,
    reference_lengths: Floats,
    difficulty: Floats | None = None,
    gamed: Gamed | None = None,
    draws: int = BOOTSTRAP_DRAWS,
) -> LengthControlled:
    """Return the win rate that the policy would have with outputs as long as the reference's.

    Args: all arrays hold one value per judged instruction. draws: for the standard error, by
    bootstrap over instructions; below two no error is given.
    """
    if difficulty is None:
        gamed = None
    features = _features(preference, lengths, reference_lengths, difficulty)
    chosen = _choose_penalty(features, preference, gamed)
    weights = _fit(features, preference, gamed, chosen)
    stderr = None
    if draws > 1 and len(preference) > 1:
        rng = generator(0, "alpaca_eval", "bootstrap")
        found = []
        for _ in range(draws):
            rows = rng.integers(len(preference), size=len(preference))
            again = _fit(features[rows], preference[rows], gamed, max(chosen, MILD))
            found.append(_at_equal_length(features[rows], again))
        stderr = float(np.std(found, ddof=1))
    return LengthControlled(
        win_rate=_at_equal_length(features, weights),
        stderr=stderr,
        length=float(weights[0]),
        difficulty=None if difficulty is None else float(weights[1]),
        constant=float(weights[-1]),
        inverse_penalty=float(chosen),
    )


def fit_difficulty(preference_MN: Floats, tanh_length_MN: Floats, rounds: int = 200) -> Floats:
    """Return each instruction's difficulty, fitted jointly over models with one reference.

    The preference's log-odds are a constant per model, a length term per model, and the difficulty;
    a positive one is an instruction on which the models do well. NaN: not judged. The result has
    mean 0. Args: shapes (models, instructions).
    """
    judged_MN = ~np.isnan(preference_MN)
    given_MN = np.nan_to_num(preference_MN)
    constant_M = np.zeros(len(given_MN))
    length_M = np.zeros(len(given_MN))
    difficulty_N = np.zeros(given_MN.shape[1])

    def slopes() -> tuple[Floats, Floats]:
        logits_MN = constant_M[:, None] + length_M[:, None] * tanh_length_MN + difficulty_N
        p_MN = _logistic(logits_MN)
        curvature_MN = np.where(judged_MN, p_MN * (1.0 - p_MN), 0.0) + SMALLEST
        return np.where(judged_MN, given_MN - p_MN, 0.0), curvature_MN

    for _ in range(rounds):
        slope_MN, curvature_MN = slopes()
        constant_M += slope_MN.sum(1) / curvature_MN.sum(1)
        slope_MN, curvature_MN = slopes()
        length_M += (slope_MN * tanh_length_MN).sum(1) / (
            (curvature_MN * tanh_length_MN**2).sum(1) + SMALLEST
        )
        slope_MN, curvature_MN = slopes()
        difficulty_N += (slope_MN.sum(0) - DIFFICULTY_PRIOR * difficulty_N) / (
            curvature_MN.sum(0) + DIFFICULTY_PRIOR
        )
    return difficulty_N - difficulty_N.mean()


def discrete_win_rate(preferences: Sequence[float]) -> float:
    """Return the share of instructions on which the policy is preferred, a tie being half a win."""
    wins = (float(p > 0.5) + 0.5 * float(p == 0.5) for p in preferences)
    return math.fsum(wins) / len(preferences)


def _features(
    preference: Floats, lengths: Floats, reference_lengths: Floats, difficulty: Floats | None
) -> Floats:
    """Return one row per instruction: length, difficulty where it is known, and the constant."""
    columns = [tanh_length(lengths, reference_lengths)]
    columns += [] if difficulty is None else [difficulty]
    return np.column_stack([*columns, np.ones(len(preference))])


def _at_equal_length(features: Floats, weights: Floats) -> float:
    return float(_logistic(features[:, 1:] @ weights[1:]).mean())


def _logistic(x: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -x))


def _training_rows(
    features: Floats, preference: Floats, gamed: Gamed | None
) -> tuple[Floats, Floats, Floats]:
    """Return features, preferences and weights, the gamed rows behind the policy's."""
    kept = np.clip(preference, SMALLEST, 1.0 - SMALLEST)
    if gamed is None:
        return features, kept, np.ones(len(kept))
    more = np.column_stack([gamed.tanh_length, gamed.difficulty, np.zeros(len(gamed.preference))])
    return (
        np.vstack([features, more]),
        np.concatenate([kept, np.clip(gamed.preference, SMALLEST, 1.0 - SMALLEST)]),
        np.concatenate([np.ones(len(kept)), np.full(len(more), gamed.weight)]),
    )


def _fit(features: Floats, preference: Floats, gamed: Gamed | None, penalty: float) -> Floats:
    return _regress(*_training_rows(features, preference, gamed), penalty)


def _regress(features: Floats, target: Floats, weight: Floats, penalty: float) -> Floats:
    """Return the regression's weights: every row counts as a win and as a loss, in its shares."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        l1_ratio=1.0,
        solver="liblinear",
        C=penalty,
        fit_intercept=False,
        random_state=SOLVER_SEED,
    )
    both = np.concatenate([np.ones(len(target)), np.zeros(len(target))])
    shares = np.concatenate([target * weight, (1.0 - target) * weight])
    return model.fit(np.vstack([features, features]), both, sample_weight=shares).coef_[0]


def _choose_penalty(features: Floats, preference: Floats, gamed: Gamed | None) -> float:
    """Return the inverse strength with the best cross-validated likelihood."""
    if len(preference) < FEW:
        return MILD
    rows, target, weight = _training_rows(features, preference, gamed)
    fold = np.arange(len(rows)) % FOLDS
    scores = np.zeros(len(PENALTIES))
    for held_out in range(FOLDS):
        inside, outside = fold != held_out, fold == held_out
        for place, penalty in enumerate(PENALTIES):
            found = _regress(rows[inside], target[inside], weight[inside], penalty)
            p = np.clip(_logistic(rows[outside] @ found), 1e-15, 1.0 - 1e-15)
            y = target[outside]
            likelihood = y * np.log(p) + (1.0 - y) * np.log(1.0 - p)
            scores[place] += float(np.mean(likelihood * weight[outside]))
    return float(PENALTIES[int(scores.argmax())])
