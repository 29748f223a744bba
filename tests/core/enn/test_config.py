"""The enn section of a config file: what it accepts and what it refuses."""

from __future__ import annotations

import pytest

from activeuf_core.config import StrictModel, parse
from activeuf_core.enn.config import (
    BayesianLinearConfig,
    ENNConfig,
    LinearDecay,
    RewardUncertaintyConfig,
)
from activeuf_core.errors import ConfigError


class Section(StrictModel):
    """A config that holds an enn section."""

    enn: RewardUncertaintyConfig


def read(**values: object) -> ENNConfig | BayesianLinearConfig:
    """Check an enn section as a file's would be."""
    return parse(Section, {"enn": values}, "file.yaml").enn


def test_defaults_are_those_of_the_paper() -> None:
    config = ENNConfig()
    assert (config.num_heads, config.hidden_sizes, config.learning_rate) == (20, (128, 128), 5e-5)
    assert (config.batch_size, config.max_steps, config.bound_scale) == (64, 100, 1.0)
    assert config.regularization.normalisation == "sum"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"head_diversity": "prior"}, "give prior_scale"),
        ({"prior_scale": 1.0}, "give prior_scale"),
        ({"regularization": {"decay": "linear", "decay_base": 0.9}}, "decay_base"),
        ({"regularization": {"decay": "cosine"}}, "cosine"),
        ({"num_heads": 1}, "num_heads"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"hidden_sizes": [128, 0]}, "hidden_sizes"),
        ({"freeze_base_model": True}, "freeze_base_model"),
    ],
)
def test_bad_values_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(method="ensemble", **values)


@pytest.mark.parametrize(
    "config",
    [
        ENNConfig(),
        ENNConfig(head_diversity="prior", prior_scale=0.5, regularization=LinearDecay()),
        BayesianLinearConfig(num_draws=3),
    ],
)
def test_a_config_survives_being_written_and_read(
    config: ENNConfig | BayesianLinearConfig,
) -> None:
    assert read(**config.model_dump(mode="json")) == config
