"""Acquisition functions that look for a large reward gap: DRTS, DeltaUCB, DeltaQuantile.

In: `Bounds`, and posterior draws for DRTS. Out: pairs (P, 2), the likely winner first.
Source: ActiveUltraFeedback, arXiv 2603.09692, section on DRTS and DeltaUCB, and its code.
Shapes: P prompts, C completions per prompt. m, L, U: mean, lower and upper reward, in logits.
"""

from __future__ import annotations

import numpy as np

from activeuf_core.acquisition import row_choice
from activeuf_core.acquisition.base import Bounds, Floats, Ints
from activeuf_core.acquisition.config import DeltaQuantileConfig, DeltaUCBConfig, DRTSConfig
from activeuf_core.acquisition.random_stream import RandomStream
from activeuf_core.acquisition.thompson import two_winners

CHUNK_VALUES = 1 << 18
"""Gaps held at a time by DeltaQuantile: 2 MB."""


def drts(bounds: Bounds, stream: RandomStream, config: DRTSConfig) -> Ints:
    """Double reversed Thompson sampling: highest of one draw against lowest of another.

    i = argmax_k r_k,  j = argmin_{k != i} r'_k,  r and r' independent draws of the rewards.
    Under `compat: upstream`, j = argmin_k r'_k drawn again while j = i, as in `dts`.
    """
    return two_winners(bounds, stream, config, sign=-1.0)


def deltaucb(bounds: Bounds, stream: RandomStream, config: DeltaUCBConfig) -> Ints:
    """The pair with the largest optimistic gap: argmax_{i != j} U_i - L_j, in O(C).

    The best i and the best j are found apart; where they are one completion, the better of
    (i, second j) and (second i, j) is taken. Ties go to the lower index.
    """
    del stream, config
    upper_PC = bounds.fill(bounds.upper_PC, -np.inf)
    low_PC = bounds.fill(-bounds.lower_PC, -np.inf)
    first_P, second_P = row_choice.best(upper_PC), row_choice.best(low_PC)
    clash = np.flatnonzero(first_P == second_P)
    if len(clash):
        upper_RC, low_RC, arm_R = upper_PC[clash], low_PC[clash], first_P[clash]
        other_first_R = row_choice.best_except(upper_RC, arm_R)
        other_second_R = row_choice.best_except(low_RC, arm_R)
        keep_R = row_choice.at(upper_RC, arm_R) + row_choice.at(low_RC, other_second_R)
        swap_R = row_choice.at(upper_RC, other_first_R) + row_choice.at(low_RC, arm_R)
        kept_R = (keep_R > swap_R) | ((keep_R == swap_R) & (arm_R < other_first_R))
        first_P[clash] = np.where(kept_R, arm_R, other_first_R)
        second_P[clash] = np.where(kept_R, other_second_R, arm_R)
    return row_choice.pairs(first_P, second_P)


def deltaquantile(bounds: Bounds, stream: RandomStream, config: DeltaQuantileConfig) -> Ints:
    """A pair near a quantile of the optimistic gaps.

    Sort a prompt's n = K (K - 1) ordered pairs by decreasing U_i - L_j; among the ranks from
    floor(n (quantile - epsilon)) up to floor(n (quantile + epsilon)), at least one, take the pair
    with the largest U_i. Pairs whose gaps equal those at the ends of the window count as inside.
    Only pairs that can be in the window are sorted, see `_places_within`.
    """
    del stream
    num_pairs_P = bounds.num_valid_P * (bounds.num_valid_P - 1)
    start_P = (num_pairs_P * (config.quantile - config.epsilon)).astype(np.int64)
    start_P = np.minimum(start_P, num_pairs_P - 1)
    end_P = (num_pairs_P * (config.quantile + config.epsilon)).astype(np.int64)
    end_P = np.minimum(np.maximum(end_P, start_P + 1), num_pairs_P)
    upper_PC = bounds.fill(bounds.upper_PC, -np.inf)
    low_PC = bounds.fill(-bounds.lower_PC, -np.inf)
    places_2K = _places_within(upper_PC.shape[1], int(end_P.max(initial=1)))
    result_P2 = np.empty((len(upper_PC), 2), dtype=np.int64)
    step = max(1, CHUNK_VALUES // places_2K.shape[1])
    for begin in range(0, len(upper_PC), step):
        part = slice(begin, begin + step)
        result_P2[part] = _best_in_window(
            upper_PC[part], low_PC[part], places_2K, start_P[part], end_P[part]
        )
    return result_P2


def _places_within(num_completions: int, end: int) -> Ints:
    """Places (a, b) in the two sorted lists that the first `end` pairs can come from, shape (2, K).

    The lists are the U and the -L of a prompt in decreasing order. With m and M the smaller and the
    larger of a + 1 and b + 1, the m M places up to (a, b) hold at most m pairs of a completion with
    itself, so at least m (M - 1) - 1 other pairs come before it.
    """
    place = np.arange(1, num_completions + 1)
    smaller = np.minimum(place[:, None], place[None, :])
    larger = np.maximum(place[:, None], place[None, :])
    return np.stack(np.nonzero(smaller * (larger - 1) <= end)).astype(np.int64)


def _best_in_window(
    upper_RC: Floats, low_RC: Floats, places_2K: Ints, start_R: Ints, end_R: Ints
) -> Ints:
    """The pair with the largest U_i among the ranks from `start_R` to before `end_R`, shape (R, 2).

    The window is found by the gaps at its ends: sorting values is five times faster than sorting
    indices, and gives the same answer on every processor when gaps are equal.
    """
    by_upper_RC = np.argsort(-upper_RC, axis=1, kind="stable")
    by_low_RC = np.argsort(-low_RC, axis=1, kind="stable")
    first_RK, second_RK = by_upper_RC[:, places_2K[0]], by_low_RC[:, places_2K[1]]
    first_upper_RK = np.take_along_axis(upper_RC, by_upper_RC, axis=1)[:, places_2K[0]]
    second_low_RK = np.take_along_axis(low_RC, by_low_RC, axis=1)[:, places_2K[1]]
    gap_RK = np.add(first_upper_RK, second_low_RK, dtype=np.float64)
    gap_RK[first_RK == second_RK] = -np.inf
    ascending_RK = np.sort(gap_RK, axis=1)
    num_places = gap_RK.shape[1]
    widest_R1 = row_choice.at(ascending_RK, num_places - 1 - start_R)[:, None]
    narrowest_R1 = row_choice.at(ascending_RK, num_places - end_R)[:, None]
    inside_RK = (gap_RK <= widest_R1) & (gap_RK >= narrowest_R1)
    chosen_R = row_choice.best(np.where(inside_RK, first_upper_RK, -np.inf))
    return row_choice.pairs(row_choice.at(first_RK, chosen_R), row_choice.at(second_RK, chosen_R))
