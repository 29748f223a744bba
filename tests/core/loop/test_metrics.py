"""The metrics of a batch, by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from activeuf_core.loop import metrics
from activeuf_core.loop.oracle import label
from activeuf_core.loop.step import Batch, Step

MEAN_PC = np.array([[2.0, 0.0, 1.0], [3.0, 1.0, 99.0]])
SCORE_R = np.array([1.0, 2.0, 3.0, 5.0, 4.0])
MASK_PC = np.array([[True, True, True], [True, True, False]])
ROW_PC = np.array([[0, 1, 2], [3, 4, 0]])


def batch_of(pairs: list[list[int]], score_R: Any = SCORE_R, **options: Any) -> tuple[Any, ...]:
    """Return a batch of two prompts, its step, an estimate of two heads one logit from the mean."""
    pair_N2 = np.array(pairs)
    prompt_N = np.arange(len(pairs))
    rows_N2 = ROW_PC[prompt_N[:, None], pair_N2]
    labels = label(score_R[rows_N2], np.zeros(len(pairs), bool), options.get("left"), "drop")
    step = Step(prompt_N, pair_N2, rows_N2, labels, judgements=4, unrated=0)
    estimate = SimpleNamespace(
        mean_PC=MEAN_PC,
        lower_PC=MEAN_PC - 0.5,
        upper_PC=MEAN_PC + 0.5,
        heads_EPC=np.stack([MEAN_PC, MEAN_PC]),
    )
    batch = Batch(0, ("a", "b"), ROW_PC, MASK_PC)
    return batch, step, estimate, SimpleNamespace(score_R=score_R)


def values_of(pairs: list[list[int]], **options: Any) -> dict[str, float]:
    return metrics.batch_metrics(*batch_of(pairs, **options))


def test_selected_first_is_not_chosen() -> None:
    values = values_of([[0, 1], [0, 1]])
    # Of the first prompt the second selected wins (2 > 1), of the second prompt the first (5 > 4).
    assert values["mean_selected_first_rewards_per_batch"] == (2.0 + 3.0) / 2
    assert values["mean_chosen_rewards_per_batch"] == (0.0 + 3.0) / 2
    assert values["mean_rejected_rewards_per_batch"] == (2.0 + 1.0) / 2
    assert values["selected_first_wins"] == 0.5


def test_differences_are_first_minus_second_and_chosen_minus_rejected() -> None:
    values = values_of([[0, 1], [0, 1]])
    assert values["mean_selected_reward_differences_per_batch"] == 2.0
    assert values["mean_reward_differences_per_batch"] == 0.0
    assert values["mean_actual_score_difference_per_batch"] == 1.0


def test_padding_is_not_averaged() -> None:
    values = values_of([[0, 1], [0, 1]])
    assert values["mean_rewards_per_batch"] == np.mean([2.0, 0.0, 1.0, 3.0, 1.0])
    assert values["mean_uncertainty_per_batch"] == 0.5


def test_calibration_by_hand() -> None:
    values = values_of([[0, 1], [0, 1]])
    sigma = 1 / (1 + np.exp(-2.0))
    assert values["calibration/pair_accuracy"] == 0.5
    assert values["calibration/log_loss"] == pytest.approx(-np.log([sigma, 1 - sigma]).mean())
    assert values["calibration/brier"] == pytest.approx(((1 - sigma) ** 2 + sigma**2) / 2)
    assert values["calibration/ece"] == pytest.approx(sigma - 0.5)
    assert values["calibration/not_ruled_out"] == 0.5


@pytest.mark.parametrize(("bound_scale", "inside"), [(1.0, 0.5), (3.0, 1.0)])
def test_bounds_of_the_difference_are_as_wide_as_the_models(
    bound_scale: float, inside: float
) -> None:
    batch, step, estimate, table = batch_of([[0, 1], [0, 1]])
    # Chosen less rejected of the first prompt: -2 on average, 1 and -1 from it in the two heads.
    estimate.heads_EPC[:, 0, 1] += [1.0, -1.0]
    values = metrics.batch_metrics(batch, step, estimate, table, bound_scale)
    assert values["calibration/not_ruled_out"] == inside


def test_ties_are_counted_and_left_out_of_accuracy() -> None:
    values = values_of([[0, 1], [0, 1]], score_R=np.array([2.0, 2.0, 3.0, 5.0, 4.0]))
    assert (values["ties"], values["comparisons"]) == (1.0, 1.0)
    assert values["calibration/pair_accuracy"] == 1.0


def test_nothing_compared_gives_nulls_not_zeros() -> None:
    line = metrics.as_line(values_of([[0, 1], [0, 1]], score_R=np.full(5, np.nan)))
    assert (line["comparisons"], line["missing_scores"]) == (0.0, 2.0)
    assert line["calibration/pair_accuracy"] is line["mean_chosen_rewards_per_batch"] is None


def test_pairs_beyond_the_budget_are_not_averaged() -> None:
    values = values_of([[0, 1], [0, 1]], left=2)
    assert values["mean_selected_first_rewards_per_batch"] == 2.0


def test_chosen_probability_is_of_the_side_that_won() -> None:
    _, step, estimate, _ = batch_of([[0, 1], [0, 1]])
    first, second = metrics.chosen_probability(step, estimate)
    assert first == pytest.approx(1 - second)
    assert second > 0.5


def test_line_is_in_the_order_of_the_table() -> None:
    line = metrics.as_line({"loss": 1.0, "annotations": 2.0, "ties": float("inf")})
    assert list(line.items()) == [("annotations", 2.0), ("ties", None), ("loss", 1.0)]


def test_metric_outside_the_table_is_refused() -> None:
    with pytest.raises(AssertionError, match="my_loss"):
        metrics.as_line({"my_loss": 1.0})


def test_table_has_no_name_twice_and_covers_the_update() -> None:
    names = [metric.name for metric in metrics.METRICS]
    assert len(names) == len(set(names))
    assert set(metrics.UPDATE_NAMES.values()) <= set(names)
