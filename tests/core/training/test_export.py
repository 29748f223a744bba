"""How far published weights are from the base model's, and how an adapter names its base."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from activeuf_core.artifacts import read_json
from activeuf_core.training.export import relative_distance
from tests.core.training.conftest import MakeTraining, train


def save(folder: Path, **weights: torch.Tensor) -> Path:
    folder.mkdir()
    for name, weight in weights.items():
        save_file({name: weight}, folder / f"{name}.safetensors")
    return folder


def test_distance_is_relative_to_the_base_models_norm(tmp_path: Path) -> None:
    base = save(tmp_path / "base", a=torch.tensor([3.0, 0.0]), b=torch.tensor([4.0]))
    ours = save(tmp_path / "ours", a=torch.tensor([3.0, 0.3]), b=torch.tensor([4.4]))
    assert relative_distance(ours, base, torch.float32) == pytest.approx(0.5 / 5)
    assert relative_distance(base, base, torch.float32) == 0.0


def test_distance_leaves_out_weights_that_only_one_folder_has(tmp_path: Path) -> None:
    base = save(tmp_path / "base", a=torch.ones(4), lm_head=torch.ones(9))
    ours = save(tmp_path / "ours", a=torch.ones(4), score=torch.ones(2))
    assert relative_distance(ours, base, torch.float32) == 0.0
    assert relative_distance(save(tmp_path / "other", c=torch.ones(1)), base, torch.float32) == 0.0


def test_change_that_bfloat16_rounds_away_counts_as_none(tmp_path: Path) -> None:
    base = save(tmp_path / "base", a=torch.ones(8))
    ours = save(tmp_path / "ours", a=(torch.ones(8) * 1.0001).bfloat16())
    assert relative_distance(ours, base, torch.bfloat16) == 0.0


def test_rounding_of_the_base_model_is_no_change(tmp_path: Path) -> None:
    base = save(tmp_path / "base", a=torch.tensor([1.001]))
    ours = save(tmp_path / "ours", a=torch.tensor([1.001]).bfloat16())
    assert relative_distance(ours, base, torch.bfloat16) == 0.0
    assert relative_distance(ours, base, torch.float32) > 0.0


def test_adapter_is_measured_and_names_its_base_model(
    make_training: MakeTraining, tiny_model: Path
) -> None:
    context = train(make_training("reward_model", output="adapter", max_steps=2))
    settings = read_json(context.output / "adapter_config.json")
    assert settings["base_model_name_or_path"] == str(tiny_model)
    assert settings["revision"] is None
    assert 0 < context.metadata["weights_distance"] < 1
    merged = train(make_training("reward_model", max_steps=2)).metadata["weights_distance"]
    assert context.metadata["weights_distance"] == pytest.approx(merged, rel=0.5)
