"""The loop's metrics: one table of names, units and meanings, and how a batch's values are
computed.

In: a `Step` with the ENN's estimate from before the update, and what the update reported. Out: one
line of metrics.jsonl. Names are those of the research code's W&B runs, with one change: there,
"chosen" and "rejected" rewards were those of the first and the second selected completion, whoever
won. Here `selected_first` and `selected_second` say that, and `chosen` and `rejected` are the
sides that the oracle decided. All but the metrics of the update are about the batch before the ENN
was trained on it: accuracy and calibration are those of a held-out sample. They are of the pairs
that the method itself selected: a method that selects easy pairs has a higher accuracy, and is not
better for it.
Shapes: P prompts, C completions per prompt, E ensemble heads, N pairs, K comparisons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from activeuf_core.enn.calibration import (
    difference_bounds,
    expected_calibration_error,
    pair_probability,
)
from activeuf_core.loop.candidates import CandidateTable
from activeuf_core.loop.oracle import Outcome
from activeuf_core.loop.step import Batch, Step

if TYPE_CHECKING:  # the module imports torch, which the metrics do not need
    from activeuf_core.enn.base import RewardEstimate

Floats = NDArray[np.floating[Any]]

LEAST_PROBABILITY = 1e-6
"""Log loss counts a smaller probability as this one, so that a sure error is not infinite."""


@dataclass(frozen=True)
class Metric:
    """One column of metrics.jsonl."""

    name: str
    unit: str
    meaning: str


METRICS: tuple[Metric, ...] = (
    Metric("annotations", "annotations", "bought so far, this batch included"),
    Metric("comparisons", "comparisons", "labelled in this batch"),
    Metric("ties", "pairs", "bought in this batch, with equal overall scores"),
    Metric("missing_scores", "prompts", "passed over: an overall score is missing"),
    Metric("identical_texts", "prompts", "passed over: both selected completions are the same"),
    Metric("judgements", "completions", "that a judge had to rate for this batch"),
    Metric("prompts_scored", "prompts", "from which this batch's were taken (most_uncertain)"),
    Metric("mean_prompt_uncertainty_per_batch", "logits", "widest bounds of the prompts scored"),
    Metric("mean_taken_prompt_uncertainty_per_batch", "logits", "the same, of the prompts taken"),
    Metric("mean_rewards_per_batch", "logits", "ENN's mean reward of all completions"),
    Metric("mean_uncertainty_per_batch", "logits", "half-width of the bounds, all completions"),
    Metric("mean_selected_first_rewards_per_batch", "logits", "of the first selected"),
    Metric("mean_selected_second_rewards_per_batch", "logits", "of the second selected"),
    Metric("mean_selected_first_uncertainty_per_batch", "logits", "of the first selected"),
    Metric("mean_selected_second_uncertainty_per_batch", "logits", "of the second selected"),
    Metric("mean_selected_reward_differences_per_batch", "logits", "first minus second selected"),
    Metric("mean_chosen_rewards_per_batch", "logits", "of the chosen side"),
    Metric("mean_rejected_rewards_per_batch", "logits", "of the rejected side"),
    Metric("mean_chosen_uncertainty_per_batch", "logits", "of the chosen side"),
    Metric("mean_rejected_uncertainty_per_batch", "logits", "of the rejected side"),
    Metric("mean_reward_differences_per_batch", "logits", "chosen minus rejected"),
    Metric("mean_actual_chosen_score_per_batch", "overall score", "of the chosen side"),
    Metric("mean_actual_rejected_score_per_batch", "overall score", "of the rejected side"),
    Metric("mean_actual_score_difference_per_batch", "overall score", "chosen minus rejected"),
    Metric("selected_first_wins", "share", "comparisons that the first selected won, no ties"),
    Metric("calibration/pair_accuracy", "share", "pairs that the ENN ranked as the judge did"),
    Metric("calibration/log_loss", "nats", "of the judge's verdicts under the ENN"),
    Metric("calibration/brier", "squared probability", "of the judge's verdicts under the ENN"),
    Metric("calibration/ece", "probability", "expected calibration error, ten bins"),
    Metric("calibration/not_ruled_out", "share", "verdicts inside the bounds of the difference"),
    Metric("replay_buffer", "comparisons", "held when the ENN was trained"),
    Metric("loss", "nats", "of the update: mean over its steps, and the pull after the last one"),
    Metric("grad_norm", "1", "before clipping, mean over the update's steps"),
    Metric("learning_rate", "1", "mean over the update's steps"),
    Metric("train_steps", "steps", "of the optimiser in the update"),
    Metric("batch/win_rate", "share", "training pairs that the ENN ranked as labelled"),
    Metric("batch/rewards/chosen", "logits", "mean over training pairs"),
    Metric("batch/rewards/rejected", "logits", "mean over training pairs"),
    Metric("batch/rewards/margins", "logits", "chosen minus rejected, mean over training pairs"),
    Metric("batch/loss_base", "nats", "Bradley-Terry part of the loss"),
    Metric("batch/loss_initial_weights", "nats", "pull to the initial weights, part of the loss"),
    Metric("batch/loss_center_rewards", "squared logits", "what the centring weighs"),
    Metric("regularization_towards_initial_weights", "1", "lambda of the pull in the update"),
    Metric("newton_decrement", "nats", "what another Newton step would gain (Bayesian head)"),
)
"""The columns of metrics.jsonl, in this order."""

UPDATE_NAMES = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "train_steps": "train_steps",
    "win_rate": "batch/win_rate",
    "reward_chosen": "batch/rewards/chosen",
    "reward_rejected": "batch/rewards/rejected",
    "reward_margin": "batch/rewards/margins",
    "loss_bradley_terry": "batch/loss_base",
    "loss_initial_weights": "batch/loss_initial_weights",
    "loss_centering": "batch/loss_center_rewards",
    "regularization_weight": "regularization_towards_initial_weights",
    "newton_decrement": "newton_decrement",
}
"""What the ENN's update reports, and the research code's name for it."""


DIFFERENCES = (
    (
        "mean_selected_reward_differences_per_batch",
        "mean_selected_first_rewards_per_batch",
        "mean_selected_second_rewards_per_batch",
    ),
    (
        "mean_reward_differences_per_batch",
        "mean_chosen_rewards_per_batch",
        "mean_rejected_rewards_per_batch",
    ),
    (
        "mean_actual_score_difference_per_batch",
        "mean_actual_chosen_score_per_batch",
        "mean_actual_rejected_score_per_batch",
    ),
)

CALIBRATION = tuple(metric.name for metric in METRICS if metric.name.startswith("calibration/"))


def batch_metrics(
    batch: Batch,
    step: Step,
    estimate: RewardEstimate,
    table: CandidateTable,
    bound_scale: float = 1.0,
) -> dict[str, float]:
    """Return the metrics of a batch before the update; NaN where there is nothing to average.

    Args: bound_scale: the reward model's; bounds are this many standard deviations wide.
    """
    uncertainty_PC = (estimate.upper_PC - estimate.lower_PC) / 2
    labels = step.labels
    values = {
        "comparisons": float(np.count_nonzero(labels.is_comparison_N)),
        "ties": float(labels.count(Outcome.TIED)),
        "missing_scores": float(step.missing),
        "identical_texts": float(labels.count(Outcome.IDENTICAL)),
        "judgements": float(step.judgements),
        "mean_rewards_per_batch": mean(estimate.mean_PC[batch.mask_PC]),
        "mean_uncertainty_per_batch": mean(uncertainty_PC[batch.mask_PC]),
        "selected_first_wins": mean(labels.first_is_chosen_N[labels.outcome_N == Outcome.COMPARED]),
    }
    is_seen_N = labels.outcome_N != Outcome.UNBOUGHT
    for kind, value_PC in (("rewards", estimate.mean_PC), ("uncertainty", uncertainty_PC)):
        value_N2 = step.selected(value_PC)
        values |= _sides(value_N2[is_seen_N], "mean_selected_first", "mean_selected_second", kind)
        values |= _sides(step.decided(value_N2), "mean_chosen", "mean_rejected", kind)
    score_K2 = step.decided(table.score_R[step.rows_N2])
    values |= _sides(score_K2, "mean_actual_chosen", "mean_actual_rejected", "score")
    for name, first, second in DIFFERENCES:
        values[name] = values[first] - values[second]
    return values | calibration(step, estimate, bound_scale)


def chosen_probability(step: Step, estimate: RewardEstimate) -> Floats:
    """Return the probability that the ENN gave to the chosen side of each comparison: (K,)."""
    return _chosen_probability(step, estimate, step.labels.is_comparison_N)


def calibration(step: Step, estimate: RewardEstimate, bound_scale: float) -> dict[str, float]:
    """Return how well the ENN foresaw the verdicts, where overall scores differ.

    A verdict is not ruled out when the mean over heads of (chosen - rejected) lies at most
    `bound_scale` standard deviations below zero.
    """
    is_compared_N = step.labels.outcome_N == Outcome.COMPARED
    if not is_compared_N.any():
        return dict.fromkeys(CALIBRATION, float("nan"))
    probability_K = _chosen_probability(step, estimate, is_compared_N)
    both_ways = np.concatenate([probability_K, 1.0 - probability_K])
    verdicts = np.repeat([1.0, 0.0], len(probability_K))
    heads_EK2 = step.decided(step.selected(estimate.heads_EPC), is_compared_N)
    _, upper_K = difference_bounds(heads_EK2[..., 0], heads_EK2[..., 1], bound_scale)
    values = (
        mean((np.sign(probability_K - 0.5) + 1.0) / 2.0),
        mean(-np.log(np.maximum(probability_K, LEAST_PROBABILITY))),
        mean((1.0 - probability_K) ** 2),
        expected_calibration_error(both_ways, verdicts),
        mean(upper_K >= 0.0),
    )
    return dict(zip(CALIBRATION, values, strict=True))


def update_metrics(reported: Mapping[str, float]) -> dict[str, float]:
    """Return what the ENN's update reported under the names of metrics.jsonl."""
    return {UPDATE_NAMES[name]: value for name, value in reported.items()}


def mean(values: Any) -> float:
    """Return the mean in double precision, NaN of nothing."""
    return float(np.mean(values, dtype=np.float64)) if len(values) else float("nan")


def as_line(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return one line of metrics.jsonl: in the table's order, None for what is not finite."""
    order = [metric.name for metric in METRICS if metric.name in values]
    assert len(order) == len(values), f"not in the table: {values.keys() - set(order)}"
    return {name: _finite(values[name]) for name in order}


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _sides(value_N2: Floats, first: str, second: str, kind: str) -> dict[str, float]:
    """Return the means of both sides under their names."""
    sides = zip((first, second), (value_N2[..., 0], value_N2[..., 1]), strict=True)
    return {f"{side}_{kind}_per_batch": mean(value_N) for side, value_N in sides}


def _chosen_probability(step: Step, estimate: RewardEstimate, among_N: Any) -> Floats:
    heads_EK2 = step.decided(step.selected(estimate.heads_EPC), among_N).astype(np.float64)
    return pair_probability(heads_EK2[..., 0], heads_EK2[..., 1])
