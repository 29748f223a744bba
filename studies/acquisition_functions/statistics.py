"""Curves on a common grid, and what may be concluded from their differences.

In: `Run`s. Out: per function a mean and an interval over seeds, and differences to a baseline with
two paired tests, corrected for the number of functions. Pure numpy.
The two tests answer two questions. Over seeds: would another split, order and initialisation of
the same pool show the difference? Seeds share prompts, so they are not fully independent, and the
test is somewhat too sure. Over prompts: would other prompts, with the runs as they are? Neither
covers another pool, judge or set of features.
Shapes: S seeds, G grid points, Q prompts, F functions.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.acquisition_functions.runs import Run

GRID_STEP = 128
"""Annotations between two points of the grid."""
T_975 = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179)
T_975_MORE = (2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093)
"""0.975 quantiles of Student's t at 1, 2, ... 19 degrees of freedom."""
MAX_EXACT = 16
"""Up to this many pairs, all sign patterns are tried."""
NUM_DRAWS = 20_000

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Curve:
    """A quantity over annotations, with its 95 % interval over seeds."""

    mean_G: Floats
    half_G: Floats
    """NaN with a single seed."""


@dataclass(frozen=True)
class Difference:
    """A function against the baseline."""

    function: str
    mean: float
    half: float
    """Half-width of the 95 % t interval over seeds."""
    seeds_p: float
    """Paired t-test over seeds, Holm-corrected."""
    prompts_p: float = math.nan
    """Sign-flip test over prompts, Holm-corrected; NaN where prompts were not kept apart."""

    @property
    def is_supported(self) -> bool:
        """True when both tests reject at 5 % after correction."""
        return self.seeds_p < 0.05 and self.prompts_p < 0.05


def grid(runs: Sequence[Run]) -> Floats:
    """Return the annotation counts that all of these runs reached, in steps."""
    first = max(run.points[0].annotations for run in runs)
    last = min(run.points[-1].annotations for run in runs)
    start = -(-first // GRID_STEP) * GRID_STEP
    return np.arange(start, max(start, last) + 1, GRID_STEP, dtype=np.float64)


def on_grid(run: Run, name: str, at_G: Floats) -> Floats:
    """Return a field of a run's points at some annotation counts, between points linearly."""
    annotations = [point.annotations for point in run.points]
    return np.interp(at_G, annotations, [getattr(point, name) for point in run.points])


def curve(runs: Sequence[Run], name: str, at_G: Floats) -> Curve:
    """Return the mean over seeds with its interval."""
    value_SG = np.array([on_grid(run, name, at_G) for run in runs])
    return Curve(value_SG.mean(axis=0), half_width(value_SG))


def curve_above_length(runs: Sequence[Run], name: str, at_G: Floats) -> Curve:
    """Return a curve less the accuracy of the rule that the longer completion wins.

    Both are of the same held-out prompts, so that the interval is without the difference between
    easy and hard splits, which all functions share.
    """
    value_SG = np.array([on_grid(run, name, at_G) - run.length_accuracy for run in runs])
    return Curve(value_SG.mean(axis=0), half_width(value_SG))


def half_width(value_S: Floats) -> Floats:
    """Return half the 95 % t interval of the mean over the first axis; NaN for one value."""
    num = len(value_S)
    if num < 2:
        return np.full(value_S.shape[1:], np.nan)
    quantiles = T_975 + T_975_MORE
    quantile = quantiles[num - 2] if num - 2 < len(quantiles) else 1.96 + 2.5 / (num - 1)
    return quantile * value_S.std(axis=0, ddof=1) / num**0.5


def t_p(difference_S: Floats) -> float:
    """Return the two-sided p-value of a paired t-test; 1 for one pair, and where nothing varies."""
    freedom = len(difference_S) - 1
    spread = float(difference_S.std(ddof=1)) if freedom else 0.0
    if spread < 1e-12:
        return 1.0
    statistic = abs(float(difference_S.mean())) / spread * len(difference_S) ** 0.5
    # With x = sqrt(freedom) tan(angle), the density is a power of a cosine on a finite interval.
    angle_K = np.linspace(0.0, np.arctan(statistic / freedom**0.5), 20_001)
    inside = float(np.trapezoid(np.cos(angle_K) ** (freedom - 1), angle_K))
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.pi**0.5
    return max(0.0, 1.0 - 2.0 * scale * inside)


def sign_flip_p(difference_N: Floats) -> float:
    """Return the two-sided p-value of a mean of zero, of differences symmetric about it.

    Exact up to 16 pairs; by 20,000 random patterns of signs beyond.
    """
    size = len(difference_N)
    if size <= MAX_EXACT:
        sign_KN = 1 - 2 * (np.arange(2**size)[:, None] >> np.arange(size) & 1)
        means_K = sign_KN @ difference_N
        return float(np.mean(np.abs(means_K) >= abs(difference_N.sum()) - 1e-12))
    rng = np.random.default_rng(0)
    sign_KN = rng.integers(0, 2, size=(NUM_DRAWS, size), dtype=np.int8) * 2 - 1
    more = np.abs(sign_KN @ difference_N) >= abs(difference_N.sum()) - 1e-12
    return float((1 + more.sum()) / (1 + NUM_DRAWS))


def holm(p_F: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values, in the order given."""
    order = np.argsort(p_F, kind="stable")
    adjusted = np.empty(len(p_F))
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_F) - rank) * p_F[place]))
        adjusted[place] = largest
    return adjusted.tolist()


def differences(
    runs: Mapping[str, Sequence[Run]], baseline: str, at_G: Floats
) -> dict[str, Difference]:
    """Compare the curves' means over `at_G` with the baseline's, in pairs of a seed."""
    others = [function for function in runs if function != baseline]
    by_seed = {run.seed: run for run in runs[baseline]}
    seeds_F, prompts_F = [], []
    for function in others:
        pairs = [(run, by_seed[run.seed]) for run in runs[function] if run.seed in by_seed]
        seeds_F.append(np.array([_level(ours, at_G) - _level(base, at_G) for ours, base in pairs]))
        prompts_F.append(_by_prompt(pairs, at_G))
    seeds_p = holm([t_p(value_S) for value_S in seeds_F])
    prompts_p = holm([sign_flip_p(value_Q) for value_Q in prompts_F])
    return {
        function: Difference(
            function, float(value_S.mean()), float(half_width(value_S)), by_seeds, by_prompts
        )
        for function, value_S, by_seeds, by_prompts in zip(
            others, seeds_F, seeds_p, prompts_p, strict=True
        )
    }


def seed_differences(
    runs: Mapping[str, Sequence[Run]], baseline: str, name: str, at_G: Floats
) -> dict[str, Difference]:
    """Compare the mean over `at_G` of any field of the points, over seeds only."""
    by_seed = {run.seed: _level(run, at_G, name) for run in runs[baseline]}
    gap_FS = {
        function: np.array([_level(run, at_G, name) - by_seed[run.seed] for run in seeds])
        for function, seeds in runs.items()
        if function != baseline
    }
    corrected = holm([t_p(gap_S) for gap_S in gap_FS.values()])
    return {
        function: Difference(function, float(gap_S.mean()), float(half_width(gap_S)), p)
        for (function, gap_S), p in zip(gap_FS.items(), corrected, strict=True)
    }


def _level(run: Run, at_G: Floats, name: str = "fresh_accuracy") -> float:
    return float(on_grid(run, name, at_G).mean())


def _by_prompt(pairs: Sequence[tuple[Run, Run]], at_G: Floats) -> Floats:
    """Return each prompt's difference, averaged over the seeds that held it out: (Q,)."""
    found: dict[str, list[float]] = defaultdict(list)
    for ours, base in pairs:
        gap = _prompt_levels(ours, at_G) - _prompt_levels(base, at_G)
        for name, value in zip(ours.held_out, gap, strict=True):
            found[name].append(float(value))
    return np.array([np.mean(values) for values in found.values()])


def _prompt_levels(run: Run, at_G: Floats) -> Floats:
    """Return the mean accuracy over the grid on each held-out prompt."""
    annotations = [point.annotations for point in run.points]
    accuracy_QT = np.array(run.fresh_accuracy_P).T
    return np.array([np.interp(at_G, annotations, row_T).mean() for row_T in accuracy_QT])
