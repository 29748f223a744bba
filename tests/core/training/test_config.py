"""The defaults are the paper's, and wrong settings are refused."""

from __future__ import annotations

from typing import Any

import pytest

from activeuf_core.config import parse
from activeuf_core.errors import ConfigError
from activeuf_core.training.config import DPOConfig, RewardModelConfig, TrainingConfig

BASE = {"base_model": {"name": "m", "identity": "i"}}


def test_defaults_of_dpo_are_the_papers() -> None:
    config = parse(DPOConfig, BASE, "here")
    assert config.lora is not None
    assert (config.lora.rank, config.lora.alpha, config.lora.targets) == (64, 16, "all-linear")
    assert (config.learning_rate, config.lr_schedule, config.warmup_fraction) == (
        2e-5,
        "linear",
        0.1,
    )
    assert (config.epochs, config.batch_size, config.max_tokens) == (3.0, 32, 2048)
    assert (config.dpo_beta, config.loss_type) == (0.1, "sigmoid")


def test_defaults_of_the_reward_model_are_the_papers() -> None:
    config = parse(RewardModelConfig, BASE, "here")
    assert config.lora is not None
    assert (config.lora.rank, config.lora.alpha) == (16, 32)
    assert (config.lr_schedule, config.warmup_fraction, config.epochs) == ("constant", 0.0, 2.0)
    assert (config.batch_size, config.max_tokens, config.centering) == (16, 4096, 0.0)


@pytest.mark.parametrize("model", [DPOConfig, RewardModelConfig])
def test_defaults_can_be_divided_into_passes(model: type[TrainingConfig]) -> None:
    config = parse(model, BASE, "here")
    assert config.batch_size % config.per_device_batch_size == 0


@pytest.mark.parametrize(
    "change",
    [
        {"dpo_betta": 0.1},
        {"loss_type": "cpo"},
        {"eval_every": 10},
        {"simpo_gamma": 1.0},
        {"simpo_beta": 2.5, "loss_type": "ipo"},
        {"dpo_beta": 0.2, "loss_type": "simpo"},
        {"validation_fraction": 0.9},
        {"lora": {"rank": 0}},
        {"dtype": "float16"},
        {"learning_rate": 0.0},
    ],
)
def test_wrong_settings_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        parse(DPOConfig, {**BASE, **change}, "here")


def test_a_setting_that_a_loss_does_not_use_is_told_with_the_way_out() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(DPOConfig, {**BASE, "loss_type": "simpo", "dpo_beta": 0.2}, "here")
    assert "'dpo_beta' has the value 0.2" in str(caught.value)
    assert "loss_type simpo does not use it" in str(caught.value)


def test_a_config_that_was_written_out_in_full_is_read_again() -> None:
    for loss_type in ("sigmoid", "simpo"):
        config = parse(DPOConfig, {**BASE, "loss_type": loss_type}, "here")
        assert parse(DPOConfig, config.model_dump(mode="json"), "here") == config
