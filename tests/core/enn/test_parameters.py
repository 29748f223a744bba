"""Every setting of both reward models changes what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from activeuf_core.config import StrictModel, parse
from activeuf_core.enn.config import (
    BayesianLinearConfig,
    ENNConfig,
    ExponentialDecay,
    LinearDecay,
    RewardUncertaintyConfig,
)
from activeuf_core.enn.registry import build
from activeuf_core.errors import ConfigError
from tests.core.enn.conftest import Comparisons

SMALL = {"num_heads": 3, "hidden_sizes": [5], "learning_rate": 0.01, "batch_size": 8}
PRIOR = {"head_diversity": "prior", "prior_scale": 1.0}
LINEAR = {"decay": "linear"}
STRONG = {"decay": "exponential", "initial_value": 9.0}
ENSEMBLE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "num_heads": ({}, {"num_heads": 4}),
    "hidden_sizes": ({}, {"hidden_sizes": [4, 3]}),
    "learning_rate": ({}, {"learning_rate": 0.02}),
    "lr_schedule": ({}, {"lr_schedule": "run"}),
    "batch_size": ({}, {"batch_size": 16}),
    "max_steps": ({}, {"max_steps": 2}),
    "weight_decay": ({}, {"weight_decay": 0.5}),
    "adam_beta1": ({}, {"adam_beta1": 0.5}),
    "adam_beta2": ({}, {"adam_beta2": 0.9}),
    "max_grad_norm": ({}, {"max_grad_norm": 0.01}),
    "bound_scale": ({}, {"bound_scale": 2.0}),
    "regularization": ({}, {"regularization": LINEAR}),
    "regularization.initial_value": ({}, {"regularization": STRONG}),
    "regularization.decay_base": (
        {"regularization": STRONG},
        {"regularization": {**STRONG, "decay_base": 0.9}},
    ),
    "regularization.normalisation": (
        {"regularization": STRONG},
        {"regularization": {**STRONG, "normalisation": "mean"}},
    ),
    "reward_centering": ({}, {"reward_centering": 1.0}),
    "head_diversity": ({}, {"head_diversity": "bootstrap"}),
    "prior_scale": (PRIOR, {**PRIOR, "prior_scale": 3.0}),
    "dtype": ({}, {"dtype": "bfloat16"}),
}
LINEAR_HEAD: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "prior_precision": ({}, {"prior_precision": 0.1}),
    "max_newton_steps": ({}, {"max_newton_steps": 1}),
    "tolerance": ({}, {"tolerance": 5.0}),
    "num_draws": ({}, {"num_draws": 7}),
    "bound_scale": ({}, {"bound_scale": 2.0}),
}


class Section(StrictModel):
    """A config that holds a reward model's section."""

    enn: RewardUncertaintyConfig


def read(values: dict[str, Any]) -> Any:
    return parse(Section, {"enn": values}, "file.yaml").enn


def said(values: dict[str, Any], data: Comparisons) -> list[np.ndarray]:
    """Return the estimate of a model that was updated twice."""
    model = build(read(values), 6, 4, "cpu")
    for progress in (0.001, 0.002):
        model.update(
            data.chosen_ND, data.rejected_ND, pair_ids_N=data.pair_ids_N, progress=progress
        )
    estimate = model.bounds(np.stack([data.chosen_ND, data.rejected_ND], axis=1))
    return [estimate.mean_PC, estimate.upper_PC, estimate.heads_EPC]


def differ(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("key", ENSEMBLE)
def test_setting_of_the_ensemble_changes_what_it_says(key: str, comparisons: Comparisons) -> None:
    one, other = ({"method": "ensemble", **SMALL, **values} for values in ENSEMBLE[key])
    assert differ(said(one, comparisons), said(other, comparisons))


@pytest.mark.parametrize("key", LINEAR_HEAD)
def test_setting_of_the_linear_head_changes_what_it_says(
    key: str, comparisons: Comparisons
) -> None:
    one, other = ({"method": "bayesian_linear", **values} for values in LINEAR_HEAD[key])
    assert differ(said(one, comparisons), said(other, comparisons))


def test_the_tables_have_every_setting() -> None:
    pull = set(ExponentialDecay.model_fields) | set(LinearDecay.model_fields)
    nested = {f"regularization.{key}" for key in pull - {"decay"}}
    assert set(ENSEMBLE) == set(ENNConfig.model_fields) - {"method"} | nested
    assert set(LINEAR_HEAD) == set(BayesianLinearConfig.model_fields) - {"method"}


@pytest.mark.parametrize(
    "values",
    [
        {"method": "ensemble", "prior_precision": 1.0},
        {"method": "bayesian_linear", "num_heads": 3},
        {"method": "ensemble", "regularization": {**LINEAR, "decay_base": 0.9}},
        {"method": "ensemble", "prior_scale": 1.0},
    ],
)
def test_setting_without_a_use_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"prior_precision|num_heads|decay_base|prior_scale"):
        read(values)
