"""One batch: score, acquire, label. Pure: no files, no training, no state.

In: a batch of prompts, the ENN's estimate of their rewards, an acquisition function. Out: a
`Step`: the selected pairs, the oracle's labels, and what they cost. Randomness: counter-based per
(seed, prompt id, batch), so a prompt's draw does not depend on the other prompts of its batch, on
the process, or on a restart.
Shapes: P prompts, C completions per prompt (padded to the widest), E ensemble heads, N pairs, K
comparisons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from activeuf_core.acquisition.base import AcquisitionFunction, Bounds
from activeuf_core.acquisition.random_stream import RandomStream
from activeuf_core.loop.candidates import CandidateTable
from activeuf_core.loop.oracle import Labels, Outcome, label

if TYPE_CHECKING:  # the module imports torch, which a step does not need
    from activeuf_core.enn.base import RewardEstimate

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
ScoresOf = Callable[[Ints, Bools, int | None], NDArray[np.float64]]
"""From the rows of pairs, whether their texts are the same, and the annotations that are left, to
overall scores: (N, 2), NaN where there is none."""


@dataclass(frozen=True, eq=False)
class Batch:
    """The candidates of some prompts, padded to a rectangle."""

    index: int
    prompt_ids: tuple[str, ...]
    row_PC: Ints
    """Row of the candidate pool; 0 where padding."""
    mask_PC: Bools
    """True where a completion exists."""


@dataclass(frozen=True, eq=False)
class Step:
    """What was selected and how it was labelled; N pairs in the order of the batch."""

    prompt_N: Ints
    """Place of each pair's prompt in the batch."""
    pair_N2: Ints
    """Places of the first and the second selected among the prompt's completions."""
    rows_N2: Ints
    """The same as rows of the candidate pool."""
    labels: Labels
    judgements: int
    """Completions whose overall score was looked at."""
    unrated: int
    """Prompts left out: the acquisition function reads scores, and fewer than two exist."""

    @property
    def missing(self) -> int:
        """Prompts that were passed over because an overall score is missing."""
        return self.labels.count(Outcome.MISSING) + self.unrated

    def selected(self, value_PC: Floats) -> Floats:
        """Return a value per completion for both sides of each pair: (..., N, 2)."""
        return value_PC[..., self.prompt_N[:, None], self.pair_N2]

    def decided(self, value_N2: Any, among_N: Bools | None = None) -> Any:
        """Return what belongs to the chosen and the rejected side of each comparison: (..., K, 2).

        Args: among_N: the pairs wanted; those that became comparisons when None.
        """
        among_N = self.labels.is_comparison_N if among_N is None else among_N
        kept_K2 = value_N2[..., among_N, :]
        return np.where(self.labels.first_is_chosen_N[among_N, None], kept_K2, kept_K2[..., ::-1])


def gather(table: CandidateTable, prompts: Ints, index: int) -> Batch:
    """Return the candidates of some prompts of the pool."""
    start_P, end_P = table.start_P[prompts], table.start_P[prompts + 1]
    place_C = np.arange(int((end_P - start_P).max()))
    mask_PC = place_C < (end_P - start_P)[:, None]
    row_PC = np.where(mask_PC, start_P[:, None] + place_C, 0)
    return Batch(index, tuple(table.prompt_ids[prompt] for prompt in prompts), row_PC, mask_PC)


def take_step(
    batch: Batch,
    estimate: RewardEstimate,
    table: CandidateTable,
    function: AcquisitionFunction,
    *,
    seed: int,
    annotations_left: int | None,
    ties: Literal["drop", "keep_first"],
    scores_of: ScoresOf | None = None,
) -> Step:
    """Select a pair of each prompt and have it labelled, in the order of the batch.

    Prompts with fewer than two rated completions are left out if `function` reads scores, because
    it cannot rank what was not rated.
    Args: scores_of: gives the overall scores of the selected pairs; None: they are in the table.
    Raises: DataError naming a prompt that `function` cannot work with.
    """
    usable_PC = batch.mask_PC
    if function.needs_scores:
        usable_PC = usable_PC & np.isfinite(table.score_R[batch.row_PC])
    prompt_N = np.flatnonzero(np.count_nonzero(usable_PC, axis=1) >= 2)
    bounds = _bounds(batch, estimate, table, function, usable_PC, prompt_N)
    stream = RandomStream.for_batch(seed, bounds.prompt_ids, batch.index)
    pair_N2 = function.select(bounds, stream) if len(prompt_N) else np.empty((0, 2), np.int64)
    rows_N2 = batch.row_PC[prompt_N[:, None], pair_N2]
    text_N2 = table.text_R[rows_N2]
    is_identical_N = text_N2[:, 0] == text_N2[:, 1]
    if scores_of is None:
        score_N2 = table.score_R[rows_N2]
    else:
        score_N2 = scores_of(rows_N2, is_identical_N, annotations_left)
    labels = label(score_N2, is_identical_N, annotations_left, ties)
    judgements = _judgements(function, bounds, labels)
    return Step(
        prompt_N, pair_N2, rows_N2, labels, judgements, len(batch.prompt_ids) - len(prompt_N)
    )


def _bounds(
    batch: Batch,
    estimate: RewardEstimate,
    table: CandidateTable,
    function: AcquisitionFunction,
    usable_PC: Bools,
    prompts: Ints,
) -> Bounds:
    """Build what the acquisition function reads, of some prompts of the batch."""
    row_PC = batch.row_PC[prompts]
    models_PC = scores_PC = heads_EPC = None
    if function.needs_models:
        models_PC = np.array(table.models, dtype=object)[table.model_R[row_PC]]
    if function.needs_scores:
        scores_PC = table.score_R[row_PC]
    if function.needs_heads:
        heads_EPC = estimate.heads_EPC[:, prompts]
    return Bounds(
        mean_PC=estimate.mean_PC[prompts],
        lower_PC=estimate.lower_PC[prompts],
        upper_PC=estimate.upper_PC[prompts],
        mask_PC=usable_PC[prompts],
        prompt_ids=tuple(batch.prompt_ids[prompt] for prompt in prompts),
        overall_score_PC=scores_PC,
        heads_EPC=heads_EPC,
        completion_models_PC=models_PC,
    )


def _judgements(function: AcquisitionFunction, bounds: Bounds, labels: Labels) -> int:
    """Count the completions that a judge must rate: those of the pair, or all that were ranked.

    A rule that reads scores ranks `num_sampled` completions where its config has that setting.
    """
    if not function.needs_scores:
        return labels.annotations
    ranked_N = bounds.num_valid_P[labels.outcome_N != Outcome.UNBOUGHT]
    limit = getattr(getattr(function, "config", None), "num_sampled", None)
    return int((ranked_N if limit is None else np.minimum(ranked_N, limit)).sum())
