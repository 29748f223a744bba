"""Settings of the active-learning loop."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from activeuf_core.acquisition.config import AcquisitionConfig
from activeuf_core.annotations.config import Judge
from activeuf_core.config import StrictModel
from activeuf_core.enn.config import ENNConfig, RewardUncertaintyConfig


class LoopConfig(StrictModel):
    """One run of the loop: which pairs are labelled, and what learns from the labels."""

    not_in_recipe = frozenset({"checkpoint_every"})

    acquisition: AcquisitionConfig
    """`method` names the acquisition function; a parameter that it does not use is unknown."""
    enn: RewardUncertaintyConfig = ENNConfig()
    """The reward model that learns from the labels; without `method`, the ensemble."""
    batch_size: int = Field(default=64, ge=1)
    """Prompts between two updates of the ENN."""
    replay_buffer_factor: int = Field(default=100, ge=1)
    """The replay buffer holds this many batches of comparisons; the oldest leave first."""
    budget: int | None = Field(default=None, ge=2)
    """Annotations that may be bought (a comparison costs two); null: a comparison per prompt."""
    prompt_selection: Literal["shuffled", "in_order", "most_uncertain"] = "shuffled"
    """Which prompts come next: all in an order drawn once; all in the pool's order; or, of
    `prompts_scored` drawn from those that are left, the ones with the widest bounds."""
    prompts_scored: int | None = Field(default=None, ge=2)
    """Prompts scored to choose a batch from; with `prompt_selection: most_uncertain` only."""
    ties: Literal["drop", "keep_first"] = "drop"
    """What happens to a comparison whose overall scores are equal."""
    judging: Literal["eager", "lazy"] = "eager"
    """The dataset's: `eager`, every completion was judged before the loop; `lazy`, the loop has
    those judged that it selects."""
    judge: Judge | None = None
    """The dataset's judge, when judging is lazy."""
    checkpoint_every: int = Field(default=10, ge=1)
    """Batches between two checkpoints."""
    seed: int = 4

    @model_validator(mode="after")
    def _scoring_prompts_has_a_use(self) -> LoopConfig:
        is_adaptive = self.prompt_selection == "most_uncertain"
        if is_adaptive != (self.prompts_scored is not None):
            raise ValueError(
                f"prompt_selection is {self.prompt_selection!r} and prompts_scored "
                f"{self.prompts_scored!r}: give both (most_uncertain, and for instance "
                f"{8 * self.batch_size}) or neither"
            )
        if self.prompts_scored is not None and self.prompts_scored <= self.batch_size:
            raise ValueError(
                f"prompts_scored is {self.prompts_scored}, batch_size {self.batch_size}: there is "
                "a choice only among more prompts than a batch has"
            )
        return self

    @model_validator(mode="after")
    def _lazy_has_a_judge_that_costs(self) -> LoopConfig:
        if (self.judging == "lazy") != (self.judge is not None):
            raise ValueError("judging and judge are those of the dataset: set them there")
        if self.judge is None:
            return self
        if self.judge.mode not in ("llm", "reward_model"):
            raise ValueError(
                f"judging: lazy saves nothing with the dataset's judge.mode {self.judge.mode!r}, "
                "whose ratings cost nothing; allowed: llm, reward_model; or set judging: eager"
            )
        if self.acquisition.needs_scores:
            raise ValueError(
                f"acquisition.method {self.acquisition.method!r} ranks completions by the judge's "
                "overall scores, so all of them must be judged before: set judging: eager for the "
                "dataset, or choose another method"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _enn_is_an_ensemble_by_default(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("enn"), dict):
            return {**data, "enn": {"method": "ensemble", **data["enn"]}}
        return data
