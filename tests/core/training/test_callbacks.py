"""What watches a training, event by event."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from activeuf_core.artifacts import read_json
from activeuf_core.errors import DataError
from activeuf_core.paths import METRICS
from activeuf_core.stage import StageContext
from activeuf_core.training.callbacks import KeepCheckpoints, ReportProgress
from activeuf_core.training.report import read_metrics
from tests.core.training.conftest import MakeTraining

LINE = {"loss": 0.5, "grad_norm": 1.0, "learning_rate": 1e-3, "num_tokens": 7.0}


@pytest.fixture
def arguments(tmp_path: Path) -> TrainingArguments:
    return TrainingArguments(output_dir=str(tmp_path), use_cpu=True)


@pytest.fixture
def context(make_training: MakeTraining) -> StageContext:
    return make_training("dpo_model")


def state(
    step: int, max_steps: int = 10, history: list[dict[str, Any]] | None = None
) -> TrainerState:
    return TrainerState(global_step=step, max_steps=max_steps, log_history=history or [])


def log(
    callback: ReportProgress, arguments: TrainingArguments, step: int, **changes: float
) -> TrainerState:
    line = {**LINE, **changes}
    now = state(step, history=[dict(line)])
    callback.on_log(arguments, now, TrainerControl(), logs=line)
    return now


def test_progress_and_metrics_are_written_at_every_step(
    context: StageContext, arguments: TrainingArguments
) -> None:
    callback = ReportProgress(context)
    callback.on_train_begin(arguments, state(0), TrainerControl())
    log(callback, arguments, 1)
    [row] = read_metrics(context.output / METRICS)
    assert (row["step"], row["loss"], row["num_tokens"]) == (1, 0.5, 7.0)
    progress = read_json(context.output.parent / "progress.json")
    assert (progress["total"], progress["unit"]) == (10, "steps")


def test_summary_of_the_trainer_is_no_step(
    context: StageContext, arguments: TrainingArguments
) -> None:
    callback = ReportProgress(context)
    callback.on_train_begin(arguments, state(0), TrainerControl())
    callback.on_log(arguments, state(10), TrainerControl(), logs={"train_loss": 0.5})
    callback.on_log(arguments, state(10), TrainerControl(), logs=None)
    assert not (context.output / METRICS).exists()


def test_resume_writes_the_steps_before_and_counts_on(
    context: StageContext, arguments: TrainingArguments
) -> None:
    before = [{**LINE, "step": 1, "num_tokens": 5.0, "seconds": 3.0}, {"step": 1, "eval_loss": 0.1}]
    callback = ReportProgress(context)
    context.log_metrics(1, loss=9.0)
    callback.on_train_begin(arguments, state(1, history=before), TrainerControl())
    now = log(callback, arguments, 2)
    rows = [row for row in read_metrics(context.output / METRICS) if "loss" in row]
    assert [(row["step"], row["num_tokens"]) for row in rows] == [(1, 5.0), (2, 12.0)]
    assert rows[1]["seconds"] >= 3.0
    assert now.log_history[-1]["num_tokens"] == 12.0
    assert callback.resumed_from == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": float("nan")}, "loss is nan at step 4"),
        ({"loss": float("-inf")}, "loss is -inf at step 4"),
        ({"grad_norm": float("inf")}, "grad_norm is inf at step 4"),
    ],
)
def test_what_is_not_finite_ends_the_training(
    context: StageContext, arguments: TrainingArguments, changes: dict[str, float], said: str
) -> None:
    callback = ReportProgress(context)
    callback.on_train_begin(arguments, state(3), TrainerControl())
    with pytest.raises(DataError, match=said):
        log(callback, arguments, 4, **changes)


@pytest.mark.parametrize(
    ("step", "max_steps", "saved"), [(4, 10, True), (5, 10, False), (10, 10, True), (4, 4, False)]
)
def test_checkpoints_come_every_so_often_and_never_in_short_trainings(
    arguments: TrainingArguments, tmp_path: Path, step: int, max_steps: int, saved: bool
) -> None:
    keeper = KeepCheckpoints(tmp_path, "i", every=4)
    control = keeper.on_step_end(arguments, state(step, max_steps), TrainerControl())
    assert (control.should_save, control.should_training_stop) == (saved, False)


def test_sigterm_is_noticed_between_two_forward_passes(
    arguments: TrainingArguments, tmp_path: Path
) -> None:
    keeper = KeepCheckpoints(tmp_path, "i", every=100)
    before = signal.getsignal(signal.SIGTERM)
    keeper.on_train_begin(arguments, state(2), TrainerControl())
    quiet = keeper.on_substep_end(arguments, state(3), TrainerControl())
    signal.raise_signal(signal.SIGTERM)
    asked = keeper.on_substep_end(arguments, state(3), TrainerControl())
    keeper.release()
    assert (quiet.should_training_stop, quiet.should_save) == (False, False)
    assert (asked.should_training_stop, asked.should_save) == (True, True)
    assert signal.getsignal(signal.SIGTERM) == before


def test_sigterm_writes_no_checkpoint_over_the_one_that_stands(
    arguments: TrainingArguments, tmp_path: Path
) -> None:
    keeper = KeepCheckpoints(tmp_path, "i", every=100)
    keeper.on_train_begin(arguments, state(3), TrainerControl())
    signal.raise_signal(signal.SIGTERM)
    control = keeper.on_substep_end(arguments, state(3), TrainerControl())
    keeper.release()
    assert (control.should_training_stop, control.should_save) == (True, False)
