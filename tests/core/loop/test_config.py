"""Settings of the loop."""

from __future__ import annotations

from typing import Any

import pytest

from activeuf_core.config import identity_of, parse
from activeuf_core.enn.config import BayesianLinearConfig, ENNConfig
from activeuf_core.errors import ConfigError
from activeuf_core.loop.config import LoopConfig


def config(**changes: Any) -> LoopConfig:
    return parse(LoopConfig, {"acquisition": {"method": "dts"}, **changes}, "test.yaml")


def test_reward_model_is_the_ensemble_unless_said() -> None:
    assert config().enn == ENNConfig()
    assert config(enn={"num_heads": 5}).enn == ENNConfig(num_heads=5)
    assert config(enn={"method": "bayesian_linear"}).enn == BayesianLinearConfig()


def test_defaults_written_out_change_no_recipe() -> None:
    written = config(prompt_selection="shuffled", prompts_scored=None, budget=None, seed=4)
    assert identity_of(written) == identity_of(config())
    adaptive = config(prompt_selection="most_uncertain", prompts_scored=512)
    assert identity_of(adaptive) != identity_of(config())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"acquisition": {"method": "deltaucb", "ucb_beta": 1.0}}, "acquisition.ucb_beta"),
        ({"acquisition": {"method": "best"}}, "acquisition"),
        ({"enn": {"num_head": 5}}, "did you mean 'num_heads'"),
        ({"budget": 1}, "budget"),
        ({"batch_size": 0}, "batch_size"),
        ({"ties": "keep"}, "ties"),
        ({"prompt_selection": "random"}, "prompt_selection"),
        ({"prompt_selection": "most_uncertain"}, "prompts_scored None: give both"),
        ({"prompts_scored": 512}, "'shuffled' and prompts_scored 512: give both"),
        (
            {"prompt_selection": "most_uncertain", "prompts_scored": 64},
            "prompts_scored is 64, batch_size 64",
        ),
    ],
)
def test_wrong_setting_is_refused_by_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**changes)
