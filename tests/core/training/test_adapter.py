"""Which layers are adapted, and which names are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from activeuf_core.errors import ConfigError
from tests.core.training.conftest import MakeTraining, make_trainer

LAYERS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
NUM_LAYERS = 2


def adapted(trainer: Any) -> list[str]:
    """The adapted layers' last names, one entry per layer."""
    return [
        name.split(".")[-4]
        for name, weight in trainer.model.named_parameters()
        if "lora_A" in name and weight.requires_grad
    ]


@pytest.mark.parametrize("asset", ["dpo_model", "reward_model"])
def test_all_linear_means_all_but_the_output_layer(
    make_training: MakeTraining, tiny_model: Path, asset: str
) -> None:
    found = adapted(make_trainer(make_training(asset)))
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    linear = [name for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)]
    names = [name.rpartition(".")[2] for name in linear if name != "lm_head"]
    assert sorted(found) == sorted(names) == sorted([*LAYERS] * NUM_LAYERS)


def test_reward_head_is_trained_whole(make_training: MakeTraining) -> None:
    trainer = make_trainer(make_training("reward_model"))
    trained = [name for name, w in trainer.model.named_parameters() if w.requires_grad]
    assert [name for name in trained if "lora" not in name] == [
        "base_model.model.score.modules_to_save.default.weight"
    ]


@pytest.mark.parametrize(
    ("targets", "reached"),
    [(["q_proj", "v_proj"], {"q_proj", "v_proj"}), (r".*\.1\.mlp\..*", LAYERS - {"q_proj"})],
)
def test_layers_can_be_named(make_training: MakeTraining, targets: Any, reached: set[str]) -> None:
    found = set(adapted(make_trainer(make_training("dpo_model", lora={"targets": targets}))))
    assert found <= reached
    assert found


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (["q_prj"], r"no linear layer 'q_prj'; did you mean 'q_proj'\?"),
        (["q_proj", "embed_tokens"], "no linear layer 'embed_tokens'"),
        ("all_linear", r"no linear layer 'all_linear'.* or 'all-linear'"),
        (["lm_head"], "'lm_head' reaches lm_head, the output layer"),
        (".*", "reaches lm_head, the output layer"),
        ("[", "is not a regular expression"),
    ],
)
def test_targets_that_are_no_layers_are_refused(
    make_training: MakeTraining, targets: Any, said: str
) -> None:
    with pytest.raises(ConfigError, match=rf"lora\.targets: .*{said}"):
        make_trainer(make_training("dpo_model", lora={"targets": targets}))


def test_the_reward_head_is_no_target(make_training: MakeTraining) -> None:
    with pytest.raises(ConfigError, match="reaches score, the output layer"):
        make_trainer(make_training("reward_model", lora={"targets": ["score"]}))
