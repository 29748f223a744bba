"""Settings of the stage `candidate_pool`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from activeuf_core.config import StrictModel


class CandidatePoolConfig(StrictModel):
    """Which prompts can be compared at all."""

    min_candidates: int = Field(default=2, ge=2)
    """Prompts with fewer completions are dropped and counted."""
    drop_empty: bool = True
    """Leave out completions without a visible character."""
    drop_unrated: bool = True
    """Leave out completions without an overall score: no comparison with one can be labelled. Of no
    effect when judging is lazy: nothing is rated yet."""
    judging: Literal["eager", "lazy"] = "eager"
    """The dataset's: `lazy`, the pool has no ratings, because the loop has those completions judged
    that it selects."""
