"""What stands in for an artifact that no stage makes.

Every asset has every partition of its kind. So what an experiment does without (a benchmark that it
leaves out), and what a baseline never had (comparisons, a training), is there too and says so:
nothing is missing for ever. `stand_in_stage.py` writes it; it reads nothing and costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from activeuf_core.config import ModelRef, StrictModel

STAND_IN = "stand_in"
"""The key that tells a stand-in's config from every stage's own."""
LEFT_OUT = "left out"
PUBLISHED = "published"
UNTRAINED = "untrained"
NOTHING = "nothing"


class StandIn(StrictModel):
    """What an artifact is instead of a stage's result.

    left out: a benchmark that the experiment does without. published: a score as somebody reported
    it. untrained: the base model as it is, by reference. nothing: a baseline has no such thing.
    """

    stand_in: Literal["left out", "published", "untrained", "nothing"]
    benchmark: str | None = None
    """A name of the table of benchmarks; of scores."""
    score: float | None = Field(default=None, ge=-0.01, le=1.0)
    parts: dict[str, float] = Field(default_factory=dict)
    """What lies behind a published score: domain → score."""
    source: str = ""
    """Where a published score was reported."""
    base_model: ModelRef | None = None
    """Of an untrained model."""
    seed: int | None = None
    """Of the new head that an untrained reward model gets when it is loaded."""

    @property
    def is_light(self) -> bool:
        """True: many are written by one process."""
        return True


def kind_of_score(record: Mapping[str, Any]) -> str:
    """Return what stands in for a score, `left out` or `published`; '' for a computed one. Args:
    record: the content of score.json.
    """
    if record.get("reason") == LEFT_OUT:
        return LEFT_OUT
    return PUBLISHED if PUBLISHED in record.get("details", {}) else ""


def is_stand_in(config: Mapping[str, Any]) -> bool:
    """Whether a config is that of a stand-in."""
    return STAND_IN in config
