"""Baselines: partitions for what was not trained here, so that differences are computed, not typed.

    baseline: untrained   the base model as it is, scored like every experiment's models
    baseline: published   scores as somebody reported them, with their source

In: a file of `experiments/` with the key `baseline`. Out: the sections of its stages; for all that
a baseline never had, a stand-in's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from activeuf_core.catalog_benchmarks import SHARED_KEY, Benchmarks, check_names, scores_section
from activeuf_core.config import StrictModel, parse
from activeuf_core.errors import ConfigError, choose_from
from activeuf_core.evals.benchmarks import BENCHMARKS
from activeuf_core.stand_ins import LEFT_OUT, NOTHING, PUBLISHED, STAND_IN, UNTRAINED

BASELINE_KEY = "baseline"
Fraction = Annotated[float, Field(ge=-0.01, le=1.0)]
"""A score; RewardBench 2's Ties can be a hundredth below zero."""


class PublishedScore(StrictModel):
    """A published score with what lies behind it: domain → score."""

    score: Fraction
    parts: dict[str, Fraction] = Field(default_factory=dict)


class UntrainedBody(StrictModel):
    """Content of a baseline of a base model that is scored as it is."""

    baseline: Literal["untrained"]
    description: str = ""
    extends: str | None = None
    """Defaults whose base model and benchmarks it has, so that its scores compare with those of the
    experiments that extend them."""
    base_model: str = Field(min_length=1)
    seed: int = 4
    """Of the new head that makes the base model a reward model."""
    benchmarks: dict[str, dict[str, Any] | None] = Field(default_factory=dict)
    """As an experiment's."""


class PublishedBody(StrictModel):
    """Content of a baseline of scores that were published."""

    baseline: Literal["published"]
    description: str = ""
    source: str = Field(min_length=1)
    """Where they were published: it stands beside every score."""
    scores: dict[str, Fraction | PublishedScore] = Field(min_length=1)
    """Benchmark → score, a fraction; benchmarks that are not named are left out."""

    @model_validator(mode="before")
    @classmethod
    def _extends_nothing(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "extends" in data:
            raise ValueError("published scores extend no defaults: remove 'extends'")
        return data


@dataclass(frozen=True)
class BaselineFile:
    """One baseline, checked."""

    path: Path
    body: UntrainedBody | PublishedBody

    @property
    def kind(self) -> str:
        """`untrained` or `published`."""
        return self.body.baseline

    @property
    def dataset(self) -> str:
        """'': nothing was bought."""
        return ""

    def section(self, asset: str, partition: str) -> dict[str, Any]:
        """Return the section of a stage."""
        if asset == "wandb_summary":
            return {"experiment": partition}
        if asset == "scores":
            return scores_section(self._titles())
        if asset.endswith("_score"):
            return self._score(asset)
        body = self.body
        if asset == "preference_dataset" or isinstance(body, PublishedBody):
            return {STAND_IN: NOTHING}
        head = {"seed": body.seed} if asset == "reward_model" else {}
        return {STAND_IN: UNTRAINED, "base_model": body.base_model, **head}

    def leaves_out(self, asset: str) -> bool:
        """Whether the baseline does without the benchmark of a score."""
        if isinstance(self.body, UntrainedBody):
            return Benchmarks(self.body.benchmarks).leaves_out(asset)
        return asset.removesuffix("_score") not in self.body.scores

    def _score(self, asset: str) -> dict[str, Any]:
        if isinstance(self.body, UntrainedBody):
            return Benchmarks(self.body.benchmarks).section(asset)
        name = asset.removesuffix("_score")
        found = self.body.scores.get(name)
        if found is None:
            return {STAND_IN: LEFT_OUT, "benchmark": name}
        has_parts = isinstance(found, PublishedScore)
        values = found.model_dump() if has_parts else {"score": found}
        return {STAND_IN: PUBLISHED, "benchmark": name, "source": self.body.source, **values}

    def _titles(self) -> dict[str, str]:
        if isinstance(self.body, UntrainedBody):
            return Benchmarks(self.body.benchmarks).titles()
        return {row.name: row.title for row in BENCHMARKS if row.name in self.body.scores}


def baseline_file(
    own: Mapping[str, Any],
    path: Path,
    over_defaults: Callable[[Mapping[str, Any]], Mapping[str, Any]],
) -> BaselineFile:
    """Return a baseline from its file's content.

    Args: over_defaults: lays content over the defaults that it extends. Raises: ConfigError.
    """
    if own[BASELINE_KEY] not in (UNTRAINED, PUBLISHED):
        raise ConfigError(
            f"{path}: key {BASELINE_KEY!r} has the value {own[BASELINE_KEY]!r}; "
            f"{choose_from(own[BASELINE_KEY], (UNTRAINED, PUBLISHED))}."
        )
    if own[BASELINE_KEY] == UNTRAINED:
        untrained = parse(UntrainedBody, _with_base(own, over_defaults(own)), path)
        check_names(set(untrained.benchmarks) - {SHARED_KEY}, "benchmarks", path)
        return BaselineFile(path, untrained)
    published = parse(PublishedBody, own, path)
    check_names(published.scores, "scores", path)
    return BaselineFile(path, published)


def _with_base(own: Mapping[str, Any], merged: Mapping[str, Any]) -> dict[str, Any]:
    """Return a baseline's content with what it takes from its defaults."""
    found = {**own, "benchmarks": merged.get("benchmarks", {})}
    policy = merged.get("dpo_model")
    if isinstance(policy, Mapping) and "base_model" in policy:
        found.setdefault("base_model", policy["base_model"])
    return found
