"""Settings of the active-learning loop."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from activeuf_core.acquisition.registry import check_settings
from activeuf_core.config import StrictModel
from activeuf_core.enn.config import ENNConfig


class LoopConfig(StrictModel):
    """One run of the loop: which pairs are labelled, and what learns from the labels."""

    acquisition: dict[str, Any]
    """`name` of the acquisition function and its own parameters; others are errors."""
    enn: ENNConfig = ENNConfig()
    batch_size: int = Field(default=64, ge=1)
    """Prompts between two updates of the ENN."""
    replay_buffer_factor: int = Field(default=100, ge=1)
    """The replay buffer holds this many batches of comparisons; the oldest leave first."""
    budget: int | None = Field(default=None, ge=1)
    """Annotations that may be bought (a comparison costs two); null: one comparison for every prompt."""
    ties: Literal["drop", "keep_first"] = "drop"
    """What happens to a comparison whose overall scores are equal."""
    checkpoint_every: int = Field(default=10, ge=1)
    """Batches between two checkpoints."""
    seed: int = 4

    @model_validator(mode="after")
    def _acquisition_is_known(self) -> LoopConfig:
        check_settings(self.acquisition)
        return self
