"""Reward models by name, and the contract that both keep."""

from __future__ import annotations

import numpy as np
import pytest

from activeuf_core.enn.config import BayesianLinearConfig, ENNConfig
from activeuf_core.enn.registry import REWARD_MODELS, build
from tests.core.enn.conftest import Comparisons

CONFIGS = [ENNConfig(num_heads=4, hidden_sizes=(8,)), BayesianLinearConfig(num_draws=4)]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.method)
def test_both_models_keep_the_contract(
    config: ENNConfig | BayesianLinearConfig, comparisons: Comparisons
) -> None:
    model, same = (build(config, 6, seed=1) for _ in range(2))
    features = np.random.default_rng(0).normal(size=(5, 3, 6)).astype(np.float16)
    for one in (model, same):
        one.update(
            comparisons.chosen_ND,
            comparisons.rejected_ND,
            pair_ids_N=comparisons.pair_ids_N,
            progress=0.0,
        )
    estimate, again = model.bounds(features), same.bounds(features)
    assert estimate.heads_EPC.shape == (4, 5, 3)
    assert (estimate.lower_PC <= estimate.mean_PC).all()
    assert (estimate.mean_PC <= estimate.upper_PC).all()
    np.testing.assert_array_equal(estimate.heads_EPC, again.heads_EPC)


def test_names_and_configs_agree() -> None:
    assert set(REWARD_MODELS) == {config.method for config in CONFIGS}
