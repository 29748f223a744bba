"""A model is loaded once, whole, or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from activeuf_core.errors import DataError
from activeuf_core.evals.models import load_policy, load_reward_model
from tests.fakes import tiny_models


@pytest.fixture
def copied(tiny_policy: Path, tmp_path: Path) -> Path:
    """A policy's folder to break."""
    return Path(shutil.copytree(tiny_policy, tmp_path / "copied"))


def adapt(base: Path, folder: Path, auto: type, **options: object) -> torch.Tensor:
    """Save an adapter with random weights over a base; return the merged logits of two tokens."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    config = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, **options)
    extra = {"num_labels": 1} if auto is AutoModelForSequenceClassification else {}
    model = get_peft_model(auto.from_pretrained(base, **extra), config)
    model.save_pretrained(folder)
    tiny_models.build_tokenizer(folder)
    with torch.inference_mode():
        return model.eval()(input_ids=torch.tensor([[5, 6]])).logits


def test_the_benchmarks_of_a_model_share_one_load(tiny_policy: Path) -> None:
    assert load_policy(tiny_policy, "float32") is load_policy(tiny_policy, "float32")


def test_the_dtype_is_the_config_s(tiny_policy: Path) -> None:
    assert load_policy(tiny_policy, "bfloat16").model.dtype == torch.bfloat16


def test_a_folder_without_weights_says_what_it_holds(copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"holds no model .*it holds .*tokenizer\.json"):
        load_policy(copied, "float32")


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it holds nothing"):
        load_policy(tmp_path, "float32")


def test_a_nan_weight_is_refused_by_name(copied: Path) -> None:
    tiny_models.poison(copied, "model.norm.weight")
    with pytest.raises(DataError, match=r"1 weight tensors are not finite, e\.g\. model\.norm"):
        load_policy(copied, "float32")


def test_a_damaged_file_is_refused(copied: Path) -> None:
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be loaded"):
        load_policy(copied, "float32")


def test_a_missing_chat_template_is_refused(copied: Path) -> None:
    (copied / "chat_template.jinja").unlink(missing_ok=True)
    tiny_models.build_tokenizer(copied, chat_template=None)
    with pytest.raises(DataError, match="has no chat template"):
        load_policy(copied, "float32")


def test_a_language_model_is_no_reward_model(tiny_policy: Path) -> None:
    with pytest.raises(DataError, match=r"score\.weight"):
        load_reward_model(tiny_policy, "float32")


def test_a_reward_model_has_one_label(tmp_path: Path) -> None:
    folder = tiny_models.build(tmp_path / "two", "LlamaForSequenceClassification", num_labels=2)
    with pytest.raises(DataError, match="has 2 labels"):
        load_reward_model(folder, "float32")


def test_a_reward_model_can_be_padded(tiny_reward_model: Path) -> None:
    loaded = load_reward_model(tiny_reward_model, "float32")
    assert loaded.model.config.pad_token_id == loaded.chat.tokenizer.pad_token_id


def test_an_adapter_is_merged_into_its_base(tiny_policy: Path, tmp_path: Path) -> None:
    expected = adapt(tiny_policy, tmp_path / "adapter", AutoModelForCausalLM)
    model = load_policy(tmp_path / "adapter", "float32").model
    with torch.inference_mode():
        found = model(input_ids=torch.tensor([[5, 6]])).logits
    assert not hasattr(model, "peft_config")
    torch.testing.assert_close(found, expected)


def test_a_reward_adapter_brings_its_head(tiny_policy: Path, tmp_path: Path) -> None:
    auto, folder = AutoModelForSequenceClassification, tmp_path / "adapter"
    base = Path(shutil.copytree(tiny_policy, tmp_path / "base"))
    expected = adapt(base, folder, auto, task_type="SEQ_CLS")
    model = load_reward_model(folder, "float32").model
    with torch.inference_mode():
        found = model(input_ids=torch.tensor([[5, 6]])).logits
    torch.testing.assert_close(found, expected)


def test_a_reward_adapter_without_a_head_is_refused(tiny_policy: Path, tmp_path: Path) -> None:
    adapt(tiny_policy, tmp_path / "adapter", AutoModelForCausalLM)
    with pytest.raises(DataError, match="brings no reward head"):
        load_reward_model(tmp_path / "adapter", "float32")


def test_an_adapter_without_its_base_is_refused(tiny_policy: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(tiny_policy, tmp_path / "base"))
    adapt(base, tmp_path / "adapter", AutoModelForCausalLM)
    shutil.rmtree(base)
    with pytest.raises(DataError, match=f"{base}: no such model folder"):
        load_policy(tmp_path / "adapter", "float32")
