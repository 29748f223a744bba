"""Settings of the stage `features`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from activeuf_core.config import ModelRef, StrictModel


class FeaturesConfig(StrictModel):
    """Which frozen model turns (prompt, completion) into a vector."""

    not_in_recipe = frozenset({"batch_size"})

    model: ModelRef
    max_tokens: int = Field(default=4096, ge=8)
    """Longer conversations are cut on the right and flagged."""
    batch_size: int = Field(default=64, ge=1)
    """Rows per forward pass; rows are sorted by length, so that little is padding."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the forward pass."""
    storage: Literal["float32", "float16", "bfloat16"] = "float16"
    """Precision on disk. bfloat16 holds values of any size, in 8 bits less precise than float16 by
    three; the loop's replay buffer then keeps them as float32."""
