"""DPO: starts at ln 2, learns, and publishes a policy that loads."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from activeuf_core.artifacts import read_json
from activeuf_core.paths import METRICS
from activeuf_core.stage import StageContext
from activeuf_core.training.report import read_metrics
from tests.core.training.conftest import MakeTraining, train

IDS = torch.arange(5, 25)[None]


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits


def test_first_loss_is_ln_2(dpo: StageContext) -> None:
    first = read_metrics(dpo.output / METRICS)[0]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert first["rewards/margins"] == pytest.approx(0.0, abs=1e-6)


def test_policy_learns_to_prefer_the_chosen_side(dpo: StageContext) -> None:
    assert dpo.metadata["final_loss"] < 0.5
    assert dpo.metadata["final_accuracy"] > 0.8
    assert dpo.metadata["final_margin"] > 0.5


def test_published_folder_is_a_policy_of_the_same_kind(dpo: StageContext, tiny_model: Path) -> None:
    base, ours = read_json(tiny_model / "config.json"), read_json(dpo.output / "config.json")
    assert {name for name in base if base[name] != ours[name]} <= {"pad_token_id", "eos_token_id"}
    assert GenerationConfig.from_pretrained(dpo.output).pad_token_id == ours["pad_token_id"]
    tokenizers = [AutoTokenizer.from_pretrained(folder) for folder in (tiny_model, dpo.output)]
    assert tokenizers[0].chat_template == tokenizers[1].chat_template


def test_nothing_but_the_result_is_published(dpo: StageContext) -> None:
    names = {path.name for path in dpo.output.iterdir()}
    assert "model.safetensors" in names
    assert not [name for name in names if name.endswith((".pt", ".pth", ".bin", ".pkl"))]
    assert not names & {"README.md", "trainer_state.json"}
    modes = {path.stat().st_mode for path in dpo.output.iterdir()}
    assert len(modes) == 1


def test_merged_model_answers_as_the_adapter_does(
    dpo: StageContext, make_training: MakeTraining, tiny_model: Path
) -> None:
    adapter = train(make_training("dpo_model", epochs=4, output="adapter")).output
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    before = logits(base)
    adapted = logits(PeftModel.from_pretrained(base, adapter))
    merged = logits(AutoModelForCausalLM.from_pretrained(dpo.output))
    torch.testing.assert_close(merged, adapted, atol=1e-4, rtol=1e-4)
    assert (merged - before).abs().max() > 0.1
    assert not (adapter / "model.safetensors").exists()
    assert not (adapter / "README.md").exists()


@pytest.mark.parametrize(("loss_type", "first"), [("ipo", 25.0), ("sigmoid_norm", math.log(2))])
def test_variants_of_the_loss(make_training: MakeTraining, loss_type: str, first: float) -> None:
    context = train(make_training("dpo_model", max_steps=1, loss_type=loss_type))
    assert read_metrics(context.output / METRICS)[0]["loss"] == pytest.approx(first, abs=1e-4)


def test_all_weights_can_be_trained(make_training: MakeTraining) -> None:
    context = train(make_training("dpo_model", lora=None, max_steps=2))
    assert context.metadata["trained_weights"] == context.metadata["weights"]
    assert context.metadata["weights_distance"] > 0
    assert read_metrics(context.output / METRICS)[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)


def test_bfloat16_starts_at_ln_2_and_publishes_the_dtype_of_the_base(
    make_training: MakeTraining, tiny_model: Path, tmp_path: Path
) -> None:
    half = shutil.copytree(tiny_model, tmp_path / "half")
    AutoModelForCausalLM.from_pretrained(half, dtype=torch.bfloat16).save_pretrained(half)
    for folder, dtype in ((tiny_model, torch.float32), (half, torch.bfloat16)):
        context = train(make_training("dpo_model", model=folder, dtype="bfloat16", max_steps=2))
        first = read_metrics(context.output / METRICS)[0]
        assert first["loss"] == pytest.approx(math.log(2), abs=1e-2)
        assert AutoModelForCausalLM.from_pretrained(context.output).dtype == dtype
        assert 0 < context.metadata["weights_distance"] < 0.05


def test_gradient_checkpointing_changes_no_gradient(
    dpo: StageContext, make_training: MakeTraining
) -> None:
    context = train(make_training("dpo_model", epochs=4, max_steps=1, gradient_checkpointing=True))
    norms = [read_metrics(one.output / METRICS)[0]["grad_norm"] for one in (dpo, context)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
