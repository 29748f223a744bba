"""The base model: found, whole and finite, or refused with a reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from activeuf_core.errors import ConfigError, DataError
from activeuf_core.training.base_model import (
    choose_dtype,
    find,
    load_policy,
    load_tokenizer,
    load_with_reward_head,
    require_fitting,
)
from activeuf_core.training.config import TrainingConfig
from tests.core.training.conftest import FAST
from tests.fakes import tiny_models

WEIGHTS = "model.safetensors"


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may break."""
    return shutil.copytree(tiny_model, tmp_path / "copy")


def config(**changes: Any) -> TrainingConfig:
    return TrainingConfig.model_validate({**FAST, **changes})


def test_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no config\.json"):
        find(str(tmp_path))


def test_folder_without_weights_is_refused(copy: Path) -> None:
    (copy / WEIGHTS).rename(copy / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"holds no \*\.safetensors weights"):
        find(str(copy))


def test_hub_revision_becomes_one_folder(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def fetch(repository: str, **options: Any) -> str:
        asked.update(options, repository=repository)
        return str(copy)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    found = find("org/name@abc123")
    assert (found.folder, found.name) == (copy, "org/name@abc123")
    assert (asked["repository"], asked["revision"]) == ("org/name", "abc123")
    assert not any("bin" in pattern for pattern in asked["allow_patterns"])


def test_hub_that_does_not_answer_is_an_error_with_advice() -> None:
    with pytest.raises(DataError, match=r"org/name@abc: cannot be fetched .*HF_TOKEN"):
        find("org/name@abc")


def test_missing_chat_template_says_what_to_do(copy: Path) -> None:
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(DataError, match=r"no chat template.*put its chat_template\.jinja into"):
        load_tokenizer(find(str(copy)), 64)


def test_length_beyond_the_models_positions_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match="max_tokens 512 is more than the 256 positions"):
        load_tokenizer(find(str(tiny_model)), 512)


def test_nan_weights_are_refused_by_name(copy: Path) -> None:
    tiny_models.poison(copy, "model.norm.weight")
    with pytest.raises(DataError, match=r"1 weights hold NaN .*model\.norm\.weight"):
        load_policy(find(str(copy)), torch.float32)


def test_weights_that_would_be_random_are_refused(copy: Path) -> None:
    weights = load_file(copy / WEIGHTS)
    del weights["model.norm.weight"]
    save_file(weights, copy / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"1 weights are not in its files \(model\.norm\.weight\)"):
        load_policy(find(str(copy)), torch.float32)


def test_damaged_file_is_refused(copy: Path) -> None:
    (copy / WEIGHTS).write_bytes((copy / WEIGHTS).read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be loaded"):
        load_policy(find(str(copy)), torch.float32)


def test_generation_config_that_could_not_be_saved_is_refused_early(copy: Path) -> None:
    path = copy / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "temperature": 0.7}))
    with pytest.raises(DataError, match=r"generation_config\.json contradicts itself"):
        load_policy(find(str(copy)), torch.float32)


def test_reward_head_is_new_and_the_rest_is_not(tiny_model: Path) -> None:
    model: Any = load_with_reward_head(find(str(tiny_model)), 301, torch.float32)
    assert model.score.weight.shape == (1, tiny_models.HIDDEN_SIZE)
    stored = load_file(tiny_model / WEIGHTS)["model.norm.weight"]
    torch.testing.assert_close(model.model.norm.weight.data, stored)


def test_tokenizer_with_more_tokens_than_the_model_is_refused(tiny_model: Path) -> None:
    base = find(str(tiny_model))
    model, tokenizer = load_policy(base, torch.float32), load_tokenizer(base, 64)
    require_fitting(model, tokenizer, base)
    tokenizer.add_tokens([f"<new{i}>" for i in range(40)])
    with pytest.raises(DataError, match="knows 345 tokens, its embedding 320"):
        require_fitting(model, tokenizer, base)


@pytest.mark.parametrize(
    ("asked", "gpu", "native", "found"),
    [
        ("auto", False, False, torch.float32),
        ("auto", False, True, torch.bfloat16),
        ("auto", True, True, torch.bfloat16),
        ("auto", True, False, torch.float32),
        ("bfloat16", False, False, torch.bfloat16),
        ("float32", True, True, torch.float32),
    ],
)
def test_dtype_follows_the_device(
    monkeypatch: pytest.MonkeyPatch, asked: str, gpu: bool, native: bool, found: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: native)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": native and not gpu})
    assert choose_dtype(config(dtype=asked)) == found


def test_bfloat16_on_a_gpu_without_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "V100")
    with pytest.raises(ConfigError, match="V100 does not compute in it"):
        choose_dtype(config(dtype="bfloat16"))
