"""Reward draws for the Thompson methods: whole ensemble heads, or noise inside the bounds.

In: `Bounds`, a `RandomStream`. Out: one sampled reward per completion, shape (P, C), in logits.
Source: heads: Osband et al., arXiv 1806.03335 and Dwaracherla et al., arXiv 2402.00396; uniform:
the code of ActiveUltraFeedback, arXiv 2603.09692.
"""

from __future__ import annotations

import numpy as np

from activeuf_core.acquisition import row_choice
from activeuf_core.acquisition.base import Bounds, Floats, Ints
from activeuf_core.acquisition.config import RetryingConfig, ThompsonConfig
from activeuf_core.acquisition.random_stream import RandomStream

FIRST_DRAW, SECOND_DRAW, CHOICE_DRAW = 0, 1, 2
"""Series of a prompt's random numbers; a method uses each for one purpose."""
RETRY_DRAW = 16
"""First of the series for repeated draws."""


def draw_rewards(
    bounds: Bounds,
    stream: RandomStream,
    config: ThompsonConfig,
    draw: int,
    rows: Ints | None = None,
) -> Floats:
    """Draw a reward for each completion of the prompts in `rows` (all when None), padding included.

    heads:    mean + ucb_beta (head_e - mean), with one head e per prompt, uniform over the heads.
    uniform:  mean + ucb_beta z half_width, with z uniform on (-1, 1) per completion.
    """
    mean_RC = bounds.mean_PC if rows is None else bounds.mean_PC[rows]
    if config.noise == "uniform":
        half_RC = bounds.half_width_PC if rows is None else bounds.half_width_PC[rows]
        noise_RC = stream.uniform(draw, mean_RC.shape[1], rows)
        noise_RC *= 2.0 * config.ucb_beta
        noise_RC -= config.ucb_beta
        noise_RC *= half_RC
        noise_RC += mean_RC
        return noise_RC
    assert bounds.heads_EPC is not None, "checked by the registry"
    num_heads = len(bounds.heads_EPC)
    head_R = (stream.uniform(draw, 1, rows)[:, 0] * num_heads).astype(np.int64)
    head_RC = bounds.heads_EPC[head_R, np.arange(len(bounds.mean_PC)) if rows is None else rows]
    return head_RC if config.ucb_beta == 1.0 else mean_RC + config.ucb_beta * (head_RC - mean_RC)


def second_draw(
    bounds: Bounds,
    stream: RandomStream,
    config: RetryingConfig,
    first_P: Ints,
    *,
    sign: float = 1.0,
) -> Ints:
    """Choose a completion other than `first_P` by fresh draws r', shape (P,).

    Published: argmax_{k != first} sign r'_k, one draw, never futile.
    `compat: upstream`: argmax_k sign r'_k, again with a new draw while it equals `first_P`, at most
    `max_iterations` = T draws, then uniform among the others. With q_k the probability of k under
    one draw, j != i has probability q_j (1 - q_i^T) / (1 - q_i) + q_i^T / (n - 1).
    """
    if config.max_iterations is None:
        drawn_PC = sign * draw_rewards(bounds, stream, config, SECOND_DRAW)
        return row_choice.best_except(bounds.fill(drawn_PC, -np.inf), first_P)
    second_P = first_P.copy()
    pending = np.arange(len(first_P))
    for attempt in range(config.max_iterations):
        drawn_RC = sign * draw_rewards(bounds, stream, config, RETRY_DRAW + attempt, pending)
        drawn_RC[~bounds.mask_PC[pending]] = -np.inf
        second_P[pending] = row_choice.best(drawn_RC)
        pending = pending[second_P[pending] == first_P[pending]]
        if not len(pending):
            return second_P
    others_RC = bounds.mask_PC[pending].copy()
    others_RC[np.arange(len(pending)), first_P[pending]] = False
    second_P[pending] = row_choice.random_allowed(others_RC, stream, CHOICE_DRAW, pending)
    return second_P
