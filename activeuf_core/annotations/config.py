"""Settings of the stage `annotations`: who judges, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from activeuf_core.config import ModelRef, StrictModel


class VerifiableJudge(StrictModel):
    """Checks what can be checked: the prompt's constraints, else its answer; ratings in [1, 5]."""

    mode: Literal["verifiable"]


class PrecomputedJudge(StrictModel):
    """Takes the rating that came with the completion."""

    mode: Literal["precomputed"]
    transform: Literal["identity", "log_odds"] = "identity"
    """`log_odds` turns a probability of winning into a latent score without bounds."""
    clip: float = Field(default=1e-6, gt=0.0, lt=0.5)
    """Probabilities are kept this far from 0 and 1 before the log-odds."""
    missing_values: tuple[float, ...] = ()
    """Ratings that stand for "no rating" in the data, such as a 0 on a scale from 1 to 5."""
    scale: tuple[float, float] | None = None
    """Lowest and highest given rating; null: any number. What lies outside fails a check."""


class RewardModelJudge(StrictModel):
    """Takes a reward model's reward as overall score."""

    mode: Literal["reward_model"]
    model: ModelRef
    max_tokens: int = Field(default=4096, ge=16)
    batch_size: int = Field(default=8, ge=1)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"


class LlmJudge(StrictModel):
    """Asks a model for a digit per aspect; the rating is the expected digit (`llm_judge.py`)."""

    mode: Literal["llm"]
    model: ModelRef
    aspects: tuple[str, ...] = ("instruction_following", "honesty", "truthfulness", "helpfulness")
    min_digit_mass: float = Field(default=0.05, ge=0.0, le=1.0)
    """With less probability than this on the digits 1 to 5, a reply is a missing rating."""
    max_tokens: int = Field(default=4096, ge=64)
    """A longer question is shortened at the end of the completion, and counted."""
    batch_size: int = Field(default=8, ge=1)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"


Judge = Annotated[
    VerifiableJudge | PrecomputedJudge | RewardModelJudge | LlmJudge, Field(discriminator="mode")
]


class AnnotationsConfig(StrictModel):
    """Who judges the completions of one pool member."""

    judge: Judge

    @property
    def is_light(self) -> bool:
        """True for judges that load no model."""
        return self.judge.mode in ("verifiable", "precomputed")
