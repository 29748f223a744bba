"""What people see of a training: figures, two curves, and the facts that asset checks show.

In: metrics.jsonl, and facts of the run. Out: metadata, two plots, training_config.json,
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
from activeuf_core.paths import ACCURACY_CURVE, LOSS_CURVE, METRICS, TRAINING_CONFIG
from activeuf_core.stage import StageContext
from activeuf_core.training.config import TrainingConfig

WINDOW_SHARE, WINDOW_STEPS = 0.1, 3
"""First and last values are means over a tenth of the steps, three at least: a single step's loss
says more of its batch than of the training."""
MIN_PAIRS_KEPT = 0.5

Metrics = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class MetricNames:
    """What TRL calls these two in a trainer's metrics."""

    accuracy: str
    margin: str


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
    steps = [row for row in read_metrics(context.output / METRICS) if "loss" in row]
    context.add_metadata(**facts.values, **summary(steps, names), weights_distance=facts.distance)
    settings = {"config": config.model_dump(mode="json"), "run": dict(facts.values)}
    write_json(context.output / TRAINING_CONFIG, settings)
    context.add_plot("loss", _plot_loss(context.output / LOSS_CURVE, steps))
    context.add_plot("accuracy", _plot_accuracy(context.output / ACCURACY_CURVE, steps, names))
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


def _plot_loss(path: Path, steps: Metrics) -> Path:
    def paint(figure: Any) -> None:
        _curve(figure.add_subplot(), steps, "loss", "loss", figures.BLUE)

    return figures.draw(path, paint)


def _plot_accuracy(path: Path, steps: Metrics, names: MetricNames) -> Path:
    def paint(figure: Any) -> None:
        above, below = figure.subplots(2, 1, sharex=True)
        _curve(above, steps, names.accuracy, "accuracy", figures.BLUE)
        above.set_xlabel("")
        above.set_ylim(-0.05, 1.05)
        _curve(below, steps, names.margin, "reward margin", figures.ORANGE)

    return figures.draw(path, paint, height=4.0)


def _curve(axes: Any, steps: Metrics, name: str, label: str, colour: str) -> None:
    """Draw a metric per step in grey and its running mean in colour."""
    at = np.array([row["step"] for row in steps])
    values = np.array([row[name] for row in steps], dtype=np.float64)
    size = window(len(values))
    means = np.convolve(values, np.ones(size) / size, mode="valid")
    axes.plot(at, values, color=figures.GREY, linewidth=0.8, marker=".", ms=3, label="per step")
    axes.plot(at[size - 1 :], means, color=colour, linewidth=1.8, label=f"mean of the last {size}")
    axes.set_xlabel("optimiser step", fontsize=9)
    axes.set_ylabel(label, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)


def _mean(rows: Metrics, name: str) -> float:
    return float(np.mean([row[name] for row in rows]))
