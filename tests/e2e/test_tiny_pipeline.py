"""The whole graph, every stage real, on a tiny random model and a slice of the demo's data."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from activeuf_core.artifacts import ArtifactStore, read_json
from activeuf_core.errors import ArtifactError
from activeuf_core.paths import LEADERBOARD_JSON, PROJECT, Layout
from activeuf_dagster.project import Project
from tests.fakes import tiny_models
from tests.graph.conftest import write_yaml

MEMBERS = ("smollm2-greedy", "smollm2-terse", "smollm2-t1.0")
TRAINING = {
    "base_model": "tiny",
    "dtype": "float32",
    "lora": {"rank": 2, "alpha": 4},
    "learning_rate": 0.01,
    "epochs": 1,
    "batch_size": 4,
    "per_device_batch_size": 4,
    "max_tokens": 512,
    "gradient_checkpointing": False,
}
SHARED = {"dtype": "float32", "limit": 2, "num_fewshot": 0, "max_new_tokens": 4, "batch_size": 2}
NAMES = ("gsm8k", "minerva_math", "ifeval", "truthfulqa", "alpaca_eval", "rewardbench2")
JUDGE = {"model": "tiny", "dtype": "float32", "min_label_mass": 0.0}
EXPERIMENT = {
    "dataset": "tiny",
    "loop": {
        "acquisition": {"method": "deltaucb"},
        "batch_size": 4,
        "enn": {"max_steps": 2, "num_heads": 3, "hidden_sizes": [8]},
    },
    "dpo_model": TRAINING,
    "reward_model": TRAINING,
    "benchmarks": {
        "all": SHARED,
        **{
            name: {"data": {"path": str(PROJECT / f"demo/benchmarks/{name}.jsonl")}}
            for name in NAMES
        },
        "alpaca_eval": {
            "data": {"path": str(PROJECT / "demo/benchmarks/alpaca_eval.jsonl")},
            "judge": JUDGE,
        },
    },
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose one experiment has been materialized by the command line."""
    folder = tmp_path_factory.mktemp("e2e")
    tiny_models.build(folder / "tiny", context=2048)
    write_yaml(folder / "configs/models.yaml", {"tiny": {"path": "tiny"}})
    dataset = {
        "prompts": {"source": {"path": str(PROJECT / "demo/pool.jsonl")}, "limit": 12},
        "model_pool": dict.fromkeys(MEMBERS),
        "judge": {"mode": "verifiable"},
        "features": {"model": "tiny", "max_tokens": 512},
    }
    write_yaml(folder / "configs/datasets/tiny.yaml", dataset)
    write_yaml(folder / "configs/experiments/one.yaml", EXPERIMENT)
    done = activeuf(folder, "materialize", "one")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return folder


def activeuf(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line on the project in a folder."""
    environment = {
        **os.environ,
        "ACTIVEUF_CONFIGS": str(folder / "configs"),
        "ACTIVEUF_HOME": str(folder / "home"),
        "PYTHONPATH": str(PROJECT),
        "COLUMNS": "200",
    }
    command = [sys.executable, "-m", "activeuf_dagster.cli", *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def artifact(folder: Path, asset: str, partition: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a complete artifact."""
    monkeypatch.setenv("ACTIVEUF_CONFIGS", str(folder / "configs"))
    monkeypatch.setenv("ACTIVEUF_HOME", str(folder / "home"))
    recipe = Project.load().book().recipe(asset, partition)
    return ArtifactStore(Layout(folder / "home")).require(asset, recipe.fingerprint)


def test_the_leaderboard_holds_every_score(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = read_json(artifact(home, "leaderboard", "all", monkeypatch) / LEADERBOARD_JSON)
    cells = board["rows"][0]["cells"]
    assert {name for name in NAMES if cells[name]["value"] is not None} == set(NAMES)


def test_the_experiment_can_be_looked_at_in_the_usual_layout(home: Path) -> None:
    models = home / "home/experiments/one/models"
    assert (models / "dpo/one/config.json").is_file()
    assert (models / "dpo/one/model.safetensors").is_file()
    assert "score" in read_json(models / "dpo/one/results/gsm8k/metrics.json")
    assert "score" in read_json(models / "reward_models/one/metrics.json")


def test_a_second_time_nothing_is_run(home: Path) -> None:
    before = set((home / "home/runs").iterdir())
    done = activeuf(home, "materialize", "one")
    assert done.returncode == 0
    assert set((home / "home/runs").iterdir()) == before


def test_a_deleted_file_costs_its_own_partition_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = artifact(home, "gsm8k_score", "one", monkeypatch)
    (broken / "predictions.jsonl").unlink()
    with pytest.raises(ArtifactError, match=r"predictions.jsonl is gone"):
        artifact(home, "gsm8k_score", "one", monkeypatch)
    before = set((home / "home/runs").iterdir())
    assert activeuf(home, "materialize", "one").returncode == 0
    (new,) = set((home / "home/runs").iterdir()) - before
    assert [unit["asset"] for unit in read_json(new / "job.json")["units"]] == ["gsm8k_score"]
