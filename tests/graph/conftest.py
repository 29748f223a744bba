"""A small project in a folder of its own: two datasets, three members, three experiments."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
import yaml

from activeuf_dagster.project import Project
from tests.fakes.launcher import InstantLauncher

EXPERIMENT = {
    "dataset": "tiny",
    "loop": {"acquisition": {"method": "random"}},
    "dpo_model": {"base_model": "base"},
    "reward_model": {"base_model": "base"},
}


def write_yaml(path: Path, value: object) -> None:
    """Write a YAML file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(value, sort_keys=False), encoding="utf-8")


def dataset(pool: list[str]) -> dict:
    """Return the content of a dataset file."""
    return {
        "prompts": {"source": {"path": "pool.jsonl"}},
        "model_pool": dict.fromkeys(pool),
        "judge": {"mode": "verifiable"},
        "features": {"model": "base"},
    }


def write_small_project(folder: Path) -> Path:
    """Write the config files, pool and model folder of a small project; return its folder."""
    configs = folder / "configs"
    (folder / "pool.jsonl").write_text('{"prompt_id": "1"}\n', encoding="utf-8")
    (folder / "base").mkdir()
    (folder / "base" / "model.safetensors").write_bytes(b"weights")
    write_yaml(configs / "models.yaml", {"base": {"path": "base"}})
    write_yaml(configs / "datasets" / "tiny.yaml", dataset(["a", "b"]))
    write_yaml(configs / "datasets" / "other.yaml", dataset(["a"]))
    for name in ("exp-a", "exp-b", "exp-c"):
        write_yaml(configs / "experiments" / f"{name}.yaml", {**EXPERIMENT, "seed": ord(name[-1])})
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small project's folder; ACTIVEUF_* and DAGSTER_HOME point into it."""
    (tmp_path / "dagster_home").mkdir()
    monkeypatch.setenv("ACTIVEUF_CONFIGS", str(tmp_path / "configs"))
    monkeypatch.setenv("ACTIVEUF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster_home"))
    return write_small_project(tmp_path)


@pytest.fixture
def project(folder: Path) -> Project:
    """The project of that folder."""
    return Project.load()


@pytest.fixture
def launcher(project: Project) -> InstantLauncher:
    """A launcher that makes artifacts at once."""
    return InstantLauncher(project.layout)


@pytest.fixture
def instance() -> dg.DagsterInstance:
    """A Dagster instance in memory."""
    return dg.DagsterInstance.ephemeral()
