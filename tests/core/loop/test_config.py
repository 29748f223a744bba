"""Settings of the loop."""

from __future__ import annotations

from typing import Any

import pytest

from activeuf_core.config import parse
from activeuf_core.enn.config import BayesianLinearConfig, ENNConfig
from activeuf_core.errors import ConfigError
from activeuf_core.loop.config import LoopConfig


def config(**changes: Any) -> LoopConfig:
    return parse(LoopConfig, {"acquisition": {"method": "dts"}, **changes}, "test.yaml")


def test_reward_model_is_the_ensemble_unless_said() -> None:
    assert config().enn == ENNConfig()
    assert config(enn={"num_heads": 5}).enn == ENNConfig(num_heads=5)
    assert config(enn={"method": "bayesian_linear"}).enn == BayesianLinearConfig()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"acquisition": {"method": "deltaucb", "ucb_beta": 1.0}}, "acquisition.ucb_beta"),
        ({"acquisition": {"method": "best"}}, "acquisition"),
        ({"enn": {"num_head": 5}}, "did you mean 'num_heads'"),
        ({"budget": 1}, "budget"),
        ({"batch_size": 0}, "batch_size"),
        ({"ties": "keep"}, "ties"),
    ],
)
def test_wrong_setting_is_refused_by_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**changes)
