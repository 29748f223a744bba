"""Acquisition functions of duelling bandits: DTS, InfoMax, InfoGain, IDS, RUCB, MaxMinLCB.

In: `Bounds`, and posterior draws for the Thompson methods. Out: pairs (P, 2).
Source: ActiveUltraFeedback, arXiv 2603.09692, and the paper named in each function.
Shapes: P prompts, C completions per prompt. m, L, U: mean, lower and upper reward, in logits;
s = (U - L) / 2; sigma: the logistic function.
"""

from __future__ import annotations

import numpy as np

from activeuf_core.acquisition import row_choice
from activeuf_core.acquisition.base import Bounds, Floats, Ints
from activeuf_core.acquisition.config import (
    DTSConfig,
    IDSConfig,
    InfoGainConfig,
    InfoMaxConfig,
    MaxMinLCBConfig,
    RUCBConfig,
)
from activeuf_core.acquisition.random_stream import RandomStream
from activeuf_core.acquisition.thompson import (
    CHOICE_DRAW,
    FIRST_DRAW,
    SECOND_DRAW,
    draw_rewards,
    two_winners,
)

CHUNK_VALUES = 1 << 15
"""Values per array in InfoMax's inner loop: 256 KiB, so that its arrays stay in the cache."""
GRID_STEPS = 100
"""Probabilities that the research code's IDS tries."""
SMALLEST = 1e-300
"""Divisor in place of zero: far below any squared reward, and its inverse is finite."""


def dts(bounds: Bounds, stream: RandomStream, config: DTSConfig) -> Ints:
    """Double Thompson sampling: the winners of two independent draws of the rewards.

    i = argmax_k r_k,  j = argmax_{k != i} r'_k.
    Wu and Liu 2016, arXiv 1604.07101, without the comparison of a completion with itself. The
    research code draws again while j = i, and then picks at random: `compat: upstream`.
    """
    return two_winners(bounds, stream, config)


def infogain(bounds: Bounds, stream: RandomStream, config: InfoGainConfig) -> Ints:
    """A Thompson draw, and the completion whose comparison with it is most uncertain.

    i = argmax_k r_k,  j = argmax_{k != i} sigma(U_i - L_k) - sigma(L_i - U_k).
    """
    drawn_PC = bounds.fill(draw_rewards(bounds, stream, config, FIRST_DRAW), -np.inf)
    first_P = row_choice.best(drawn_PC)
    upper_P1 = row_choice.at(bounds.upper_PC, first_P)[:, None]
    lower_P1 = row_choice.at(bounds.lower_PC, first_P)[:, None]
    certain_PC = _certainty(upper_P1, lower_P1, bounds.upper_PC, bounds.lower_PC)
    return row_choice.pairs(
        first_P, row_choice.best_except(bounds.fill(-certain_PC, -np.inf), first_P)
    )


def infomax(bounds: Bounds, stream: RandomStream, config: InfoMaxConfig) -> Ints:
    """The pair whose probability of winning has the widest bounds, the lower index first.

    argmax_{i < j} sigma(U_i - L_j) - sigma(L_i - U_j); the expression is symmetric in i and j. A
    bounds form of the infomax of Dwaracherla et al., arXiv 2402.00396. It does not separate into a
    part of i and a part of j, so all pairs are tried, one row of the C x C table at a time.
    """
    del stream, config
    num_prompts, num_completions = bounds.mask_PC.shape
    # Padding is certain to lose and to win, against anything: certainty 2, the most there is.
    upper_PC = bounds.fill(bounds.upper_PC, -np.inf)
    lower_PC = bounds.fill(bounds.lower_PC, np.inf)
    result_P2 = np.empty((num_prompts, 2), dtype=np.int64)
    step = max(1, CHUNK_VALUES // num_completions)
    for start in range(0, num_prompts, step):
        part = slice(start, start + step)
        result_P2[part] = _least_certain_pair(
            upper_PC[part].T.astype(np.float64, order="C"),
            lower_PC[part].T.astype(np.float64, order="C"),
        )
    return result_P2


def ids(bounds: Bounds, stream: RandomStream, config: IDSConfig) -> Ints:
    """Information-directed sampling: the greedy completion and its most worthwhile challenger.

    g = argmax m;  Delta_k = m_g - m_k;  delta = max_k beta (s_g + s_k) - Delta_k, at least 0, the
    optimistic regret of g;  I_k = log(1 + (s_g^2 + s_k^2) / noise_variance).
    The challenger minimises min_p (delta + p Delta_k)^2 / (p I_k) over 0 < p <= 1, reached at
    p = min(1, delta / Delta_k): 4 delta Delta_k / I_k, or (delta + Delta_k)^2 / I_k when
    Delta_k <= delta. After Kirschner and Krause 2021, arXiv 2105.11802; their other outcome, g
    against itself, compares nothing, so the challenger is always played.
    `compat: upstream`: see `_upstream_ids`.
    """
    del stream
    if config.compat == "upstream":
        return _upstream_ids(bounds, config)
    greedy_P = row_choice.best(bounds.fill(bounds.mean_PC, -np.inf))
    half_P1 = row_choice.at(bounds.half_width_PC, greedy_P)[:, None].astype(np.float64)
    gap_PC = row_choice.at(bounds.mean_PC, greedy_P)[:, None] - bounds.mean_PC.astype(np.float64)
    optimism_PC = config.ucb_beta * (half_P1 + bounds.half_width_PC) - gap_PC
    optimism_PC[np.arange(len(greedy_P)), greedy_P] = 0.0
    regret_P1 = bounds.fill(optimism_PC, 0.0).max(axis=1, initial=0.0, keepdims=True)
    variance_PC = half_P1**2 + bounds.half_width_PC**2
    information_PC = np.log1p(variance_PC / config.noise_variance)
    # Divided by delta, which orders the challengers alike and has a limit at delta = 0.
    cost_PC = np.where(
        gap_PC <= regret_P1,
        (regret_P1 + gap_PC) ** 2 / np.maximum(regret_P1, SMALLEST),
        4.0 * gap_PC,
    )
    worth_PC = information_PC / np.maximum(cost_PC, SMALLEST)
    return row_choice.pairs(
        greedy_P, row_choice.best_except(bounds.fill(worth_PC, -np.inf), greedy_P)
    )


def rucb(bounds: Bounds, stream: RandomStream, config: RUCBConfig) -> Ints:
    """Relative UCB: a random possible winner c, and the completion most likely to beat it.

    c uniform on {i: m_i + beta s_i + buffer >= m_k - beta s_k for all k != i}, never empty;
    j = argmax_{k != c} m_k + beta s_k. Zoghi et al. 2014, arXiv 1312.3393: the condition is theirs,
    sigma(optimistic m_i - m_k) >= 1/2, written for rewards.
    `compat: upstream`: c uniform on {i: m_i + beta s_i > 0.5 - buffer}, on all when that is empty.
    """
    width_PC = config.ucb_beta * bounds.half_width_PC
    high_PC = bounds.fill(bounds.mean_PC + width_PC, -np.inf)
    if config.compat == "upstream":
        possible_PC = high_PC > 0.5 - config.decision_buffer
        possible_PC[~possible_PC.any(axis=1)] = True
        possible_PC &= bounds.mask_PC
    else:
        low_PC = bounds.fill(bounds.mean_PC - width_PC, -np.inf)
        possible_PC = high_PC + config.decision_buffer >= row_choice.best_of_others(low_PC)
        possible_PC &= bounds.mask_PC
    first_P = row_choice.random_allowed(possible_PC, stream, CHOICE_DRAW)
    return row_choice.pairs(first_P, row_choice.best_except(high_PC, first_P))


def maxminlcb(bounds: Bounds, stream: RandomStream, config: MaxMinLCBConfig) -> Ints:
    """MaxMinLCB: the completion with the best worst case, and the rival that makes it so, in O(C).

    LCB_ij = (m_i - m_j) - beta (s_i + s_j) = low_i - high_j;  i = argmax_i min_{j != i} LCB_ij;
    j = argmin_{j != i} LCB_ij. It separates: i has the best low_i minus highest other high, j is
    that other. Pasztor, Kassraie and Krause 2024, arXiv 2406.16745. Their candidate set, {i: high_i
    > low_k for all k != i}, is left out because it changes nothing: the two highest highs are in it
    when it has two members, and whoever is not in it has a lower low than someone who is.
    """
    width_PC = config.ucb_beta * bounds.half_width_PC
    low_PC = bounds.fill(bounds.mean_PC - width_PC, -np.inf)
    high_PC = bounds.fill(bounds.mean_PC + width_PC, -np.inf)
    worst_PC = low_PC - row_choice.best_of_others(high_PC)
    first_P = row_choice.best_within(worst_PC, config.argmax_tol, stream, FIRST_DRAW)
    rival_PC = high_PC.copy()
    rival_PC[np.arange(len(first_P)), first_P] = -np.inf
    second_P = row_choice.best_within(rival_PC, config.argmax_tol, stream, SECOND_DRAW)
    return row_choice.pairs(first_P, second_P)


def _certainty(upper_i: Floats, lower_i: Floats, upper_j: Floats, lower_j: Floats) -> Floats:
    """1 - (sigma(U_i - L_j) - sigma(L_i - U_j)) = sigma(L_j - U_i) + sigma(L_i - U_j).

    A sum of two positive terms: no cancellation where both probabilities are close to 0 or 1.
    """
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(upper_i - lower_j)) + 1.0 / (1.0 + np.exp(upper_j - lower_i))


def _least_certain_pair(upper_CR: Floats, lower_CR: Floats) -> Ints:
    """Minimise `_certainty` over i < j for each of R prompts; returns shape (R, 2)."""
    least_CR = np.full(upper_CR.shape, np.inf)
    for i in range(len(upper_CR) - 1):
        certain_JR = _certainty(upper_CR[i], lower_CR[i], upper_CR[i + 1 :], lower_CR[i + 1 :])
        least_CR[i] = certain_JR.min(axis=0)
    column = np.arange(upper_CR.shape[1])
    i_R = least_CR.argmin(axis=0)
    certain_CR = _certainty(upper_CR[i_R, column], lower_CR[i_R, column], upper_CR, lower_CR)
    certain_CR[np.arange(len(upper_CR))[:, None] <= i_R] = np.inf
    return row_choice.pairs(i_R, certain_CR.argmin(axis=0))


def _upstream_ids(bounds: Bounds, config: IDSConfig) -> Ints:
    """The research code's IDS, wrong in three ways, for comparison with its results.

    Candidates: m_k + beta s_k > 0.5; M: the highest such value; g: the candidate with the highest
    mean, or completion 0, if a candidate, when that mean is below 0.5. The challenger is the
    candidate that minimises (M + p m_k)^2 / p log(1 + s_k / noise_variance) over p in
    {0.01, ..., 1}. Its outcome (g, g) and its random choice within 1e-4 are left out. With fewer
    than two candidates, where it returns a completion twice, the challenger is the highest other
    m_k + beta s_k.
    """
    mean_PC = bounds.mean_PC.astype(np.float64)
    high_PC = bounds.fill(mean_PC + config.ucb_beta * bounds.half_width_PC, -np.inf)
    candidate_PC = (high_PC > 0.5) & bounds.mask_PC
    greedy_P = row_choice.best(np.where(candidate_PC, mean_PC, -np.inf))
    greedy_P[(row_choice.at(mean_PC, greedy_P) < 0.5) & candidate_PC[:, 0]] = 0
    top_P1 = high_PC.max(axis=1, keepdims=True)
    # (M + p m)^2 / p is convex in p: its least value on the grid is next to the minimum |M / m|.
    exact_PC = np.abs(top_P1) / np.maximum(np.abs(mean_PC), SMALLEST)
    below_PC = np.floor(np.clip(exact_PC, 0.0, 1.0) * GRID_STEPS)
    squared_PC = np.full(mean_PC.shape, np.inf)
    for grid_PC in (below_PC, below_PC + 1.0):
        p_PC = np.clip(grid_PC, 1.0, GRID_STEPS) / GRID_STEPS
        squared_PC = np.minimum(squared_PC, (top_P1 + p_PC * mean_PC) ** 2 / p_PC)
    cost_PC = squared_PC * np.log1p(bounds.half_width_PC / config.noise_variance)
    few_P1 = np.count_nonzero(candidate_PC, axis=1, keepdims=True) < 2
    worth_PC = np.where(few_P1, high_PC, np.where(candidate_PC, -cost_PC, -np.inf))
    greedy_P = np.where(
        np.count_nonzero(candidate_PC, axis=1) == 0, row_choice.best(high_PC), greedy_P
    )
    return row_choice.pairs(greedy_P, row_choice.best_except(worth_PC, greedy_P))
