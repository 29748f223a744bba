"""The loop's reward models by name. Heavy: needs torch.

In: a config, the feature size, a seed. Out: a `RewardUncertainty`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from activeuf_core.enn.base import RewardUncertainty
from activeuf_core.enn.bayesian_linear import BayesianLinear
from activeuf_core.enn.config import BayesianLinearConfig, ENNConfig
from activeuf_core.enn.trainer import EnsembleENN

REWARD_MODELS: dict[str, Callable[[Any, int, int, str | torch.device], RewardUncertainty]] = {
    "ensemble": EnsembleENN,
    "bayesian_linear": BayesianLinear,
}


def build(
    config: ENNConfig | BayesianLinearConfig,
    feature_size: int,
    seed: int,
    device: str | torch.device = "cpu",
) -> RewardUncertainty:
    """Return an untrained reward model; the same arguments give the same one."""
    return REWARD_MODELS[config.method](config, feature_size, seed, device)
