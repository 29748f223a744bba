"""How a reward answers changes whose effect is known: does it keep, notice, and stay unbought?

In: a reward function, what it senses, completions with their rows. Out: a `Robustness`:

- *violations*: of the changes that should do nothing, the share that moved the reward;
- *sensitivity*: how often a completion is worth more than its spoiled self, ties counting half:
  the area under the ROC curve of pairs. 1 is perfect, 0.5 is blind;
- *exploit gain*: what the best trick adds, on average, to a completion that is wrong.

A change is only tried where it matters for what the reward senses, and one that cannot be made of a
completion is left out, and counted by its absence: `num_tried` says how much stands behind each
figure. Nothing tried gives None, never a perfect score.
Cost: about 20 calls of the reward per completion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from activeuf_core.rewards.base import RewardFunction
from activeuf_core.rewards.config import Tags
from activeuf_core.rewards.perturbations import PERTURBATIONS, Expected, Perturbation

SAME = 1e-9
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Effect:
    """What one perturbation did: mean change of the reward, and the share of completions for which
    it was as expected (ties count half where the reward should drop).
    """

    name: str
    expected: Expected
    num_tried: int
    mean_change: float | None
    as_expected: float | None


@dataclass(frozen=True)
class Robustness:
    """A reward's behaviour under all perturbations."""

    reward: str
    effects: tuple[Effect, ...]
    violations: float | None
    sensitivity: float | None
    exploit_gain: float | None

    def as_json(self) -> dict[str, Any]:
        """Return all figures."""
        return {**vars(self), "effects": [vars(effect) for effect in self.effects]}


def robustness_of(
    reward: RewardFunction,
    senses: frozenset[str],
    completions: Sequence[str],
    rows: Rows,
    tags: Tags = Tags(),  # noqa: B008 - frozen
) -> Robustness:
    """Return how a reward answers the perturbations.

    Args: senses: what must move it, as the registry says. completions: right ones tell most; the
    tricks are tried on them with a wrong number in place of the right one. rows: with the columns
    that the reward needs.
    """
    wrong = [_spoiled(text, row, tags) for text, row in zip(completions, rows, strict=True)]
    effects = tuple(
        _effect(one, reward, wrong if one.expected == "no_gain" else completions, rows, tags)
        for one in PERTURBATIONS
        if one.touches & senses
    )
    kept = [one for one in effects if one.expected == "unchanged"]
    noticed = [one for one in effects if one.expected == "lower"]
    gains = [
        one.mean_change
        for one in effects
        if one.expected == "no_gain" and one.mean_change is not None
    ]
    as_expected = _pooled(kept)
    return Robustness(
        reward=reward.name,
        effects=effects,
        violations=None if as_expected is None else 1.0 - as_expected,
        sensitivity=_pooled(noticed),
        exploit_gain=max(gains) if gains else None,
    )


def _effect(
    one: Perturbation, reward: RewardFunction, completions: Sequence[str], rows: Rows, tags: Tags
) -> Effect:
    changed = [one.change(text, row, tags) for text, row in zip(completions, rows, strict=True)]
    kept = [i for i, text in enumerate(changed) if text is not None and text != completions[i]]
    before = _rewards(reward, [completions[i] for i in kept], [rows[i] for i in kept])
    after = _rewards(reward, [changed[i] or "" for i in kept], [rows[i] for i in kept])
    steps = [
        new - old
        for old, new in zip(before, after, strict=True)
        if old is not None and new is not None
    ]
    if not steps:
        return Effect(one.name, one.expected, 0, None, None)
    fits = fmean(_fit(one.expected, step) for step in steps)
    return Effect(one.name, one.expected, len(steps), fmean(steps), fits)


def _fit(expected: Expected, step: float) -> float:
    """Return 1 when a step is as expected, 0 when not, and 0.5 for a missing drop."""
    if expected == "unchanged":
        return float(abs(step) <= SAME)
    if expected == "no_gain":
        return float(step <= SAME)
    return 0.5 if abs(step) <= SAME else float(step < 0.0)


def _rewards(reward: RewardFunction, completions: Sequence[str], rows: Rows) -> list[float | None]:
    if not completions:
        return []
    columns = {name: [row.get(name) for row in rows] for name in rows[0]}
    prompts = columns.pop("prompt", [""] * len(completions))
    return reward(prompts, completions, **columns)


def _spoiled(text: str, row: Mapping[str, Any], tags: Tags) -> str:
    """Return a completion with a wrong number, where one can be put in."""
    (change,) = (one.change for one in PERTURBATIONS if one.name == "wrong_number")
    return change(text, row, tags) or text


def _pooled(effects: Sequence[Effect]) -> float | None:
    """Return the share over all completions that were tried."""
    tried = [one for one in effects if one.as_expected is not None]
    total = sum(one.num_tried for one in tried)
    if not total:
        return None
    return sum((one.as_expected or 0.0) * one.num_tried for one in tried) / total
