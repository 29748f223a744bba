"""The contract of the loop's reward models: bounds for completions, updates on pairs, full state.

In: features, comparisons. Out: `RewardEstimate`, metrics, a flat dictionary of tensors. Heavy:
needs torch.
Shapes: P prompts, C completions per prompt, D feature size, E draws or ensemble heads, N pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Features = Floats | torch.Tensor
"""Any floating-point type; converted a piece at a time, so a memory map stays on disk."""


@dataclass(frozen=True, eq=False)
class RewardEstimate:
    """Rewards in logits; only differences within a prompt have a meaning. All float32."""

    mean_PC: Floats
    lower_PC: Floats
    upper_PC: Floats
    heads_EPC: Floats
    """Posterior draws: each is one consistent opinion on all completions."""


class RewardUncertainty(Protocol):
    """A reward model that knows what it does not know.

    Deterministic on a CPU: the same seed, calls and number of threads give the same bytes, and so
    do a model and its copy through `state_dict`.
    """

    def bounds(
        self, features_PCD: Features, mask_PC: NDArray[np.bool_] | None = None
    ) -> RewardEstimate:
        """Estimate the reward of each completion.

        Args: mask_PC: True where a completion exists; all when None. What is estimated elsewhere
            has no meaning.
        """
        ...

    def update(
        self,
        chosen_ND: Features,
        rejected_ND: Features,
        *,
        pair_ids_N: NDArray[np.int64],
        progress: float,
    ) -> dict[str, float]:
        """Learn from comparisons; rows are used in the order given.

        Args:
            pair_ids_N: what identifies a comparison whenever it is replayed, such as its number.
            progress: share of the run's prompts handled before this update, 0 to 1.
        Returns: metrics of this update, see each model.
        Raises: DataError when a feature is not finite or training diverged.
        """
        ...

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return all that a later `load_state_dict` needs to go on alike: flat, named tensors."""
        ...

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from a state.

        Raises: DataError naming a tensor that is missing, unknown or of another shape.
        """
        ...
