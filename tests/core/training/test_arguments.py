"""What TRL is told, and that TRL knows it under these names."""

from __future__ import annotations

from typing import Any

import pytest
import trl

from activeuf_core.training.arguments import SEED_RANGE, trainer_arguments, trainer_seed
from activeuf_core.training.batching import plan_batching, plan_steps
from activeuf_core.training.config import TrainingConfig
from tests.core.training.conftest import FAST


def arguments(**changes: Any) -> dict[str, Any]:
    config = TrainingConfig.model_validate({**FAST, **changes})
    return trainer_arguments(config, plan_batching(config), plan_steps(config, 20), on_cpu=True)


@pytest.mark.parametrize("trainer_config", [trl.DPOConfig, trl.RewardConfig])
def test_trl_takes_every_argument(trainer_config: type, tmp_path: Any) -> None:
    made = trainer_config(output_dir=str(tmp_path), bf16=False, **arguments())
    assert made.get_warmup_steps(made.max_steps) == 1
    assert (made.max_steps, made.gradient_accumulation_steps) == (5, 2)
    assert made.report_to == []
    assert made.gradient_checkpointing is False


def test_full_warm_up_is_not_taken_for_a_single_step() -> None:
    assert arguments(warmup_fraction=1.0)["warmup_steps"] == 5


def test_seed_reaches_sampler_and_trainer_whatever_its_size() -> None:
    for seed in (0, 42, -1, 2**70):
        found = arguments(seed=seed)
        assert found["seed"] == found["data_seed"]
        assert 0 <= found["seed"] < SEED_RANGE
    one, two = (TrainingConfig.model_validate({**FAST, "seed": seed}) for seed in (1, 2))
    assert trainer_seed(one) != trainer_seed(two)
