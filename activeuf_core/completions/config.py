"""Settings of the stage `completions`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from activeuf_core.config import DataRef, ModelRef, StrictModel


class SamplingConfig(StrictModel):
    """How a pool member decodes. The defaults are those of the ActiveUltraFeedback pool."""

    temperature: float = Field(default=1.0, ge=0.0, le=5.0)
    """0 decodes greedily."""
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    max_new_tokens: int = Field(default=4096, ge=1)
    seed: int = 0


class CompletionsConfig(StrictModel):
    """How one member of the model pool answers the prompts: from a record, or by generating."""

    member: str
    """Name of the pool member: the `model` of its rows."""
    mode: Literal["recorded", "generate"]
    source: DataRef | None = None
    """Where recorded completions lie (mode `recorded`)."""
    recorded_as: str | None = None
    """The member's name in the record, null: its own. Hub names contain `/`, keys cannot."""
    subset: str | None = None
    split: str = "train"
    rating_column: str | None = None
    """Column of a recorded completion that holds a judgement, kept as `given_rating`."""
    model: ModelRef | None = None
    """The model that generates (mode `generate`)."""
    principles: bool = False
    """Draw a principle by the prompt's source, and one of its system prompts (`principles.py`)."""
    system_prompt: str | None = None
    """One fixed system prompt; not together with `principles`."""
    sampling: SamplingConfig = SamplingConfig()
    batch_size: int = Field(default=16, ge=1)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"

    @model_validator(mode="after")
    def _mode_has_its_source(self) -> CompletionsConfig:
        needed = "source" if self.mode == "recorded" else "model"
        if getattr(self, needed) is None:
            raise ValueError(f"mode {self.mode!r} needs {needed!r}")
        if self.principles and self.system_prompt:
            raise ValueError("'principles' and 'system_prompt' exclude each other; keep one")
        return self

    @property
    def is_light(self) -> bool:
        """True for a record: nothing is generated."""
        return self.mode == "recorded"
