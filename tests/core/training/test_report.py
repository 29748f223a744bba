"""Figures, curves and facts from a training's metrics."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from activeuf_core.artifacts import read_json
from activeuf_core.paths import (
    ACCURACY_CURVE,
    LOSS_CURVE,
    METRICS,
    REWARDS_CURVE,
    TRAINING_CONFIG,
)
from activeuf_core.stage import StageContext
from activeuf_core.training.config import TrainingConfig
from activeuf_core.training.report import Facts, MetricNames, read_metrics, summary, window, write
from tests.core.training.conftest import FAST, MakeTraining
from tests.fakes.stage_context import passed

NAMES = MetricNames(accuracy="accuracy", margin="margin", mean_reward="mean_reward")


def steps(losses: list[float]) -> list[dict[str, float]]:
    return [
        {
            "step": i,
            "loss": loss,
            "accuracy": 0.5,
            "margin": -loss,
            "mean_reward": 1.0,
            "num_tokens": 100.0 * i,
            "seconds": 2.0 * i,
        }
        for i, loss in enumerate(losses, start=1)
    ]


def report(context: StageContext, losses: list[float], **changes: Any) -> StageContext:
    for step, row in enumerate(steps(losses), start=1):
        context.log_metrics(step, **{name: row[name] for name in row if name != "step"})
    facts = {"values": {"device": "cpu"}, "num_read": 10, "num_kept": 9, "distance": 0.1, **changes}
    write(context, TrainingConfig.model_validate(FAST), NAMES, Facts(**facts))
    return context


@pytest.fixture
def context(make_training: MakeTraining) -> StageContext:
    return make_training("reward_model")


@pytest.mark.parametrize(
    ("num_steps", "size"), [(1, 1), (3, 1), (6, 2), (12, 3), (40, 4), (100, 10)]
)
def test_window_is_a_tenth_of_the_steps_but_three_where_it_can_be(
    num_steps: int, size: int
) -> None:
    assert window(num_steps) == size


def test_final_figures_are_means_over_the_last_window() -> None:
    found = summary(steps([1.0] * 17 + [0.4, 0.3, 0.2]), NAMES)
    assert found["final_loss"] == pytest.approx(0.3)
    assert found["final_margin"] == pytest.approx(-0.3)
    assert (found["steps"], found["tokens"], found["tokens_per_s"]) == (20, 2000, 50.0)


def test_facts_of_a_good_training_pass(context: StageContext) -> None:
    report(context, [0.7, 0.6, 0.5])
    assert all(passed(context).values())
    assert context.metadata["device"] == "cpu"
    assert context.metadata["weights_distance"] == 0.1
    assert read_json(context.output / TRAINING_CONFIG)["run"] == {"device": "cpu"}


@pytest.mark.parametrize(
    ("losses", "changes", "failed"),
    [
        ([0.5, 0.6], {}, "training_reduced_loss"),
        ([0.7, 0.6], {"distance": 0.0}, "weights_changed"),
        ([0.7, 0.6], {"distance": math.nan}, "weights_changed"),
        ([0.7, 0.6], {"num_kept": 4}, "pairs_kept"),
    ],
)
def test_each_fact_can_fail(
    context: StageContext, losses: list[float], changes: dict[str, Any], failed: str
) -> None:
    assert [name for name, ok in passed(report(context, losses, **changes)).items() if not ok] == [
        failed
    ]


@pytest.mark.parametrize("num_steps", [1, 2, 3000])
def test_curves_are_small_pictures(context: StageContext, num_steps: int) -> None:
    report(context, [1.0 + math.sin(i) for i in range(num_steps)])
    for name in (LOSS_CURVE, ACCURACY_CURVE, REWARDS_CURVE):
        path = context.output / name
        assert path.stat().st_size < 25_000
        with Image.open(path) as picture:
            assert picture.width == 540
    assert context.metadata["loss"] == {"kind": "plot", "path": LOSS_CURVE}


def test_held_out_values_are_drawn_over_the_steps(context: StageContext) -> None:
    without = (report(context, [0.7, 0.6, 0.5]).output / LOSS_CURVE).read_bytes()
    context.log_metrics(3, eval_loss=0.6, eval_accuracy=0.5, eval_margin=0.1)
    with_them = (report(context, []).output / LOSS_CURVE).read_bytes()
    assert with_them != without
    assert context.metadata["final_loss"] == 0.5


def test_rewards_of_both_sides_are_told_or_follow_from_mean_and_margin() -> None:
    told = MetricNames("a", "m", sides=("rewards/chosen", "rewards/rejected"))
    assert told.rewards({"rewards/chosen": 2.0, "rewards/rejected": -1.0}) == (2.0, -1.0)
    assert NAMES.rewards({"margin": 3.0, "mean_reward": 0.5}) == (2.0, -1.0)


def test_metrics_are_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / METRICS
    path.write_text('{"step": 1, "loss": 0.5}\n{"step": 1, "eval_loss": null}\n')
    assert read_metrics(path) == [{"step": 1, "loss": 0.5}, {"step": 1, "eval_loss": None}]
