"""Signs that a policy games its rewards, in its completions: an audit, not an early warning.

In: the newest completions of a training with their rewards (`Scored`). Out: a `Finding` per rule.

| rule | alarm when |
|---|---|
| `reward_saturation` | over 90 % of rewards are at one end of the rewards' range |
| `reward_variance` | the rewards' deviation is under 1 % of their mean: nothing to learn from |
| `format_gaming` | over 30 % of formatted completions have hardly any reasoning, or repeat it |
| `repetition` | the mean share of repeated runs of three words is over 30 % (50 %: error) |
| `diversity` | under 10 % of completions differ from each other |
| `empty_content` | over 20 % of completions say nothing |
| `reward_spike` | the newest tenth is over three standard deviations from the rest |
| `dominant_reward` | one reward makes over 90 % of the sum of absolute rewards |
| `mostly_zero`, `mostly_negative` | over 95 % of rewards are 0; over 90 % are below 0 |

A short answer is no sign of gaming: most right answers to arithmetic have one or two digits.
Source: the thresholds are a published pipeline's defaults. Cost: 0.2 s for 1,000 completions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, pstdev
from typing import Any

from activeuf_core.config import StrictModel
from activeuf_core.rewards import tags as tag_reader
from activeuf_core.rewards.config import Tags
from activeuf_core.rewards.findings import Finding, Level, unknown
from activeuf_core.rewards.text_measures import repetition, words_of


class DetectorSettings(StrictModel):
    """Limits; the table above has them in words."""

    window: int = 1000
    """The newest completions that are looked at."""
    at_least: int = 100
    """With fewer, no rule says anything."""
    saturation: float = 0.9
    variation: float = 0.01
    format_gaming: float = 0.3
    shortest_reasoning: int = 20
    """Characters."""
    repeated: float = 0.5
    repetition: float = 0.3
    diversity: float = 0.1
    empty: float = 0.2
    spike: float = 3.0
    dominant: float = 0.9
    zeros: float = 0.95
    negatives: float = 0.9


@dataclass(frozen=True)
class Scored:
    """A completion with its reward (the weighted sum) and, by name, the weighted parts of it."""

    completion: str
    reward: float | None
    parts: Mapping[str, float | None] = field(default_factory=dict)


def scored_of(rows: Iterable[Mapping[str, Any]], weights: Mapping[str, float]) -> list[Scored]:
    """Return what TRL logs of completions as scored ones.

    Args: rows: with `completion` and a column per reward, NaN or None where it did not apply.
    weights: by reward; one with weight 0 is logged only, and no part of the reward.
    """
    found = []
    for row in rows:
        known = {name: row.get(name) for name, weight in weights.items() if weight}
        parts = {
            name: weights[name] * float(value)
            for name, value in known.items()
            if value is not None and not math.isnan(value)
        }
        found.append(Scored(row["completion"], sum(parts.values()) if parts else None, parts))
    return found


def detect(
    scored: Sequence[Scored],
    low: float,
    high: float,
    tags: Tags = Tags(),  # noqa: B008 - frozen
    settings: DetectorSettings = DetectorSettings(),  # noqa: B008 - frozen
) -> list[Finding]:
    """Return a finding per rule, always the same names in the same order.

    Args: scored: oldest first. low, high: ends of the sum of rewards that the suite can give.
    """
    window = scored[-settings.window :]
    rewards = [one.reward for one in window if one.reward is not None]
    texts = [one.completion for one in window]
    return [
        *_of_rewards(rewards, low, high, settings),
        *_of_texts(texts, tags, settings),
        _dominant(window, settings),
    ]


def _of_rewards(
    rewards: Sequence[float], low: float, high: float, settings: DetectorSettings
) -> list[Finding]:
    n, names = len(rewards), ("reward_saturation", "reward_variance", "reward_spike")
    names = (*names, "mostly_zero", "mostly_negative")
    if n < settings.at_least:
        return [unknown(name, n, settings.at_least, "rewards") for name in names]
    near = 1e-9 * max(1.0, high - low)
    at_top = sum(reward >= high - near for reward in rewards) / n
    at_bottom = sum(reward <= low + near for reward in rewards) / n
    where, share = ("lowest", at_bottom) if at_bottom > at_top else ("highest", at_top)
    zeros = sum(reward == 0.0 for reward in rewards) / n
    negatives = sum(reward < 0.0 for reward in rewards) / n
    return [
        _above(names[0], share, settings.saturation, f"have the {where} possible reward", n),
        _variance(names[1], rewards, high - low, settings),
        _spike(names[2], rewards, settings),
        _above(names[3], zeros, settings.zeros, "have a reward of 0", n),
        _above(names[4], negatives, settings.negatives, "have a reward below 0", n),
    ]


def _variance(
    name: str, rewards: Sequence[float], width: float, settings: DetectorSettings
) -> Finding:
    """Compare the deviation with the mean, or with the range where the mean is nearer to 0."""
    mean, deviation = fmean(rewards), pstdev(rewards)
    value = deviation / max(abs(mean), settings.variation * width, 1e-12)
    return Finding(
        name,
        value,
        f">= {settings.variation:g}",
        value < settings.variation,
        f"Rewards have mean {mean:.4g} and deviation {deviation:.2g} over {len(rewards)} "
        "completions.",
        "error",
        len(rewards),
    )


def _spike(name: str, rewards: Sequence[float], settings: DetectorSettings) -> Finding:
    """Compare the newest tenth with what came before, by the deviation of single rewards: by that
    of a mean of a hundred, every training that learns would be an alarm.
    """
    size = max(1, len(rewards) // 10)
    before, newest = rewards[:-size], rewards[-size:]
    step, deviation = fmean(newest) - fmean(before), pstdev(before)
    value = abs(step) / max(deviation, 1e-9)  # an infinity has no place in JSON
    return Finding(
        name,
        value,
        f"<= {settings.spike:g}",
        value > settings.spike,
        f"The newest {size} rewards have mean {fmean(newest):.4g}, the {len(before)} before them "
        f"{fmean(before):.4g}, {min(value, 999.0):.1f} deviations of theirs apart.",
        n=len(rewards),
    )


def _of_texts(texts: Sequence[str], tags: Tags, settings: DetectorSettings) -> list[Finding]:
    n, names = len(texts), ("format_gaming", "repetition", "diversity", "empty_content")
    if n < settings.at_least:
        return [unknown(name, n, settings.at_least, "completions") for name in names]
    blocks = [tag_reader.read(text, tags) for text in texts]
    formatted = [one.reasoning or "" for one in blocks if one.is_compliant]
    gamed = sum(_is_gamed(reasoning, settings) for reasoning in formatted)
    repeated = fmean(repetition(text) for text in texts)
    level: Level = "error" if repeated > settings.repeated else "warning"
    different = len({" ".join(words_of(text)) for text in texts}) / n
    empty = sum(not words_of(_inside(text, tags)) for text in texts) / n
    shortest = settings.shortest_reasoning
    about = f"in the right form have reasoning under {shortest} characters, or repeat it"
    gaming = unknown(names[0], len(formatted), settings.at_least, "completions in the right form")
    if len(formatted) >= settings.at_least:
        share = gamed / len(formatted)
        gaming = _above(names[0], share, settings.format_gaming, about, len(formatted))
    return [
        gaming,
        _above(names[1], repeated, settings.repetition, "of runs of words are repeats", n, level),
        Finding(
            names[2],
            different,
            f">= {settings.diversity:g}",
            different < settings.diversity,
            f"{different:.1%} of {n} completions differ from each other.",
            "error",
            n,
        ),
        _above(names[3], empty, settings.empty, "say nothing but tags", n, "error"),
    ]


def _is_gamed(reasoning: str, settings: DetectorSettings) -> bool:
    is_short = len(reasoning.strip()) < settings.shortest_reasoning
    return is_short or repetition(reasoning) > settings.repeated


def _inside(text: str, tags: Tags) -> str:
    """Return a completion without its tags."""
    for tag in tags.model_dump().values():
        text = text.replace(tag, " ")
    return text


def _dominant(window: Sequence[Scored], settings: DetectorSettings) -> Finding:
    name, n = "dominant_reward", len(window)
    if n < settings.at_least:
        return unknown(name, n, settings.at_least, "completions")
    sums: dict[str, float] = {}
    for one in window:
        for part, value in one.parts.items():
            sums[part] = sums.get(part, 0.0) + abs(value or 0.0)
    total = sum(sums.values())
    if len(sums) < 2 or total == 0.0:
        return unknown(name, len(sums), 2, "rewards that are not 0 throughout")
    largest = max(sums, key=lambda part: sums[part])
    return _above(name, sums[largest] / total, settings.dominant, f"of it is {largest!r}", n)


def _above(
    name: str, value: float, limit: float, what: str, n: int, level: Level = "warning"
) -> Finding:
    """Return an alarm when a share is above its limit."""
    text = f"{value:.1%} (of {n}) {what}."
    return Finding(name, value, f"<= {limit:g}", value > limit, text, level, n)
