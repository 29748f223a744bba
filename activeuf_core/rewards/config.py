"""Settings of rewards: which ones, how much each counts, what an answer looks like."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from activeuf_core.annotations.config import JudgeServer
from activeuf_core.config import ModelRef, StrictModel


class Tags(StrictModel):
    """The four tags that divide a completion into its reasoning and its answer."""

    reasoning_start: str = Field(default="<reasoning>", min_length=1)
    reasoning_end: str = Field(default="</reasoning>", min_length=1)
    answer_start: str = Field(default="<answer>", min_length=1)
    answer_end: str = Field(default="</answer>", min_length=1)

    @model_validator(mode="after")
    def _differ(self) -> Tags:
        """No tag may be part of another one: counting tags would have no meaning."""
        tags = list(self.model_dump().values())
        for index, tag in enumerate(tags):
            if any(tag in other for at, other in enumerate(tags) if at != index):
                raise ValueError(f"tag {tag!r} is part of another tag of {tags}; make all differ")
        return self


class AnswerSettings(StrictModel):
    """When an answer counts as the gold answer, and when as close to it."""

    units: tuple[str, ...] = ("dollars", "dollar", "percent")
    """Words that may follow a number without changing it. The default says in words what the signs
    $ and %, which are dropped too, say: other units can change an answer (cm, m)."""
    tolerance: float = Field(default=0.1, gt=0.0, lt=1.0)
    """Share of the gold answer by which a partial answer may be off."""
    wide_tolerance: float = Field(default=0.2, gt=0.0, lt=1.0)
    """The same for the second, wider count; not below `tolerance`."""
    absolute_tolerance: float = Field(default=1e-6, ge=0.0)
    """Distance at which two numbers are the same number, whatever their size."""

    @model_validator(mode="after")
    def _wider(self) -> AnswerSettings:
        """The wide band holds the narrow one."""
        if self.wide_tolerance < self.tolerance:
            raise ValueError(
                f"wide_tolerance {self.wide_tolerance:g} is below tolerance {self.tolerance:g}"
            )
        return self


class JudgeReward(StrictModel):
    """A language model behind a server that rates completions by a rubric."""

    not_in_recipe = frozenset({"cache"})

    model: ModelRef
    server: JudgeServer = JudgeServer()
    min_digit_mass: float = Field(default=0.05, ge=0.0, le=1.0)
    """With less probability than this on the digits 1 to 5, a reply is no rating, and the
    completion has no reward."""
    rubric: str = ""
    """Used for rows without a rubric of their own; with neither, a general question is asked."""
    cache: bool = True
    """Keep answers in the cache of judgements, when the caller has one."""


class Reward(StrictModel):
    """One reward function beside the set; weight 0: logged, and not trained on."""

    name: str
    weight: float = 1.0


class RewardsConfig(StrictModel):
    """The rewards of a training: a set of four, and others beside it."""

    set: Literal["strict", "legacy", "none"] = "strict"
    """`strict`: the corrected four. `legacy`: the four as a widely copied notebook has them, to the
    last bit, for comparison with runs that used them."""
    weights: dict[str, float] = Field(default={})
    """Weights of rewards of the set, by name; 1 where nothing is said."""
    extra: tuple[Reward, ...] = ()
    tags: Tags = Tags()
    answer: AnswerSettings = AnswerSettings()
    judge: JudgeReward | None = None
    """Needed by the reward `llm_judge`, and by nothing else."""
