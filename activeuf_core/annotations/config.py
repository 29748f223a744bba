"""Settings of the stage `annotations`: who judges, and how."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from activeuf_core.annotations.rubric import ASPECTS
from activeuf_core.config import ModelRef, StrictModel
from activeuf_core.errors import choose_from


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


class JudgeServer(StrictModel):
    """A server that speaks OpenAI's protocol: vLLM, SGLang, `transformers serve` and others.

    Where it is and how hard it is worked changes no rating, and so no fingerprint. Its key, where
    it wants one, is read from `$ACTIVEUF_JUDGE_KEY` and stands in no file.
    """

    not_in_recipe = frozenset({"url", "served_as", "concurrency", "timeout_s", "patience_s"})

    url: str | None = None
    """Base of the protocol's addresses, such as http://node7:8000/v1; null: `$ACTIVEUF_JUDGE_URL`,
    which a cluster file can set."""
    served_as: str | None = None
    """What the server calls the model; null: its hub id, of a local model the name in models.yaml.
    """
    concurrency: int = Field(default=64, ge=1)
    """Questions that are on their way at a time."""
    timeout_s: float = Field(default=120.0, gt=0.0)
    """For one reply."""
    patience_s: float = Field(default=900.0, ge=0.0)
    """For one question, with all its repetitions: then the stage ends with an error, and what was
    judged is kept."""
    top_logprobs: int = Field(default=20, ge=0)
    """How many tokens' probabilities to ask for; digits that are not among them count as 0. With 0
    none are asked for, and the rating is the digit that the reply says."""
    reminders: int = Field(default=2, ge=0)
    """How often to ask again, with a reminder, when a reply has too little on digits."""
    extra: dict[str, Any] = Field(default={})
    """More fields of the request, such as chat_template_kwargs: {enable_thinking: false}."""


class LlmJudge(StrictModel):
    """Asks a model for a digit per aspect; the rating is the expected digit (`llm_judge.py`)."""

    mode: Literal["llm"]
    model: ModelRef
    aspects: tuple[str, ...] = Field(
        default=("instruction_following", "honesty", "truthfulness", "helpfulness"), min_length=1
    )
    min_digit_mass: float = Field(default=0.05, ge=0.0, le=1.0)
    """With less probability than this on the digits 1 to 5, a reply is a missing rating."""
    max_tokens: int = Field(default=4096, ge=64)
    """A longer question is shortened at the end of the completion, and counted. Of a server: its
    own limit counts."""
    batch_size: int = Field(default=8, ge=1)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    server: JudgeServer | None = None
    """Null: the model is loaded here. Otherwise a server answers, which has loaded it."""

    @field_validator("aspects")
    @classmethod
    def _aspects_are_known_and_differ(cls, aspects: tuple[str, ...]) -> tuple[str, ...]:
        for name in aspects:
            if name not in ASPECTS:
                raise ValueError(f"unknown aspect {name!r}; {choose_from(name, ASPECTS)}")
        if len(set(aspects)) != len(aspects):
            raise ValueError(f"an aspect stands twice among {', '.join(aspects)}; name each once")
        return aspects


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

    @property
    def loads_model(self) -> bool:
        """True where the stage itself loads one: several processes then divide the work."""
        return not self.is_light and getattr(self.judge, "server", None) is None
