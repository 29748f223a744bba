"""Static baselines: random, UltraFeedback, MaxMin, DeltaQwen.

In: `Bounds` with overall scores or model names where the rule reads them. Out: pairs (P, 2).
Source: ActiveUltraFeedback, arXiv 2603.09692, baselines; UltraFeedback, arXiv 2310.01377; delta
learning, arXiv 2507.06187.
Shapes: P prompts, C completions per prompt.
"""

from __future__ import annotations

import numpy as np

from activeuf_core.acquisition import row_choice
from activeuf_core.acquisition.base import Bounds, Ints
from activeuf_core.acquisition.config import (
    DeltaQwenConfig,
    MaxMinConfig,
    RandomConfig,
    UltraFeedbackConfig,
)
from activeuf_core.acquisition.random_stream import RandomStream
from activeuf_core.errors import DataError


def random(bounds: Bounds, stream: RandomStream, config: RandomConfig) -> Ints:
    """Two different completions, every ordered pair with probability 1 / (n (n - 1)).

    The research code draws with replacement, so that a completion can meet itself.
    """
    del config
    u_P2 = stream.uniform(0, 2)
    first_P = (u_P2[:, 0] * bounds.num_valid_P).astype(np.int64)
    second_P = (u_P2[:, 1] * (bounds.num_valid_P - 1)).astype(np.int64)
    second_P += second_P >= first_P
    return row_choice.pairs(
        row_choice.nth_allowed(bounds.mask_PC, first_P),
        row_choice.nth_allowed(bounds.mask_PC, second_P),
    )


def ultrafeedback(bounds: Bounds, stream: RandomStream, config: UltraFeedbackConfig) -> Ints:
    """The best of `num_sampled` random completions, and another of them at random.

    Best by overall score (the published baseline), or by mean reward under `compat: upstream`.
    """
    worth_PC = bounds.mean_PC if config.compat == "upstream" else bounds.overall_score_PC
    assert worth_PC is not None, "checked by the registry"
    key_PC = bounds.fill(stream.uniform(0, bounds.mask_PC.shape[1]), -1.0)
    num_sampled_P = np.minimum(config.num_sampled, bounds.num_valid_P)
    ascending_PC = np.sort(key_PC, axis=1)
    threshold_P = row_choice.at(ascending_PC, key_PC.shape[1] - num_sampled_P)
    sampled_PC = key_PC >= threshold_P[:, None]
    first_P = row_choice.best(np.where(sampled_PC, worth_PC, -np.inf))
    # The keys are independent of the worth, so the largest other key is a uniform choice.
    return row_choice.pairs(first_P, row_choice.best_except(key_PC, first_P))


def maxmin(bounds: Bounds, stream: RandomStream, config: MaxMinConfig) -> Ints:
    """The completions with the highest and the lowest overall score; ties to the lowest index."""
    del stream, config
    assert bounds.overall_score_PC is not None, "checked by the registry"
    best_P = row_choice.best(bounds.fill(bounds.overall_score_PC, -np.inf))
    worst_P = row_choice.best_except(bounds.fill(-bounds.overall_score_PC, -np.inf), best_P)
    return row_choice.pairs(best_P, worst_P)


def deltaqwen(bounds: Bounds, stream: RandomStream, config: DeltaQwenConfig) -> Ints:
    """The completion of `chosen_model` first, that of `rejected_model` second.

    Raises: DataError naming the first prompt that lacks one of the two models.
    """
    del stream
    names_PC = bounds.completion_models_PC
    assert names_PC is not None, "checked by the registry"
    index_2P = []
    for model in (config.chosen_model, config.rejected_model):
        found_PC = (names_PC == model) & bounds.mask_PC
        missing = np.flatnonzero(~found_PC.any(axis=1))
        if len(missing):
            present = sorted(set(names_PC[missing[0]][bounds.mask_PC[missing[0]]]))
            raise DataError(
                f"prompt {bounds.prompt_name(int(missing[0]))} has no completion of {model!r}; it "
                f"has {', '.join(map(str, present))}. Name another model in the acquisition config."
            )
        index_2P.append(found_PC.argmax(axis=1))
    return row_choice.pairs(*index_2P)
