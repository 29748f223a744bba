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
CHUNK_ROWS = 1024
"""Prompts for which noise is drawn at a time: 250 KB at 30 completions, which stay in the cache."""
PAIRED_ROWS = {"heads": 8 * CHUNK_ROWS, "uniform": CHUNK_ROWS // 2}
"""Prompts for which both draws of a rule are made at a time, by `noise`: a head is read, not drawn
completion by completion."""


def draw_rewards(
    bounds: Bounds,
    stream: RandomStream,
    config: ThompsonConfig,
    draw: int | Ints,
    rows: Ints | None = None,
) -> Floats:
    """Draw a reward for each completion of the prompts in `rows` (all when None), padding included.

    heads:    mean + ucb_beta (head_e - mean), with one head e per prompt, uniform over the heads.
    uniform:  mean + ucb_beta z half_width, with z uniform on (-1, 1) per completion.
    """
    rows = np.arange(len(bounds.mean_PC)) if rows is None else rows
    draw_R = np.full(len(rows), draw) if isinstance(draw, int) else draw
    if config.noise == "heads":
        return _draw_heads(bounds, stream, config.ucb_beta, draw_R, rows)
    drawn_RC = np.empty((len(rows), bounds.mean_PC.shape[1]))
    for start in range(0, len(rows), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        _draw_uniform(bounds, stream, config.ucb_beta, draw_R[part], rows[part], drawn_RC[part])
    return drawn_RC


def _draw_heads(
    bounds: Bounds, stream: RandomStream, beta: float, draw_R: Ints, rows: Ints
) -> Floats:
    assert bounds.heads_EPC is not None, "checked by the registry"
    head_R = (stream.uniform(draw_R, 1, rows)[:, 0] * len(bounds.heads_EPC)).astype(np.int64)
    head_RC = bounds.heads_EPC[head_R, rows]
    if beta == 1.0:
        return head_RC
    mean_RC = bounds.mean_PC[rows]
    return mean_RC + beta * (head_RC - mean_RC)


def _draw_uniform(
    bounds: Bounds, stream: RandomStream, beta: float, draw_R: Ints, rows: Ints, out_RC: Floats
) -> None:
    np.multiply(stream.uniform(draw_R, out_RC.shape[1], rows), 2.0 * beta, out=out_RC)
    out_RC -= beta
    out_RC *= bounds.half_width_PC[rows]
    out_RC += bounds.mean_PC[rows]


def two_winners(
    bounds: Bounds, stream: RandomStream, config: RetryingConfig, *, sign: float = 1.0
) -> Ints:
    """Choose the winner of one draw, and another completion by a fresh draw r', shape (P, 2).

    Published: argmax_{k != first} sign r'_k, one draw, never futile. Both draws are made at once
    for as many prompts as fit in the cache, up to the choice.
    `compat: upstream`: argmax_k sign r'_k, again with a new draw while it equals the first, at most
    `max_iterations` = T draws, then uniform among the others. With q_k the probability of k under
    one draw, j != i has probability q_j (1 - q_i^T) / (1 - q_i) + q_i^T / (n - 1).
    """
    if config.max_iterations is not None:
        drawn_PC = bounds.fill(draw_rewards(bounds, stream, config, FIRST_DRAW), -np.inf)
        first_P = row_choice.best(drawn_PC)
        second_P = _retried(bounds, stream, config, first_P, sign, config.max_iterations)
        return row_choice.pairs(first_P, second_P)
    num_prompts, num_completions = bounds.mask_PC.shape
    result_P2 = np.empty((num_prompts, 2), dtype=np.int64)
    step = PAIRED_ROWS[config.noise]
    for start in range(0, num_prompts, step):
        part = slice(start, min(start + step, num_prompts))
        rows = np.arange(part.start, part.stop)
        draws = np.repeat([FIRST_DRAW, SECOND_DRAW], len(rows))
        both_RC = draw_rewards(bounds, stream, config, draws, np.tile(rows, 2))
        drawn_2RC = both_RC.reshape(2, len(rows), num_completions)
        drawn_2RC[1] *= sign
        if not bounds.is_full:
            drawn_2RC[:, ~bounds.mask_PC[part]] = -np.inf
        result_P2[part, 0] = first_R = row_choice.best(drawn_2RC[0])
        drawn_2RC[1, np.arange(len(rows)), first_R] = -np.inf
        result_P2[part, 1] = row_choice.best(drawn_2RC[1])
    return result_P2


def _retried(
    bounds: Bounds,
    stream: RandomStream,
    config: RetryingConfig,
    first_P: Ints,
    sign: float,
    max_iterations: int,
) -> Ints:
    """The research code's second completion, see `two_winners`, shape (P,)."""
    second_P = first_P.copy()
    pending, attempt = np.arange(len(first_P)), 0
    while len(pending) and attempt < max_iterations:
        # The fewer prompts are left, the more of their attempts are made at a time.
        ahead = min(max(1, len(first_P) // len(pending)), max_iterations - attempt)
        rows = np.repeat(pending, ahead)
        draws = np.tile(RETRY_DRAW + attempt + np.arange(ahead), len(pending))
        drawn_RC = draw_rewards(bounds, stream, config, draws, rows)
        drawn_RC *= sign
        drawn_RC[~bounds.mask_PC[rows]] = -np.inf
        winner_RA = row_choice.best(drawn_RC).reshape(len(pending), ahead)
        differs_RA = winner_RA != first_P[pending, None]
        second_P[pending] = row_choice.at(winner_RA, differs_RA.argmax(axis=1))
        pending, attempt = pending[~differs_RA.any(axis=1)], attempt + ahead
    others_RC = bounds.mask_PC[pending].copy()
    others_RC[np.arange(len(pending)), first_P[pending]] = False
    second_P[pending] = row_choice.random_allowed(others_RC, stream, CHOICE_DRAW, pending)
    return second_P
