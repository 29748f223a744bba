"""The rewards by name, and the suite of them that a config describes.

In: a `RewardsConfig`. Out: a `Suite`: functions, weights and names for `GRPOTrainer`, and a version
for the record. A reward's name is the name of its metric. Legacy rewards have a prefix, so that
both sets can be logged in one training. To add a reward by rule: a function, and a line in REWARDS.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from activeuf_core.errors import ConfigError, choose_from
from activeuf_core.fingerprint import digest_of
from activeuf_core.rewards import legacy, rubrics, strict
from activeuf_core.rewards import rubric_rewards as words
from activeuf_core.rewards.base import RewardFunction, Row, Rule, RuleReward
from activeuf_core.rewards.config import RewardsConfig, Tags

if TYPE_CHECKING:
    from activeuf_core.annotations.judgement_cache import JudgementCache
    from activeuf_core.annotations.server import Endpoint

Make = Callable[[RewardsConfig], Rule]
Senses = Literal["format", "answer", "content"]


@dataclass(frozen=True)
class Entry:
    """A reward by rule: its ends, what it must be moved by, the columns it reads."""

    low: float
    high: float
    senses: frozenset[Senses]
    """What the robustness harness spoils to see whether the reward notices."""
    make: Make
    code: str
    """Dotted name of the function whose code is part of the version."""
    settings: tuple[str, ...] = ()
    """Sections of the config that the rule depends on."""
    needs: tuple[str, ...] = ()
    may_read: tuple[str, ...] = ()


def _of_tags(low: float, high: float, score: Callable[[str, Tags], float]) -> Entry:
    """A reward that reads the completion alone."""
    return Entry(
        low,
        high,
        frozenset({"format"}),
        lambda config: lambda text, row: score(text, config.tags),
        f"{score.__module__}.{score.__name__}",
        settings=("tags",),
    )


def _legacy(low: float, high: float, score: Callable[[str, str, Tags], float]) -> Entry:
    """A reward that reads the answer's characters."""
    return Entry(
        low,
        high,
        frozenset({"answer"}),
        lambda config: lambda text, row: score(text, str(row["answer"]), config.tags),
        f"{score.__module__}.{score.__name__}",
        settings=("tags",),
        needs=("answer",),
    )


def _strict(low: float, high: float, score: Callable[..., float | None]) -> Entry:
    """A reward that compares answers as the metrics do."""
    return Entry(
        low,
        high,
        frozenset({"answer"}),
        lambda config: (
            lambda text, row: score(text, str(row["answer"]), config.tags, config.answer)
        ),
        f"{score.__module__}.{score.__name__}",
        settings=("tags", "answer"),
        needs=("answer",),
    )


def _content(high: float, rule: Rule, score: Callable[..., float], needs: str) -> Entry:
    """A reward that compares words."""
    return Entry(
        0.0,
        high,
        frozenset({"content"}),
        lambda config: rule,
        f"{score.__module__}.{score.__name__}",
        needs=(needs,),
        may_read=("reference", "target_score") if score is words.legacy_rubric else (),
    )


_rubric = functools.lru_cache(maxsize=256)(rubrics.from_text)


def _overlap(text: str, row: Row) -> float:
    return words.rubric_overlap(text, _rubric(str(row["rubric"])))


def _similarity(text: str, row: Row) -> float:
    return words.reference_similarity(text, str(row["reference"]))


def _legacy_rubric(text: str, row: Row) -> float:
    target = row.get("target_score")
    return words.legacy_rubric(text, str(row["rubric"]), row.get("reference"), target)


REWARDS: dict[str, Entry] = {
    "format_exact": _of_tags(0.0, 3.0, strict.format_exact),
    "format_approx": _of_tags(-2.5, 2.5, strict.format_approx),
    "answer_check": _strict(-1.0, 3.0, strict.answer_check),
    "number_check": _strict(0.0, 1.5, strict.number_check),
    "legacy_format_exact": _of_tags(0.0, 3.0, legacy.format_exact),
    "legacy_format_approx": _of_tags(-2.5, 2.5, legacy.format_approx),
    "legacy_answer_check": _legacy(-1.0, 3.0, legacy.answer_check),
    "legacy_number_check": _legacy(0.0, 1.5, legacy.number_check),
    "rubric_overlap": _content(1.0, _overlap, words.rubric_overlap, "rubric"),
    "reference_similarity": _content(1.0, _similarity, words.reference_similarity, "reference"),
    "legacy_rubric": _content(20.0, _legacy_rubric, words.legacy_rubric, "rubric"),
}
FOUR = ("format_exact", "format_approx", "answer_check", "number_check")
SETS: Mapping[str, tuple[str, ...]] = {
    "strict": FOUR,
    "legacy": tuple(f"legacy_{name}" for name in FOUR),
    "none": (),
}
JUDGE = "llm_judge"


@dataclass(frozen=True)
class Suite:
    """Rewards with their weights, in one order."""

    functions: tuple[RewardFunction, ...]
    weights: tuple[float, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names, as metrics have them: rewards/<name>/mean."""
        return tuple(function.name for function in self.functions)

    @property
    def version(self) -> str:
        """A digest of all functions and weights."""
        return digest_of({"versions": self.versions, "weights": self.weights})[:12]

    @property
    def versions(self) -> dict[str, str]:
        """The version of each function, by name."""
        return {function.name: function.version for function in self.functions}

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest weighted sum that the rewards can give."""
        lows, highs = [], []
        for name, weight in zip(self.names, self.weights, strict=True):
            entry = REWARDS.get(name)  # a judge rates from 0 to 1
            pair = (entry.low * weight, entry.high * weight) if entry else (0.0, weight)
            lows.append(min(pair))
            highs.append(max(pair))
        return sum(lows), sum(highs)

    def score(self, completions: list[Any], **columns: Any) -> dict[str, list[float | None]]:
        """Return the rewards of completions by name, unweighted."""
        prompts = columns.pop("prompts", [""] * len(completions))
        return {one.name: one(prompts, completions, **columns) for one in self.functions}


def build(config: RewardsConfig, judge: Callable[[], RewardFunction] | None = None) -> Suite:
    """Return the suite of a config.

    Args: judge: makes the reward `llm_judge`; called when the config names it.
    Raises: ConfigError for an unknown or repeated name, or a weight of a reward that is not there.
    """
    weights = {name: config.weights.get(name, 1.0) for name in SETS[config.set]}
    unknown = sorted(set(config.weights) - set(weights))
    if unknown:
        raise ConfigError(
            f"rewards.weights: {unknown[0]!r} is not in the set {config.set!r}; "
            f"{choose_from(unknown[0], weights)}. Give other rewards under `extra`."
        )
    for reward in config.extra:
        if reward.name in weights:
            raise ConfigError(
                f"rewards.extra: {reward.name!r} is there already. Name each reward once, and "
                "weigh those of the set under `weights`."
            )
        weights[reward.name] = reward.weight
    if not weights:
        raise ConfigError("rewards: the set is 'none' and `extra` is empty. Name a reward.")
    functions = tuple(_function(name, config, judge) for name in weights)
    return Suite(functions, tuple(weights.values()))


def llm_judge(config: RewardsConfig, where: Endpoint, cache: JudgementCache | None) -> Any:
    """Return the reward `llm_judge` of a config. Raises: ConfigError when it has no `judge`."""
    from activeuf_core.rewards.judge_reward import LlmJudgeReward

    if config.judge is None:
        raise ConfigError(f"rewards.judge is missing, which the reward {JUDGE!r} needs.")
    return LlmJudgeReward(config.judge, where, cache if config.judge.cache else None)


def _function(
    name: str, config: RewardsConfig, judge: Callable[[], RewardFunction] | None
) -> RewardFunction:
    if name == JUDGE:
        if config.judge is None or judge is None:
            raise ConfigError(
                f"rewards: {JUDGE!r} needs the section `judge` with its model and server."
            )
        return judge()
    if name not in REWARDS:
        raise ConfigError(
            f"rewards: there is no reward {name!r}; {choose_from(name, [*REWARDS, JUDGE])}."
        )
    entry = REWARDS[name]
    given = config.model_dump(mode="json", include=set(entry.settings))
    return RuleReward(name, entry.make(config), entry.needs, given, entry.may_read, (entry.code,))
