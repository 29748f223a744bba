"""Facts, plots and checks of a finished loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from activeuf_core import paths
from activeuf_core.loop import report
from activeuf_core.loop.preferences import WrittenPreferences
from activeuf_core.loop.state import COMPARISON, BatchRecord, LoopState

CHECKS = {
    "preferences_not_empty": True,
    "chosen_differs_from_rejected": True,
    "chosen_scores_higher": True,
    "budget_respected": False,
    "length_bias": False,
}


def finished(
    pairs: list[tuple[int, int]], probability: float = 0.8, tied: bool = False
) -> LoopState:
    """Return the state after one batch of (chosen row, rejected row) pairs."""
    comparisons = np.zeros(len(pairs), dtype=COMPARISON)
    comparisons["chosen_row"], comparisons["rejected_row"] = np.array(pairs).reshape(-1, 2).T
    comparisons["chosen_probability"] = probability
    comparisons["is_tied"] = tied
    state = LoopState("recipe")
    bought = 2 * len(pairs)
    state.append(BatchRecord(0, comparisons, bought, bought, 0, 0, 0, {"annotations": bought}))
    return state


def verdicts(context: Any) -> dict[str, bool]:
    return {check["name"]: check["passed"] for check in context.checks}


@pytest.fixture
def context(pool: Any, make_context: Any) -> Any:
    return make_context(pool.write())


def test_checks_are_always_the_same_five(context: Any) -> None:
    report.report_checks(context, finished([]), WrittenPreferences(), budget=None)
    assert {check["name"]: check["blocking"] for check in context.checks} == CHECKS


@pytest.mark.parametrize(
    ("seen", "failed"),
    [
        ({}, set()),
        ({"num_rows": 0}, {"preferences_not_empty"}),
        ({"num_equal_sides": 1}, {"chosen_differs_from_rejected"}),
        ({"num_inverted": 1}, {"chosen_scores_higher"}),
        ({"num_chosen_longer": 18}, {"length_bias"}),
        ({"num_chosen_longer": 17}, set()),
    ],
)
def test_each_check_fails_for_its_own_reason(
    context: Any, seen: dict[str, int], failed: set[str]
) -> None:
    written = WrittenPreferences(**{"num_rows": 20, **seen})
    report.report_checks(context, finished([(0, 1)]), written, budget=2)
    assert {name for name, passed in verdicts(context).items() if not passed} == failed


def test_budget_check_compares_annotations(context: Any) -> None:
    report.report_checks(
        context, finished([(0, 1), (3, 4)]), WrittenPreferences(num_rows=2), budget=3
    )
    assert not verdicts(context)["budget_respected"]


def test_pair_accuracy_counts_a_tie_of_the_enn_half_and_leaves_ties_of_the_judge_out() -> None:
    comparisons = np.zeros(4, dtype=COMPARISON)
    comparisons["chosen_probability"] = [0.9, 0.5, 0.1, 0.9]
    comparisons["is_tied"] = [False, False, False, True]
    assert report.pair_correct(comparisons).tolist() == [1.0, 0.5, 0.0]


def test_facts_are_means_over_the_comparisons(pool: Any, context: Any) -> None:
    table = pool.table()
    report.report_facts(context, finished([(0, 1), (3, 4)]), table, "no prompt left")
    scores = table.score_R[[0, 3]].mean(), table.score_R[[1, 4]].mean()
    assert context.metadata["mean_chosen_score"] == pytest.approx(scores[0])
    assert context.metadata["mean_score_difference"] == pytest.approx(scores[0] - scores[1])
    assert context.metadata["pair_accuracy_before_training"] == 1.0


def test_all_ties_have_no_accuracy(pool: Any, context: Any) -> None:
    report.report_facts(context, finished([(0, 1)], tied=True), pool.table(), "")
    assert "pair_accuracy_before_training" not in context.metadata
    assert "calibration_error_before_training" not in context.metadata


def test_calibration_is_that_of_foretold_probabilities() -> None:
    # Foretold 0.8 and won always: off by 0.2, seen from either side.
    facts = report.calibration_facts(finished([(0, 1), (3, 4)], probability=0.8))
    assert facts["calibration_error_before_training"] == pytest.approx(0.2)
    assert facts["calibration_error_before_training_last_quarter"] == pytest.approx(0.2)


def test_calibrated_probabilities_have_no_error() -> None:
    state = finished([(0, 1)] * 8, probability=0.75)
    state.records[0].comparisons["chosen_probability"][6:] = 0.25  # one in four went the other way
    assert report.calibration_facts(state)["calibration_error_before_training"] < 1e-6


def test_verdicts_inside_bounds_are_weighed_by_the_batches_comparisons() -> None:
    state = finished([(0, 1), (3, 4), (7, 8)])
    state.records[0] = replace(state.records[0], metrics={"calibration/not_ruled_out": 1.0})
    other = finished([(9, 8)]).records[0]
    state.append(replace(other, batch_index=1, metrics={"calibration/not_ruled_out": 0.0}))
    assert report.calibration_facts(state)["verdicts_inside_bounds"] == 0.75


def test_model_table_counts_both_sides(pool: Any) -> None:
    text = report.model_table(
        pool.write().table(), finished([(0, 1), (3, 5), (9, 7)]).comparisons()
    )
    assert text.splitlines()[2:] == [
        "| m0 | 3 | 2 | 1 | 0.67 |",
        "| m2 | 2 | 1 | 1 | 0.50 |",
        "| m1 | 1 | 0 | 1 | 0.00 |",
        "| m3 | 0 | 0 | 0 | – |",
    ]


@pytest.mark.parametrize("tied", [False, True])
def test_plots_are_small_pictures(pool: Any, context: Any, tied: bool) -> None:
    report.draw_plots(context, finished([(0, 1), (3, 4), (7, 8)], tied=tied), pool.table())
    drawn = {paths.LEARNING_CURVE, paths.COMPARISON_SCORES, paths.MODEL_SELECTION}
    drawn |= set() if tied else {paths.CALIBRATION}
    for name in drawn:
        picture = (context.output / name).read_bytes()
        assert picture.startswith(b"\x89PNG") and len(picture) < 25_000
    assert len(context.metadata) == len(drawn)


def test_nothing_to_draw_draws_nothing(pool: Any, context: Any) -> None:
    report.draw_plots(context, finished([]), pool.table())
    assert context.metadata == {}
