"""A training from its data to what is published, and what ends it early."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import Trainer

from activeuf_core.artifacts import read_json
from activeuf_core.errors import ConfigError, DataError
from activeuf_core.paths import (
    ACCURACY_CURVE,
    LOSS_CURVE,
    METRICS,
    PREFERENCES,
    REWARDS_CURVE,
    TRAINING_CONFIG,
    TRAINING_LOG,
)
from activeuf_core.schemas import PREFERENCE, write_rows
from activeuf_core.stage import StageContext
from activeuf_core.stages import stage_of
from activeuf_core.training import dpo as dpo_module
from activeuf_core.training import reward_model as rm_module
from activeuf_core.training import session
from activeuf_core.training.batching import Batching
from activeuf_core.training.config import DPOConfig, RewardModelConfig, TrainingConfig
from activeuf_core.training.report import read_metrics
from tests.core.training.conftest import MakeTraining, preference_row, train

ASSETS = ("dpo_model", "reward_model")
VARIANTS = [("dpo_model", name) for name in ("sigmoid", "sigmoid_norm", "ipo", "simpo")]


@pytest.fixture(params=ASSETS)
def finished(request: pytest.FixtureRequest) -> StageContext:
    """Either finished training."""
    return request.getfixturevalue("dpo" if request.param == "dpo_model" else "reward_model")


def metrics(context: StageContext) -> list[dict[str, float]]:
    return read_metrics(context.output / METRICS)


def test_every_declared_check_is_reported_and_passes(finished: StageContext) -> None:
    reported = {(check["name"], check["blocking"]) for check in finished.checks}
    assert reported == {(check.name, check.blocking) for check in stage_of(finished.asset).checks}
    assert all(check["passed"] for check in finished.checks)


def test_every_step_is_logged_once(finished: StageContext) -> None:
    rows = metrics(finished)
    assert [row["step"] for row in rows] == list(range(1, 17))
    assert all(row["seconds"] > 0 and row["num_tokens"] > 0 for row in rows)
    assert finished.metadata["tokens"] == rows[-1]["num_tokens"]
    assert finished.metadata["steps"] == 16


def test_metadata_say_what_was_used_and_what_it_took(finished: StageContext) -> None:
    found = finished.metadata
    assert (found["pairs_used"], found["pairs_dropped"], found["resumed_from_step"]) == (16, 0, 0)
    assert (found["per_device_batch_size"], found["gradient_accumulation_steps"]) == (2, 2)
    assert found["halved_for_memory"] is False
    assert 0 < found["trained_weights"] < found["weights"]
    assert found["tokens_per_s"] > 0
    assert (found["device"], found["dtype"]) == ("cpu", "float32")


def test_config_and_curves_are_published(finished: StageContext) -> None:
    settings = read_json(finished.output / TRAINING_CONFIG)
    assert settings["config"]["base_model"] == {"name": "tiny", "identity": "tiny"}
    assert settings["run"]["warmup_steps"] == (2 if finished.asset == "dpo_model" else 0)
    for name in (LOSS_CURVE, ACCURACY_CURVE, REWARDS_CURVE):
        assert 1_000 < (finished.output / name).stat().st_size < 25_000


def test_no_checkpoint_is_written_by_a_short_training(finished: StageContext) -> None:
    assert list(finished.checkpoints.glob("checkpoint-*")) == []


def test_learning_rate_warms_up_and_falls(dpo: StageContext, reward_model: StageContext) -> None:
    falling = [min(step / 2, (16 - step) / 14) * 5e-3 for step in range(16)]
    assert [row["learning_rate"] for row in metrics(dpo)] == pytest.approx(falling)
    assert {row["learning_rate"] for row in metrics(reward_model)} == {2e-2}


def test_constant_schedule_keeps_its_warm_up(make_training: MakeTraining) -> None:
    context = train(make_training("reward_model", warmup_fraction=0.5))
    assert [row["learning_rate"] for row in metrics(context)] == [0.0, 2.5e-3, 5e-3, 5e-3]


@pytest.mark.parametrize(
    ("asset", "module", "model"),
    [("dpo_model", dpo_module, DPOConfig), ("reward_model", rm_module, RewardModelConfig)],
)
def test_the_seed_reaches_the_order_of_the_comparisons(
    make_training: MakeTraining, asset: str, module: ModuleType, model: type[TrainingConfig]
) -> None:
    def first_batch(seed: int) -> list[Any]:
        context = make_training(asset, seed=seed)
        config = context.config(model)
        plan = session.prepare(context, config)
        trainer = session.make_trainer(plan, module.kind(config), Batching(4, 1))
        return next(iter(trainer.get_train_dataloader()))["input_ids"].tolist()

    assert first_batch(1) == first_batch(1) != first_batch(2)


@pytest.mark.parametrize("asset", ASSETS)
def test_held_out_comparisons_are_scored_at_the_end(
    make_training: MakeTraining, asset: str
) -> None:
    context = train(make_training(asset, validation_fraction=0.2, max_steps=2))
    assert (context.metadata["pairs_used"], context.metadata["pairs_held_out"]) == (13, 3)
    assert metrics(context)[-1]["eval_loss"] == context.metadata["eval_loss"]
    assert any(name.endswith(("accuracy", "accuracies")) for name in metrics(context)[-1])
    assert context.metadata["steps"] == 2


@pytest.mark.parametrize(("asset", "loss_type"), [*VARIANTS, ("reward_model", None)])
def test_held_out_comparisons_are_scored_along_the_way(
    make_training: MakeTraining, asset: str, loss_type: str | None
) -> None:
    changes = {"loss_type": loss_type} if loss_type else {}
    context = train(
        make_training(asset, validation_fraction=0.2, max_steps=5, eval_every=2, **changes)
    )
    rows = metrics(context)
    evaluated = {row["step"]: row["eval_loss"] for row in rows if "eval_loss" in row}
    assert list(evaluated) == [2, 4, 5]
    assert evaluated[5] == context.metadata["eval_loss"]
    assert len({round(loss, 6) for loss in evaluated.values()}) == 3


def test_evaluating_along_the_way_changes_no_weight(make_training: MakeTraining) -> None:
    folders = [
        train(make_training("dpo_model", validation_fraction=0.2, eval_every=every)).output
        for every in (None, 1)
    ]
    files = [(folder / "model.safetensors").read_bytes() for folder in folders]
    assert files[0] == files[1]


def test_more_steps_than_one_pass_over_the_data_needs(make_training: MakeTraining) -> None:
    context = train(make_training("dpo_model", max_steps=10, epochs=1))
    assert [row["step"] for row in metrics(context)] == list(range(1, 11))
    assert metrics(context)[-1]["epoch"] == pytest.approx(2.5)


def test_wrong_rows_publish_nothing(make_training: MakeTraining, tmp_path: Path) -> None:
    same = preference_row(3, rejected=preference_row(3)["chosen"])
    write_rows(tmp_path / PREFERENCES, PREFERENCE, [*map(preference_row, range(8)), same])
    context = make_training("dpo_model", data=tmp_path)
    with pytest.raises(DataError, match="of 9 comparisons, 1 with chosen = rejected"):
        train(context)
    assert [path.name for path in context.output.iterdir()] == [TRAINING_LOG]
    assert "1 with chosen = rejected" in (context.output / TRAINING_LOG).read_text()


def test_loss_that_is_not_finite_stops_at_once(make_training: MakeTraining) -> None:
    context = make_training("reward_model", epochs=4, learning_rate=1e30)
    with pytest.raises(DataError, match=r"(loss|grad_norm) is (nan|inf) at step [23] .*Lower"):
        train(context)
    assert len(metrics(context)) <= 3
    assert not list(context.output.glob("*.safetensors"))


def test_weights_that_break_in_the_last_step_are_not_published(make_training: MakeTraining) -> None:
    context = make_training(
        "dpo_model", lora=None, max_steps=1, warmup_fraction=0.0, learning_rate=1e39
    )
    with pytest.raises(DataError, match=r"the trained model: .* weights hold NaN or infinite"):
        train(context)
    assert not list(context.output.glob("*.safetensors"))


def test_adapter_dropout_takes_effect(make_training: MakeTraining) -> None:
    losses = [
        metrics(train(make_training("dpo_model", lora={"rank": 4, "dropout": dropout})))[-1]["loss"]
        for dropout in (0.0, 0.5)
    ]
    assert losses[0] != pytest.approx(losses[1], abs=1e-6)


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A device that holds so many comparisons at once, after its first step."""
    holds = {"comparisons": 1}
    step = Trainer.training_step

    def training_step(self: Trainer, *args: Any, **options: Any) -> torch.Tensor:
        wanted = self.args.per_device_train_batch_size
        if self.state.global_step > 0 and wanted > holds["comparisons"]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(self, *args, **options)

    monkeypatch.setattr(Trainer, "training_step", training_step)
    return holds


@pytest.mark.usefixtures("small_memory")
def test_out_of_memory_is_retried_with_the_same_steps_in_smaller_passes(
    make_training: MakeTraining, dpo: StageContext
) -> None:
    context = train(make_training("dpo_model", epochs=4))
    found = context.metadata
    assert found["halved_for_memory"] is True
    assert (found["per_device_batch_size"], found["gradient_accumulation_steps"]) == (1, 4)
    assert [row["step"] for row in metrics(context)] == list(range(1, 17))
    losses = [[row["loss"] for row in metrics(one)] for one in (context, dpo)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


def test_out_of_memory_twice_says_what_to_lower(
    make_training: MakeTraining, small_memory: dict[str, int]
) -> None:
    small_memory["comparisons"] = 0
    with pytest.raises(
        ConfigError, match=r"per_device_batch_size 2, and again with 1 .*max_tokens"
    ):
        train(make_training("dpo_model"))


def test_model_that_answers_nothing_new_fails_its_check(make_training: MakeTraining) -> None:
    context = train(make_training("dpo_model", max_steps=1, warmup_fraction=1.0))
    failed = {check["name"] for check in context.checks if not check["passed"]}
    assert failed == {"weights_changed", "training_reduced_loss"}
    assert math.isclose(context.metadata["weights_distance"], 0.0)


def test_model_folder_that_moved_trains_the_same(
    make_training: MakeTraining, tiny_model: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(tiny_model, tmp_path / "moved")
    outputs = [
        train(make_training("dpo_model", model=folder)).output for folder in (tiny_model, moved)
    ]
    files = [(folder / "model.safetensors").read_bytes() for folder in outputs]
    assert files[0] == files[1]
    assert str(moved) not in (outputs[1] / "config.json").read_text()
