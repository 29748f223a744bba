"""Sampling with one random number per (prompt, position), so that a draw does not depend on its
neighbours.

In: logits of a batch and the prompts' own random numbers. Out: the chosen tokens. The numbers of a
prompt depend on (seed, member, prompt id, position) alone, whatever the batch, its order, or the
point where a run was resumed. The logits themselves differ in their last bits with the batch's
padding and the hardware, so a token changes only where its number lies that close to the border
between two tokens. Shapes: B prompts of the batch, V tokens of the vocabulary, T positions. Heavy:
imports torch and transformers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import LogitsProcessor

from activeuf_core.errors import DataError
from activeuf_core.seeding import generator


def uniforms(seed: int, member: str, prompt_ids: Sequence[str], length: int) -> torch.Tensor:
    """Return each prompt's random numbers in [0, 1), shape (B, T)."""
    rows = [
        generator(seed, "sampling", member, prompt_id).random(length) for prompt_id in prompt_ids
    ]
    return torch.from_numpy(np.stack(rows))


def choose_tokens(
    logits_BV: torch.Tensor, uniforms_B: torch.Tensor, temperature: float, top_p: float
) -> torch.Tensor:
    """Return one token per row by inverting the cumulative distribution at the row's number, shape
    (B,).

    Args: temperature: 0 takes the likeliest token. top_p: only the fewest likeliest tokens that
    hold this much probability can be drawn.
    Raises: DataError when logits are NaN.
    """
    if torch.isnan(logits_BV).any():
        raise DataError(
            "the model gives NaN instead of logits. Its weights are damaged, or dtype is too "
            "narrow for it: try dtype: float32."
        )
    if temperature == 0.0:
        return logits_BV.argmax(-1)
    mass_BV = torch.softmax(logits_BV.double() / temperature, dim=-1)
    order_BV = None
    if top_p < 1.0:
        mass_BV, order_BV = mass_BV.sort(dim=-1, descending=True, stable=True)
        before_BV = mass_BV.cumsum(-1) - mass_BV
        mass_BV = mass_BV.masked_fill(before_BV >= top_p, 0.0)
    cumulative_BV = mass_BV.cumsum(-1)
    targets_B1 = uniforms_B[:, None] * cumulative_BV[:, -1:]
    # right=True: the first token whose cumulative mass exceeds the target, never one without mass.
    places_B1 = torch.searchsorted(cumulative_BV, targets_B1, right=True)
    places_B1 = places_B1.clamp(max=logits_BV.shape[-1] - 1)
    chosen_B1 = places_B1 if order_BV is None else order_BV.gather(1, places_B1)
    return chosen_B1[:, 0]


class OwnNumbers(LogitsProcessor):
    """Makes greedy decoding follow `choose_tokens`: all other logits become -inf."""

    def __init__(
        self, uniforms_BT: torch.Tensor, prompt_width: int, temperature: float, top_p: float
    ) -> None:
        """Take the numbers of a batch, shape (B, T), whose prompts are padded to one width."""
        self._uniforms_BT = uniforms_BT
        self._prompt_width = prompt_width
        self._temperature = temperature
        self._top_p = top_p

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Choose the token at the position after `input_ids`, shape (B, width so far)."""
        position = input_ids.shape[1] - self._prompt_width
        numbers_B = self._uniforms_BT[:, position]
        chosen_B = choose_tokens(scores, numbers_B, self._temperature, self._top_p)
        only_BV = torch.full_like(scores, float("-inf"))
        return only_BV.scatter_(1, chosen_B[:, None], 0.0)
