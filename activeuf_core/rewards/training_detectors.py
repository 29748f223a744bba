"""Signs of trouble in a training's metrics: bands that a healthy run keeps.

In: rows of metrics, oldest first, with the names that TRL logs (`reward`, `kl`, `grad_norm`,
`frac_reward_zero_std`, `completions/clipped_ratio`); rows may lack any. Out: a `Finding` per rule.

| rule | alarm when |
|---|---|
| `metrics_finite` | a value is NaN or infinite, anywhere |
| `kl_in_band` | the newest mean of KL is below 0.001 or above 5, after the first rows |
| `gradient_in_band` | the newest mean of the gradient's norm is below 1e-6 or above 10 |
| `reward_drop` | a fast average of the reward fell by half of what had been gained |
| `groups_differ` | over 90 % of groups give every completion the same reward |
| `completions_end` | over half of completions are cut at their longest length |

Cost: microseconds per row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from activeuf_core.config import StrictModel
from activeuf_core.rewards.findings import Finding, Level, unknown

MetricsRow = Mapping[str, Any]


class TrainingLimits(StrictModel):
    """Bands; the table above has them in words."""

    newest: int = 10
    """Rows whose mean is compared with a band."""
    at_least: int = 5
    kl: tuple[float, float] = (0.001, 5.0)
    gradient: tuple[float, float] = (1e-6, 10.0)
    reward_drop: float = 0.5
    smoothing: float = 0.3
    """Weight of the newest row in the fast average of the reward."""
    equal_groups: float = 0.9
    clipped: float = 0.5


def detect(
    rows: Sequence[MetricsRow],
    limits: TrainingLimits = TrainingLimits(),  # noqa: B008 - frozen
) -> list[Finding]:
    """Return a finding per rule, always the same names in the same order."""
    upper = {
        "frac_reward_zero_std": limits.equal_groups,
        "completions/clipped_ratio": limits.clipped,
    }
    return [
        _finite(rows),
        _band("kl_in_band", "kl", rows, limits.kl, limits, "error"),
        _band("gradient_in_band", "grad_norm", rows, limits.gradient, limits),
        _drop(rows, limits),
        *(
            _band(name, key, rows, (0.0, upper[key]), limits)
            for name, key in (
                ("groups_differ", "frac_reward_zero_std"),
                ("completions_end", "completions/clipped_ratio"),
            )
        ),
    ]


def values_of(rows: Sequence[MetricsRow], key: str) -> list[float]:
    """Return the values of a metric that are numbers and finite, in their order."""
    found = (row.get(key) for row in rows)
    numbers = (value for value in found if isinstance(value, int | float))
    return [float(value) for value in numbers if math.isfinite(value)]


def _finite(rows: Sequence[MetricsRow]) -> Finding:
    broken = [
        f"{key} = {value} at step {row.get('step', '?')}"
        for row in rows
        for key, value in row.items()
        if isinstance(value, float) and not math.isfinite(value)
    ]
    said = f"first {broken[0]}" if broken else "all are finite"
    text = f"{len(broken)} values in {len(rows)} rows are NaN or infinite; {said}."
    return Finding("metrics_finite", len(broken), "0", bool(broken), text, "error", len(rows))


def _band(
    name: str,
    key: str,
    rows: Sequence[MetricsRow],
    band: tuple[float, float],
    limits: TrainingLimits,
    level: Level = "warning",
) -> Finding:
    values = values_of(rows, key)
    if len(values) < limits.at_least:
        return unknown(name, len(values), limits.at_least, f"rows with {key!r}", level)
    newest = values[-limits.newest :]
    mean = fmean(newest)
    return Finding(
        name,
        mean,
        f"{band[0]:g} to {band[1]:g}",
        not band[0] <= mean <= band[1],
        f"The mean of {key!r} over the newest {len(newest)} rows is {mean:.4g}.",
        level,
        len(values),
    )


def _drop(rows: Sequence[MetricsRow], limits: TrainingLimits) -> Finding:
    """Compare the fast average with its best, by what had been gained since the start.

    A share of the reward itself would mean nothing: rewards may be negative.
    """
    values = values_of(rows, "reward")
    name = "reward_drop"
    if len(values) < max(2, limits.at_least):
        return unknown(name, len(values), max(2, limits.at_least), "rows with 'reward'", "error")
    average = best = values[0]
    for value in values[1:]:
        average += limits.smoothing * (value - average)
        best = max(best, average)
    gained = best - values[0]
    lost = (best - average) / gained if gained > 0 else 0.0
    return Finding(
        name,
        lost,
        f"<= {limits.reward_drop:g}",
        lost > limits.reward_drop,
        f"The reward began at {values[0]:.4g}; its average rose to {best:.4g}, and is "
        f"{average:.4g}.",
        "error",
        len(values),
    )
