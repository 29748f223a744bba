"""The contract of every acquisition function: bounds and a random stream in, pairs out.

In: `Bounds` of a batch. Out: int64 array (P, 2), two different real completions of each prompt.
Shapes: P prompts, C completions per prompt (padded to the widest), E ensemble heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from activeuf_core.acquisition.random_stream import RandomStream
from activeuf_core.errors import DataError

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Bounds:
    """What is believed about the reward of each completion of a batch of prompts.

    Checked when it is built, so that no rule has to check again. Entries where the mask is False
    are padding: they may hold anything and are never selected.

    Raises: DataError naming the prompt that has fewer than two completions, or a value that is not
        finite, or a lower bound above the upper one; or the array whose shape is wrong.
    """

    mean_PC: Floats
    """Expected reward, in logits."""
    lower_PC: Floats
    upper_PC: Floats
    mask_PC: Bools
    """True where a completion exists."""
    prompt_ids: Sequence[str] = ()
    """Names for error messages; without them a prompt is named by its row."""
    overall_score_PC: Floats | None = None
    """The judge's overall scores, for the rules with `needs_scores`."""
    heads_EPC: Floats | None = None
    """Posterior draws of the reward, for the rules with `needs_heads`."""
    completion_models_PC: NDArray[Any] | None = None
    """Name of the model that wrote each completion, for the rules with `needs_models`."""

    def __post_init__(self) -> None:
        """Check shapes and values."""
        self._check_shapes()
        few_P = self.num_valid_P < 2
        self._refuse(few_P, "has fewer than two completions to compare; leave it out of the batch")
        self._check_finite("mean_PC", self.mean_PC)
        self._check_finite("lower_PC", self.lower_PC)
        self._check_finite("upper_PC", self.upper_PC)
        crossed_PC = (self.lower_PC > self.upper_PC) & self.mask_PC
        self._refuse(np.any(crossed_PC, axis=1), "has a lower bound above its upper bound")
        if self.overall_score_PC is not None:
            self._check_finite("overall_score_PC", self.overall_score_PC)
        if self.heads_EPC is not None:
            self._check_finite("heads_EPC", self.heads_EPC.sum(axis=0))

    @classmethod
    def without_rewards(cls, mask_PC: Bools, **known: Any) -> Bounds:
        """Build bounds for the rules that need no reward model; `known` are further fields."""
        nothing_PC = np.broadcast_to(np.float32(0.0), mask_PC.shape)
        return cls(nothing_PC, nothing_PC, nothing_PC, mask_PC, **known)

    @cached_property
    def num_valid_P(self) -> Ints:
        """Number of real completions of each prompt."""
        return np.count_nonzero(self.mask_PC, axis=1).astype(np.int64)

    @cached_property
    def is_full(self) -> bool:
        """True when no entry is padding."""
        return bool(self.mask_PC.all())

    @cached_property
    def half_width_PC(self) -> Floats:
        """Half the distance between the bounds."""
        return (self.upper_PC - self.lower_PC) * self.upper_PC.dtype.type(0.5)

    def fill(self, value_PC: Floats, padding: float) -> Floats:
        """Return `value_PC` with `padding` where no completion exists; may return it unchanged."""
        return value_PC if self.is_full else np.where(self.mask_PC, value_PC, padding)

    def prompt_name(self, row: int) -> str:
        """Name a prompt for a message: its id, or its row where ids were not given."""
        return repr(self.prompt_ids[row]) if len(self.prompt_ids) else f"in row {row}"

    def _check_shapes(self) -> None:
        """Every array has the mask's shape (heads: behind the first axis)."""
        if self.mask_PC.ndim != 2 or self.mask_PC.dtype != np.bool_:
            raise DataError(
                f"mask_PC has shape {self.mask_PC.shape} and dtype {self.mask_PC.dtype}; expected "
                "a boolean array of shape (prompts, completions)."
            )
        for name in ("mean_PC", "lower_PC", "upper_PC", "overall_score_PC", "completion_models_PC"):
            array = getattr(self, name)
            if array is not None and array.shape != self.mask_PC.shape:
                raise DataError(f"{name} has shape {array.shape}, the mask {self.mask_PC.shape}.")
        if self.heads_EPC is not None and self.heads_EPC.shape[1:] != self.mask_PC.shape:
            raise DataError(
                f"heads_EPC has shape {self.heads_EPC.shape}; expected the number of heads, then "
                f"{self.mask_PC.shape}."
            )
        if len(self.prompt_ids) not in (0, len(self.mask_PC)):
            raise DataError(f"{len(self.prompt_ids)} prompt ids for {len(self.mask_PC)} prompts.")

    def _check_finite(self, name: str, value_PC: Floats) -> None:
        """Refuse NaN and infinity at real completions."""
        wrong_PC = np.logical_and(~np.isfinite(value_PC), self.mask_PC)
        self._refuse(
            np.any(wrong_PC, axis=1), f"has a {name} that is NaN or infinite; check its features"
        )

    def _refuse(self, wrong_P: Bools, what: str) -> None:
        """Raise a DataError that names the first prompts for which `wrong_P` is True."""
        if not wrong_P.any():
            return
        rows = np.flatnonzero(wrong_P)
        names = ", ".join(self.prompt_name(int(row)) for row in rows[:3])
        more = f" (and {len(rows) - 3} more)" if len(rows) > 3 else ""
        raise DataError(f"prompt {names}{more} {what}.")


class AcquisitionFunction(Protocol):
    """A configured rule; `registry.build` makes one from its config."""

    @property
    def needs_bounds(self) -> bool:
        """True when the rule reads rewards, so that a reward model must be trained."""
        ...

    @property
    def needs_heads(self) -> bool:
        """True when the rule reads `Bounds.heads_EPC`."""
        ...

    @property
    def needs_scores(self) -> bool:
        """True when the rule reads `Bounds.overall_score_PC`: the judge must rate before it."""
        ...

    @property
    def needs_models(self) -> bool:
        """True when the rule reads `Bounds.completion_models_PC`."""
        ...

    def select(self, bounds: Bounds, stream: RandomStream) -> Ints:
        """Choose two different completions of each prompt.

        Returns: int64 indices (P, 2). The order says which was selected first, not which is better.
        Raises: DataError when an array that the rule needs is missing from `bounds`.
        """
        ...
