"""Which prompts a batch is made of: in a fixed order, or those that the ENN is least sure about.

In: the rule and the seed; for `most_uncertain` a function that gives each prompt's uncertainty.
Out: the prompts of one batch after the other, every prompt once. The prompts that are scored for a
batch are drawn anew from all that are left, from a stream of their own per (seed, batch): a fixed
window would fill up with prompts that were passed over, and then decide nothing.
Cost: `most_uncertain` scores `prompts_scored` prompts per batch, so prompts_scored / batch_size
times the scoring; nothing else.
Shapes: P prompts of the pool, W prompts scored, B prompts of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activeuf_core.loop.config import LoopConfig
from activeuf_core.seeding import generator

TAKEN = "prompts.taken"

Ints = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]
UncertaintyOf = Callable[[Ints], Floats]
"""From prompts (W,) to how unsure the ENN is about each, (W,)."""


@dataclass(frozen=True, eq=False)
class Taken:
    """The prompts of a batch."""

    prompts: Ints
    """Indices into the pool, (B,)."""
    metrics: dict[str, float]
    """What the choice was made from; empty where nothing was scored for it."""


class PromptOrder:
    """Hands out every prompt of the pool once, `batch_size` at a time."""

    def __init__(self, config: LoopConfig, num_prompts: int) -> None:
        self._config = config
        self._order_P = np.arange(num_prompts)
        if config.prompt_selection != "in_order":
            self._order_P = generator(config.seed, "loop", "prompts").permutation(num_prompts)
        self._is_taken_P = np.zeros(num_prompts, dtype=np.bool_)

    def take(self, index: int, uncertainty_of: UncertaintyOf) -> Taken:
        """Return the prompts of a batch; fewer than `batch_size` when no more are left.

        Args: uncertainty_of: asked for `most_uncertain` only; ties go to the earlier in the draw.
        """
        size = self._config.batch_size
        if self._config.prompt_selection != "most_uncertain":
            return Taken(self._order_P[index * size : (index + 1) * size], {})
        scored_W = self._draw(index)
        uncertainty_W = uncertainty_of(scored_W)
        taken_B = np.argsort(-uncertainty_W, kind="stable")[:size]
        self._is_taken_P[scored_W[taken_B]] = True
        metrics = {
            "prompts_scored": float(len(scored_W)),
            "mean_prompt_uncertainty_per_batch": float(uncertainty_W.mean(dtype=np.float64)),
            "mean_taken_prompt_uncertainty_per_batch": float(
                uncertainty_W[taken_B].mean(dtype=np.float64)
            ),
        }
        return Taken(scored_W[taken_B], metrics)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what a checkpoint must hold: nothing where the batch's index says it all."""
        is_adaptive = self._config.prompt_selection == "most_uncertain"
        return {TAKEN: np.flatnonzero(self._is_taken_P)} if is_adaptive else {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from the state of a checkpoint."""
        for taken in state.values():
            self._is_taken_P[taken] = True

    def _draw(self, index: int) -> Ints:
        """Return the prompts to score for a batch, of those that are left."""
        left = self._order_P[~self._is_taken_P[self._order_P]]
        stream = generator(self._config.seed, "loop", "prompts scored", index)
        return stream.permutation(left)[: self._config.prompts_scored]


def widest_bounds(lower_PC: Floats, upper_PC: Floats, mask_PC: NDArray[np.bool_]) -> Floats:
    """Return how unsure the ENN is of each prompt: the widest bounds of its completions, (P,)."""
    return np.where(mask_PC, upper_PC - lower_PC, -np.inf).max(axis=1)
