"""An experiment whose base model is a real tiny one, and folders as other programs leave them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from activeuf_core.adoption.offers import Wanted
from activeuf_core.artifacts import ArtifactStore
from activeuf_core.catalog import Catalog
from activeuf_core.paths import Layout
from activeuf_core.recipes import Node, RecipeBook
from activeuf_core.stages import STAGES
from tests.fakes import tiny_models
from tests.graph.conftest import EXPERIMENT, write_small_project, write_yaml

Trained = Callable[..., Path]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model, and a policy and a reward model that differ from it in one weight."""
    root = tmp_path_factory.mktemp("models")
    tiny_models.build(root / "base")
    tiny_models.build(root / "policy")
    tiny_models.build(root / "rewards", "LlamaForSequenceClassification")
    for name in ("policy", "rewards"):
        _train(root / name)
    return root


@pytest.fixture
def wanted(tmp_path: Path, models: Path) -> Wanted:
    """The recipes of exp-a of the small project, on that base model."""
    folder = write_small_project(tmp_path)
    shutil.rmtree(folder / "base")
    shutil.copytree(models / "base", folder / "base")
    return wanted_of(folder)


@pytest.fixture
def trained(tmp_path: Path, models: Path) -> Trained:
    """Return a fresh copy of a model folder."""

    def copy(name: str = "policy", to: str = "run") -> Path:
        return shutil.copytree(models / name, tmp_path / "elsewhere" / to)

    return copy


def wanted_of(folder: Path, **settings: object) -> Wanted:
    """Return the recipes of exp-a, after an edit of its file."""
    if settings:
        path = folder / "configs" / "experiments" / "exp-a.yaml"
        write_yaml(path, {**EXPERIMENT, "seed": ord("a"), **settings})
    layout = Layout(folder / "home")
    catalog = Catalog.load(folder / "configs", layout)
    book = RecipeBook(catalog, ArtifactStore(layout))
    nodes: list[Node] = [
        (stage.asset, {"dataset": "tiny", "experiment": "exp-a"}[stage.dimension])
        for stage in STAGES
        if stage.dimension in ("dataset", "experiment")
    ]
    return Wanted.of(book, "exp-a", nodes)


def _train(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] += 0.5
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
