"""What people see of a training: figures, three curves, and the facts that asset checks show.

In: metrics.jsonl, and facts of the run. Out: metadata, three plots, training_config.json,
checks training_loss_finite, training_reduced_loss, weights_changed, pairs_kept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from activeuf_core import figures
from activeuf_core.artifacts import write_json
from activeuf_core.paths import (
    ACCURACY_CURVE,
    LOSS_CURVE,
    METRICS,
    REWARDS_CURVE,
    TRAINING_CONFIG,
)
from activeuf_core.stage import StageContext
from activeuf_core.training.config import TrainingConfig

WINDOW_SHARE, WINDOW_STEPS = 0.1, 3
"""First and last values are means over a tenth of the steps, three at least: a single step's loss
says more of its batch than of the training."""
MIN_PAIRS_KEPT = 0.5
EVALUATED = "eval_"
"""What TRL puts before the names of held-out metrics."""

Metrics = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class MetricNames:
    """What TRL calls these in a trainer's metrics.

    Of the rewards of chosen and rejected completions it has either both `sides`, or their mean.
    """

    accuracy: str
    margin: str
    sides: tuple[str, str] | None = None
    mean_reward: str = ""

    def rewards(self, row: Mapping[str, float]) -> tuple[float, float]:
        """Return the mean reward of a step's chosen completions, and of its rejected ones."""
        if self.sides:
            return row[self.sides[0]], row[self.sides[1]]
        half = row[self.margin] / 2.0
        return row[self.mean_reward] + half, row[self.mean_reward] - half


@dataclass(frozen=True)
class Facts:
    """What the run knows and metrics.jsonl does not."""

    values: Mapping[str, float | int | str | bool]
    """Metadata, as shown."""
    num_read: int
    num_kept: int
    distance: float
    """Of the published weights from the base model's, relative to their norm."""


def write(context: StageContext, config: TrainingConfig, names: MetricNames, facts: Facts) -> None:
    """Write and report everything but the model."""
    rows = read_metrics(context.output / METRICS)
    steps = [row for row in rows if "loss" in row]
    held_out = [_without_prefix(row) for row in rows if "eval_loss" in row]
    context.add_metadata(**facts.values, **summary(steps, names), weights_distance=facts.distance)
    settings = {"config": config.model_dump(mode="json"), "run": dict(facts.values)}
    write_json(context.output / TRAINING_CONFIG, settings)
    context.add_plot("loss", _plot_loss(context.output / LOSS_CURVE, steps, held_out))
    path = context.output / ACCURACY_CURVE
    context.add_plot("accuracy", _plot_accuracy(path, steps, held_out, names))
    context.add_plot("rewards", _plot_rewards(context.output / REWARDS_CURVE, steps, names))
    _check(context, steps, facts)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Return the lines of a metrics.jsonl."""
    with path.open(encoding="utf-8") as handle:
        return [json.loads(line) for line in handle]


def window(num_steps: int) -> int:
    """Return over how many steps a first or last value is averaged; never more than a third."""
    wanted = max(WINDOW_STEPS, math.ceil(WINDOW_SHARE * num_steps))
    return max(1, min(wanted, num_steps // 3))


def summary(steps: Metrics, names: MetricNames) -> dict[str, float]:
    """Return the figures of a training: means over its last window, and what it took."""
    last = steps[-window(len(steps)) :]
    tokens, seconds = steps[-1]["num_tokens"], steps[-1]["seconds"]
    return {
        "final_loss": _mean(last, "loss"),
        "final_accuracy": _mean(last, names.accuracy),
        "final_margin": _mean(last, names.margin),
        "steps": int(steps[-1]["step"]),
        "tokens": int(tokens),
        "train_seconds": seconds,
        "tokens_per_s": tokens / seconds,
    }


def _check(context: StageContext, steps: Metrics, facts: Facts) -> None:
    losses = [row["loss"] for row in steps]
    size = window(len(losses))
    first, last = float(np.mean(losses[:size])), float(np.mean(losses[-size:]))
    kept = facts.num_kept / facts.num_read
    finite = all(math.isfinite(loss) for loss in losses)
    context.check(
        "training_loss_finite",
        finite,
        "Every step's loss is a number.",
        blocking=True,
        steps=len(losses),
    )
    context.check(
        "training_reduced_loss",
        last < first,
        f"The mean loss of the last {size} step(s) is below that of the first {size}.",
        first=first,
        last=last,
    )
    context.check(
        "weights_changed",
        0.0 < facts.distance < math.inf,
        "The published weights differ from the base model's.",
        blocking=True,
        relative_distance=facts.distance,
    )
    context.check(
        "pairs_kept",
        kept >= MIN_PAIRS_KEPT,
        f"At least {MIN_PAIRS_KEPT:.0%} of the comparisons are short enough to be used.",
        share=kept,
        kept=facts.num_kept,
        read=facts.num_read,
    )


def _without_prefix(row: Mapping[str, float]) -> dict[str, float]:
    return {name.removeprefix(EVALUATED): value for name, value in row.items()}


def _plot_loss(path: Path, steps: Metrics, held_out: Metrics) -> Path:
    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        _curve(axes, steps, "loss", figures.BLUE)
        _points(axes, held_out, "loss")
        _dress(axes, "loss")

    return figures.draw(path, paint)


def _plot_accuracy(path: Path, steps: Metrics, held_out: Metrics, names: MetricNames) -> Path:
    def paint(figure: Any) -> None:
        above, below = figure.subplots(2, 1, sharex=True)
        for axes, name in ((above, names.accuracy), (below, names.margin)):
            _curve(axes, steps, name, figures.BLUE)
            _points(axes, held_out, name)
        _dress(above, "accuracy", is_last=False)
        above.set_ylim(-0.05, 1.05)
        _dress(below, "reward margin")

    return figures.draw(path, paint, height=4.0)


def _plot_rewards(path: Path, steps: Metrics, names: MetricNames) -> Path:
    """Draw both sides' rewards: a margin grows also when both fall, which this shows."""
    sides = np.array([names.rewards(row) for row in steps], dtype=np.float64)
    rows = [
        {"step": row["step"], "chosen": chosen, "rejected": rejected}
        for row, (chosen, rejected) in zip(steps, sides.tolist(), strict=True)
    ]

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        for side, colour in (("chosen", figures.BLUE), ("rejected", figures.ORANGE)):
            _curve(axes, rows, side, colour, label=f"{side}, mean of the last {{size}}")
        _dress(axes, "reward")

    return figures.draw(path, paint)


def _curve(
    axes: Any, steps: Metrics, name: str, colour: str, label: str = "mean of the last {size} steps"
) -> None:
    """Draw a metric per step as faint points and its running mean as a line."""
    at = np.array([row["step"] for row in steps])
    values = np.array([row[name] for row in steps], dtype=np.float64)
    size = window(len(values))
    means = np.convolve(values, np.ones(size) / size, mode="valid")
    axes.plot(at, values, color=colour, alpha=0.5, linewidth=0.8, marker=".", ms=3)
    axes.plot(at[size - 1 :], means, color=colour, linewidth=1.8, label=label.format(size=size))


def _points(axes: Any, held_out: Metrics, name: str) -> None:
    """Mark the held-out comparisons' values, if there are any."""
    if held_out:
        at, values = [row["step"] for row in held_out], [row[name] for row in held_out]
        axes.plot(at, values, color=figures.ORANGE, marker="o", ms=4, label="held out")


def _dress(axes: Any, label: str, *, is_last: bool = True) -> None:
    axes.set_xlabel("optimiser step" if is_last else "", fontsize=9)
    axes.set_ylabel(label, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)


def _mean(rows: Metrics, name: str) -> float:
    return float(np.mean([row[name] for row in rows]))
