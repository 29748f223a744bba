"""A training over two processes: what one makes, whatever befalls one of the two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from activeuf_core.artifacts import ArtifactStore, read_json
from activeuf_core.digests import DigestCache
from activeuf_core.jobs import Job, Unit
from activeuf_core.launch import launch_arguments
from activeuf_core.launchers.local import LocalLauncher
from activeuf_core.paths import METRICS, PROJECT, Layout, RunFolder, UnitFolder
from activeuf_core.shared_fate import LOST
from activeuf_core.slurm.cluster import Processes
from activeuf_core.training.report import read_metrics
from tests.core.training.conftest import FAST, MakeTraining, train
from tests.fakes.trouble_in_training import ON_CPU, TROUBLE

STAGE = "tests.fakes.trouble_in_training"
FSDP2 = PROJECT / "configs" / "accelerate" / "fsdp2.yaml"
SHORT = {**FAST, "epochs": 1.5, "save_every": 2}
"""Six steps, a checkpoint after every second."""
TIMEOUT_S = 180.0
CLOSE = 1e-4
"""Relative: the sums of a batch are taken in another order."""


@dataclass(frozen=True)
class Place:
    """Where a training reads and writes."""

    folder: Path
    model: Path
    data: Path

    @property
    def unit(self) -> UnitFolder:
        return UnitFolder(self.folder / "run")

    @property
    def metadata(self) -> dict[str, Any]:
        return read_json(self.unit.result)["metadata"]

    @property
    def losses(self) -> list[float]:
        rows = read_metrics(self.unit.output / METRICS)
        return [row["loss"] for row in rows if "loss" in row]

    def start(
        self,
        trouble: str = "",
        accelerate: Path | None = None,
        asset: str = "dpo_model",
        **changes: Any,
    ) -> int:
        """Train as two processes; return the exit code."""
        unit = {
            "asset": asset,
            "config": {**SHORT, **changes},
            "inputs": {"preference_dataset": str(self.data)},
            "locations": {"tiny": str(self.model)},
        }
        config = self.folder / "unit.json"
        config.write_text(json.dumps(unit))
        launch = launch_arguments(2, str(accelerate) if accelerate else None)
        stage = [sys.executable, "-m", STAGE, "--config", config, "--run-dir", self.unit.path]
        told = {TROUBLE: trouble, ON_CPU: "1" if accelerate else "", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *launch, *map(str, stage)],
            cwd=PROJECT,
            env={**os.environ, **told},
            timeout=TIMEOUT_S,
            check=False,
        )
        return done.returncode


@pytest.fixture
def place(tmp_path: Path, tiny_model: Path, preferences: Path) -> Place:
    return Place(tmp_path, tiny_model, preferences)


@pytest.fixture(scope="module")
def alone(make_training: MakeTraining) -> Place:
    """The same training by one process."""
    context = train(make_training("dpo_model", **SHORT))
    context.finish()
    home = context.output.parent
    assert home.name == "unit"
    (home.parent / "run").symlink_to(home)
    return Place(home.parent, Path(), Path())


def weights(place: Place) -> dict[str, torch.Tensor]:
    return load_file(place.unit.output / "model.safetensors")


def assert_like(place: Place, alone: Place) -> None:
    """Every step has the loss that one process has, and the weights are the same in the end."""
    assert place.losses == pytest.approx(alone.losses, rel=CLOSE)
    ours, theirs = weights(place), weights(alone)
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-3, atol=1e-5)


def test_two_processes_train_what_one_does(place: Place, alone: Place) -> None:
    assert place.start() == 0
    assert_like(place, alone)
    found, single = place.metadata, alone.metadata
    assert (found["processes"], found["nodes"], found["divided"]) == (2, 1, "whole")
    assert (found["per_device_batch_size"], found["gradient_accumulation_steps"]) == (2, 1)
    assert (single["processes"], single["gradient_accumulation_steps"]) == (1, 2)
    assert (found["steps"], found["tokens"]) == (single["steps"], single["tokens"])
    assert not (place.unit.path / "rank-1" / "output" / METRICS).exists()
    assert AutoModelForCausalLM.from_pretrained(place.unit.output).num_parameters() > 0


def test_divided_weights_come_together_and_go_on_from_a_checkpoint(
    place: Place, alone: Place
) -> None:
    assert place.start("term:1:2", FSDP2) != 0
    assert place.start("", FSDP2) == 0
    assert (place.metadata["divided"], place.metadata["resumed_from_step"]) == ("fsdp", 3)
    assert place.metadata["trained_weights"] == alone.metadata["trained_weights"]
    assert place.metadata["weights_distance"] == pytest.approx(
        alone.metadata["weights_distance"], rel=1e-3
    )
    assert_like(place, alone)


def test_divided_reward_model_is_published_as_an_adapter(place: Place) -> None:
    assert place.start("", FSDP2, "reward_model", output="adapter", max_steps=2) == 0
    base = AutoModelForSequenceClassification.from_pretrained(place.model, num_labels=1)
    model = PeftModel.from_pretrained(base, str(place.unit.output))
    assert all(torch.isfinite(weight).all() for weight in model.parameters())
    assert 0 < place.metadata["weights_distance"] < 1


def test_a_killed_process_ends_all_and_the_next_run_goes_on(place: Place, alone: Place) -> None:
    assert place.start("kill:1:3") != 0
    failure = read_json(place.unit.failure)
    assert (failure["kind"], failure["retryable"]) == (LOST, True)
    assert not place.unit.result.exists()
    assert place.start() == 0
    assert place.metadata["resumed_from_step"] == 2
    assert_like(place, alone)


def test_sigterm_to_one_stops_all_at_one_step(place: Place, alone: Place) -> None:
    assert place.start("term:1:2") != 0
    kept = place.unit.path / "checkpoints"
    assert {path.name for path in kept.glob("checkpoint-*")} == {"checkpoint-2", "checkpoint-3"}
    assert not place.unit.failure.exists()
    assert place.start() == 0
    assert place.metadata["resumed_from_step"] == 3
    assert_like(place, alone)


def test_what_is_wrong_in_one_process_is_the_reason_for_all(place: Place) -> None:
    assert place.start("data:1:1") != 0
    failure = read_json(place.unit.failure)
    assert (failure["kind"], failure["message"]) == ("DataError", "row 3 is bad")


def test_out_of_memory_in_one_process_halves_the_passes_of_all(
    tmp_path: Path, place: Place, alone: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TROUBLE, "memory:1:2")
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    stages = {"dpo_model": Processes(processes_per_node=2)}
    launcher = LocalLauncher(Layout(tmp_path / "home"), slots=2, stages=stages)
    checkpoints = str(launcher.layout.checkpoints("dpo_model", "7" * 32))
    inputs = {"preference_dataset": {"test": str(place.data)}}
    locations = {"tiny": str(place.model)}
    identity = DigestCache(launcher.layout.digests).digest(place.model)
    config = {**SHORT, "base_model": {"name": "tiny", "identity": identity}}
    unit = Unit("dpo_model", "t", "7" * 32, "1", 0, config, inputs, {}, locations, {}, checkpoints)
    launcher.submit([Job("job", STAGE, (unit,), str(launcher.layout.home))])
    process = launcher._running["job"][1]
    process.wait(TIMEOUT_S)
    manifest = ArtifactStore(launcher.layout).inspect("dpo_model", unit.fingerprint).manifest
    assert manifest is not None, launcher.tail("job", 60)
    found = manifest.metadata
    assert (found["halved_for_memory"], found["processes"]) == (True, 2)
    assert (found["per_device_batch_size"], found["gradient_accumulation_steps"]) == (1, 2)
    assert found["final_loss"] == pytest.approx(alone.metadata["final_loss"], rel=1e-3)
    assert (
        "started again: out of memory"
        in RunFolder(launcher.layout.run("job")).latest_start().log.read_text()
    )
