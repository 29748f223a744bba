"""What a person sees of a finished loop: facts, a table of models, four plots, five checks.

In: the final `LoopState` and what was seen while the preferences were written. Out: metadata,
plots and checks on the stage's context. Accuracy and calibration are those of the ENN before it was
trained on a comparison: each was held out when it was foretold.
Shapes: N comparisons, M models, B batches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from activeuf_core import figures, paths
from activeuf_core.enn.calibration import ReliabilityCurve, reliability
from activeuf_core.loop.candidates import CandidateTable
from activeuf_core.loop.preferences import WrittenPreferences
from activeuf_core.loop.state import Comparisons, LoopState
from activeuf_core.stage import StageContext

LENGTH_BIAS_LIMIT = 0.9
"""Share of longer chosen sides above which counting characters explains the labels."""
LAST_SHARE = 4
"""`..._last` figures are over the last quarter of the comparisons."""
CURVE_POINTS = 200
MIN_WINDOW, MAX_WINDOW = 8, 512
"""Comparisons over which the learning curve is averaged: an eighth of all, within these."""
MODELS_SHOWN = 32
NOT_RULED_OUT = "calibration/not_ruled_out"

Floats = NDArray[np.float64]


def report_facts(
    context: StageContext, state: LoopState, table: CandidateTable, stopped_because: str
) -> None:
    """Report what was bought and how the ENN fared on it."""
    comparisons = state.comparisons()
    chosen_N, rejected_N = _scores(table, comparisons)
    correct_N = pair_correct(comparisons)
    context.add_metadata(
        comparisons=len(comparisons),
        annotations=state.annotations,
        judgements=state.total("judgements"),
        batches=state.next_batch,
        ties=state.total("ties"),
        missing_scores=state.total("missing"),
        identical_texts=state.total("identical"),
        stopped_because=stopped_because,
        loop_digest=state.digest,
    )
    if not len(comparisons):
        return
    context.add_metadata(
        mean_chosen_score=float(chosen_N.mean()),
        mean_rejected_score=float(rejected_N.mean()),
        mean_score_difference=float((chosen_N - rejected_N).mean()),
    )
    if len(correct_N):
        recent = slice(-max(1, len(correct_N) // LAST_SHARE), None)
        context.add_metadata(
            pair_accuracy_before_training=float(correct_N.mean()),
            pair_accuracy_before_training_last_quarter=float(correct_N[recent].mean()),
            **calibration_facts(state),
        )
    context.add_markdown("models", model_table(table, comparisons))


def report_checks(
    context: StageContext, state: LoopState, seen: WrittenPreferences, budget: int | None
) -> None:
    """Report the five checks."""
    context.check(
        "preferences_not_empty",
        seen.num_rows > 0,
        "At least one comparison was labelled.",
        blocking=True,
        comparisons=seen.num_rows,
    )
    context.check(
        "chosen_differs_from_rejected",
        seen.num_equal_sides == 0,
        "No comparison has equal sides.",
        blocking=True,
        equal_sides=seen.num_equal_sides,
    )
    context.check(
        "chosen_scores_higher",
        seen.num_inverted == 0,
        "Chosen never has the lower overall score.",
        blocking=True,
        inverted=seen.num_inverted,
    )
    context.check(
        "budget_respected",
        budget is None or state.annotations <= budget,
        "No more annotations were bought than allowed.",
        annotations=state.annotations,
        budget="none" if budget is None else budget,
    )
    share = seen.num_chosen_longer / max(1, seen.num_rows)
    context.check(
        "length_bias",
        share < LENGTH_BIAS_LIMIT,
        "Chosen is not nearly always the longer side.",
        share_longer=share,
        limit=LENGTH_BIAS_LIMIT,
    )


def pair_correct(comparisons: Comparisons) -> Floats:
    """Return 1 where the ENN ranked a pair as the judge did, before it was trained on it.

    A tie of the ENN counts half; comparisons with equal overall scores are left out.
    """
    probability_N = _compared(comparisons)["chosen_probability"]
    return (np.sign(probability_N - np.float32(0.5)) + 1.0) / 2.0


def calibration_facts(state: LoopState) -> dict[str, float]:
    """Return how far the ENN's probabilities are from the judge's verdicts, and how many verdicts
    lie inside the bounds of the difference. Equal overall scores are no verdict.
    """
    compared = _compared(state.comparisons())
    recent = compared[-max(1, len(compared) // LAST_SHARE) :]
    facts = {
        "calibration_error_before_training": _reliability(compared).expected_calibration_error,
        "calibration_error_before_training_last_quarter": _reliability(
            recent
        ).expected_calibration_error,
    }
    shares = [
        (float(record.metrics.get(NOT_RULED_OUT) or 0.0), len(_compared(record.comparisons)))
        for record in state.records
    ]
    inside = sum(share * count for share, count in shares) / len(compared)
    return {**facts, "verdicts_inside_bounds": inside}


def model_table(table: CandidateTable, comparisons: Comparisons) -> str:
    """Return, in Markdown, how often each model was selected and won, most selected first."""
    chosen_M, rejected_M = _counts(table, comparisons)
    lines = ["| model | selected | chosen | rejected | chosen share |", "|---|--:|--:|--:|--:|"]
    for model in _by_selection(chosen_M, rejected_M):
        chosen, rejected = chosen_M[model], rejected_M[model]
        share = f"{chosen / (chosen + rejected):.2f}" if chosen + rejected else "–"
        lines.append(
            f"| {table.models[model]} | {chosen + rejected} | {chosen} | {rejected} | {share} |"
        )
    return "\n".join(lines)


def draw_plots(context: StageContext, state: LoopState, table: CandidateTable) -> None:
    """Draw the learning curve, the calibration, the scores of both sides, the models selected."""
    comparisons = state.comparisons()
    if not len(comparisons):
        return
    context.add_plot("learning_curve", _learning_curve(context, state, table, comparisons))
    if len(_compared(comparisons)):
        context.add_plot("calibration", _calibration(context, comparisons))
    context.add_plot("comparison_scores", _score_histogram(context, table, comparisons))
    context.add_plot("model_selection", _model_bars(context, table, comparisons))


def _learning_curve(
    context: StageContext, state: LoopState, table: CandidateTable, comparisons: Comparisons
) -> Any:
    compared = _compared(comparisons)
    bought_N = np.linspace(0, state.annotations, len(compared) + 1)[1:]
    chosen_N, rejected_N = _scores(table, compared)
    window = max(1, min(len(compared), MAX_WINDOW, max(MIN_WINDOW, len(compared) // 8)))

    def paint(figure: Any) -> None:
        curves = (
            ("pair accuracy before training", pair_correct(compared), figures.BLUE),
            ("chosen minus rejected score", chosen_N - rejected_N, figures.ORANGE),
        )
        for axes, (title, value_N, colour) in zip(figure.subplots(1, 2), curves, strict=True):
            point_N, mean_N = _moving_mean(bought_N, value_N, window)
            axes.plot(point_N, mean_N, color=colour)
            axes.set_title(f"{title}\n(mean of {window} comparisons)", fontsize=9)
            axes.set_xlabel("annotations bought", fontsize=9)
            axes.tick_params(labelsize=8)
            axes.spines[["top", "right"]].set_visible(False)
        figure.axes[0].axhline(0.5, color=figures.GREY, linestyle=":", linewidth=1)
        figure.axes[1].axhline(0.0, color=figures.GREY, linestyle=":", linewidth=1)

    return figures.draw(context.output / paths.LEARNING_CURVE, paint, width=7.5)


def _calibration(context: StageContext, comparisons: Comparisons) -> Any:
    compared = _compared(comparisons)
    recent = compared[-max(1, len(compared) // LAST_SHARE) :]

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=figures.GREY, linestyle=":", linewidth=1)
        for name, part, colour in (
            ("all", compared, figures.BLUE),
            ("last quarter", recent, figures.ORANGE),
        ):
            curve = _reliability(part)
            label = f"{name}: error {curve.expected_calibration_error:.3f}"
            filled_B = curve.count_B > 0
            axes.plot(
                curve.predicted_B[filled_B],
                curve.observed_B[filled_B],
                marker="o",
                markersize=4,
                color=colour,
                label=label,
            )
        axes.set_title("Does a probability of 0.8 win 8 in 10? (before training)", fontsize=10)
        axes.set_xlabel("probability foretold", fontsize=9)
        axes.set_ylabel("share that won", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="upper left")

    return figures.draw(context.output / paths.CALIBRATION, paint, width=4.5, height=3.6)


def _reliability(compared: Comparisons) -> ReliabilityCurve:
    """Compare probabilities with verdicts; each comparison counts for both of its sides."""
    chosen_N = compared["chosen_probability"].astype(np.float64)
    verdict_N = np.ones(len(chosen_N))
    return reliability(
        np.concatenate([chosen_N, 1.0 - chosen_N]), np.concatenate([verdict_N, 1.0 - verdict_N])
    )


def _compared(comparisons: Comparisons) -> Comparisons:
    """Return the comparisons whose overall scores differ."""
    return comparisons[~comparisons["is_tied"]]


def _score_histogram(context: StageContext, table: CandidateTable, comparisons: Comparisons) -> Any:
    chosen_N, rejected_N = _scores(table, comparisons)
    edges = np.histogram_bin_edges(np.concatenate([chosen_N, rejected_N]), bins=30)

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        for name, score_N, colour in (
            ("rejected", rejected_N, figures.ORANGE),
            ("chosen", chosen_N, figures.BLUE),
        ):
            label = f"{name}, mean {score_N.mean():.3g}"
            axes.hist(score_N, bins=edges, color=colour, alpha=0.6, label=label)
        axes.set_title("Overall scores of both sides", fontsize=10)
        axes.set_xlabel("overall score", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)

    return figures.draw(context.output / paths.COMPARISON_SCORES, paint)


def _model_bars(context: StageContext, table: CandidateTable, comparisons: Comparisons) -> Any:
    chosen_M, rejected_M = _counts(table, comparisons)
    shown = _by_selection(chosen_M, rejected_M)[:MODELS_SHOWN][::-1]
    names = [table.models[model][-40:] for model in shown]

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.barh(names, chosen_M[shown], color=figures.BLUE, label="chosen")
        axes.barh(
            names, rejected_M[shown], left=chosen_M[shown], color=figures.ORANGE, label="rejected"
        )
        axes.set_title("Comparisons by completion model", fontsize=10)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="lower right")

    height = 1.2 + 0.16 * len(shown)
    return figures.draw(context.output / paths.MODEL_SELECTION, paint, height=height)


def _moving_mean(position_N: Floats, value_N: Floats, window: int) -> tuple[Floats, Floats]:
    """Return up to `CURVE_POINTS` means over `window` values, at the position of the last one."""
    if not len(value_N):
        return np.empty(0), np.empty(0)
    total = np.cumsum(np.concatenate([[0.0], value_N]))
    last = np.unique(np.linspace(window, len(value_N), CURVE_POINTS).astype(np.int64))
    return position_N[last - 1], (total[last] - total[last - window]) / window


def _scores(table: CandidateTable, comparisons: Comparisons) -> tuple[Floats, Floats]:
    return table.score_R[comparisons["chosen_row"]], table.score_R[comparisons["rejected_row"]]


def _counts(
    table: CandidateTable, comparisons: Comparisons
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how often each model was chosen and rejected, shape (M,) each."""
    size = len(table.models)
    chosen_M = np.bincount(table.model_R[comparisons["chosen_row"]], minlength=size)
    return chosen_M, np.bincount(table.model_R[comparisons["rejected_row"]], minlength=size)


def _by_selection(chosen_M: NDArray[np.int64], rejected_M: NDArray[np.int64]) -> list[int]:
    """Return the models, most often selected first."""
    return [int(model) for model in np.argsort(-(chosen_M + rejected_M), kind="stable")]
