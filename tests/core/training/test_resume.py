"""Killed, stopped, resumed: the same steps, the same curve, the same weights."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.artifacts import write_json
from activeuf_core.jobs import Job
from activeuf_core.paths import METRICS, PROJECT, TRAINING_LOG, RunFolder
from activeuf_core.stage import StageContext
from activeuf_core.training.checkpoints import MARK
from activeuf_core.training.report import read_metrics
from tests.core.training.conftest import MakeTraining, train

WEIGHTS = "model.safetensors"
LONG = {"epochs": 10, "save_every": 4}
"""Forty steps, a checkpoint after every fourth."""
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "dpo": ("dpo_model", {}),
    "all weights": ("dpo_model", {"lora": None, "learning_rate": 1e-3}),
    "simpo": ("dpo_model", {"loss_type": "simpo", "lora": {"rank": 4, "dropout": 0.2}}),
    "reward model": ("reward_model", {"lr_schedule": "cosine"}),
}
"""Dropout: the random numbers go on where they were."""
CLOCK = ("seconds", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second")
STEPS = 40
DEADLINE_S = 60.0
POLL_S = 0.02


@pytest.fixture(scope="module")
def uninterrupted(make_training: MakeTraining) -> StageContext:
    return train(make_training("dpo_model", **LONG))


def curve(context: StageContext) -> list[dict[str, float]]:
    """The metrics without the clock's."""
    rows = read_metrics(context.output / METRICS)
    return [{name: value for name, value in row.items() if name not in CLOCK} for row in rows]


def assert_same(resumed: StageContext, whole: StageContext) -> None:
    """Every step once, learning rate, loss and all other values equal to the last bit, and the
    weights too."""
    assert curve(resumed) == curve(whole)
    steps = [row for row in read_metrics(resumed.output / METRICS) if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, STEPS + 1))
    seconds = [row["seconds"] for row in steps]
    assert seconds == sorted(seconds)
    assert (resumed.output / WEIGHTS).read_bytes() == (whole.output / WEIGHTS).read_bytes()


def kill_after(steps: int, context: StageContext, folder: RunFolder) -> int:
    """Start the training as its command, and kill it when so many steps are in its metrics."""
    job = Job("job", "activeuf_core.training", (context.unit,), home=str(folder.path))
    write_json(folder.job, job.to_json())
    command = [sys.executable, "-m", "activeuf_core.training", "--config", str(folder.job)]
    path = folder.unit(context.unit.name).output / METRICS
    with folder.log.open("wb") as log:
        child = subprocess.Popen(
            [*command, "--run-dir", str(folder.path)], cwd=PROJECT, stdout=log, stderr=log
        )
    deadline = time.monotonic() + DEADLINE_S
    while not path.exists() or path.read_bytes().count(b'"loss"') < steps:
        with pytest.raises(subprocess.TimeoutExpired):  # else it ended by itself
            child.wait(POLL_S)
        assert time.monotonic() < deadline, folder.log.read_text()
    child.send_signal(signal.SIGKILL)
    return child.wait()


@pytest.mark.parametrize("kind", KINDS)
def test_killed_training_ends_as_if_nothing_had_happened(
    make_training: MakeTraining, tmp_path: Path, kind: str
) -> None:
    asset, changes = KINDS[kind]
    settings = {**LONG, "epochs": 13, "validation_fraction": 0.2, "eval_every": 6, **changes}
    settings["max_steps"] = STEPS
    context = make_training(asset, home=tmp_path, **settings)
    context.unit = replace(context.unit, checkpoints=str(context.checkpoints))
    steps = random.randint(1, STEPS - 6)
    assert kill_after(steps, context, RunFolder(tmp_path / "run")) == -signal.SIGKILL
    resumed = train(context)
    found = resumed.metadata["resumed_from_step"]
    assert found % 4 == 0 and steps - 4 <= found < STEPS, f"killed after step {steps}"
    assert_same(resumed, train(make_training(asset, **settings)))
    log = (resumed.output / TRAINING_LOG).read_text()
    assert log.count(f"{asset}[test] begins") == 2
    assert not found or f"training begins again at checkpoint-{found}" in log


class StopsAt(StageContext):
    """A context that sends its own process a SIGTERM when a step is logged."""

    def __init__(self, context: StageContext, step: int) -> None:
        self.__dict__.update(context.__dict__)
        self.stop_step = step

    def log_metrics(self, step: int, **values: float) -> None:
        super().log_metrics(step, **values)
        if step == self.stop_step:
            os.kill(os.getpid(), signal.SIGTERM)


def stop(context: StageContext, step: int) -> None:
    with pytest.raises(SystemExit) as ended:
        train(StopsAt(context, step))
    assert ended.value.code == 128 + signal.SIGTERM


@pytest.mark.parametrize("step", [6, 40])
def test_sigterm_saves_and_the_next_attempt_goes_on(
    make_training: MakeTraining, uninterrupted: StageContext, tmp_path: Path, step: int
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    stop(make_training("dpo_model", home=tmp_path, **LONG), step)
    assert (tmp_path / "checkpoints" / f"checkpoint-{step}" / MARK).exists()
    assert signal.getsignal(signal.SIGTERM) == before
    resumed = train(make_training("dpo_model", home=tmp_path, **LONG))
    assert resumed.metadata["resumed_from_step"] == step
    assert_same(resumed, uninterrupted)


def test_sigterm_in_a_short_training_saves_too(make_training: MakeTraining, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"epochs": 2, "learning_rate": 2e-2}
    whole = train(make_training("reward_model", **settings))
    stop(make_training("reward_model", home=tmp_path, **settings), 3)
    resumed = train(make_training("reward_model", home=tmp_path, **settings))
    assert resumed.metadata["resumed_from_step"] == 3
    assert curve(resumed) == curve(whole)
    assert (resumed.output / WEIGHTS).read_bytes() == (whole.output / WEIGHTS).read_bytes()


def test_torn_checkpoint_is_passed_over(
    make_training: MakeTraining, uninterrupted: StageContext, tmp_path: Path
) -> None:
    stop(make_training("dpo_model", home=tmp_path, **LONG), 9)
    torn = tmp_path / "checkpoints" / "checkpoint-9" / "optimizer.pt"
    torn.write_bytes(torn.read_bytes()[:100])
    resumed = train(make_training("dpo_model", home=tmp_path, **LONG))
    assert resumed.metadata["resumed_from_step"] == 8
    assert_same(resumed, uninterrupted)


def test_checkpoint_of_other_settings_is_not_resumed_from(
    make_training: MakeTraining, tmp_path: Path
) -> None:
    stop(make_training("dpo_model", home=tmp_path, **LONG), 5)
    other = train(make_training("dpo_model", home=tmp_path, **LONG, max_steps=6, seed=1))
    assert other.metadata["resumed_from_step"] == 0
    assert other.metadata["steps"] == 6


def test_settings_of_speed_alone_cost_no_progress(
    make_training: MakeTraining, uninterrupted: StageContext, tmp_path: Path
) -> None:
    stop(make_training("dpo_model", home=tmp_path, **LONG), 5)
    smaller = {**LONG, "per_device_batch_size": 4, "gradient_checkpointing": True, "save_every": 7}
    resumed = train(make_training("dpo_model", home=tmp_path, **smaller))
    assert resumed.metadata["resumed_from_step"] == 5
    losses = [row["loss"] for row in curve(resumed)]
    assert losses == pytest.approx([row["loss"] for row in curve(uninterrupted)], rel=1e-4)
