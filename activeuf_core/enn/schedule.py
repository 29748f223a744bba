"""How the pull to the initial weights and the learning rate change over a run. Pure.

Source: ActiveUltraFeedback, arXiv 2603.09692, as its research code does it.
"""

from __future__ import annotations

import math

from activeuf_core.enn.config import ENNConfig, ExponentialDecay, LinearDecay

DECAY_STEPS = 4308
"""Decay steps in a run of any length, so that a decay base means the same for all of them."""


def regularization_weight(config: ExponentialDecay | LinearDecay, progress: float) -> float:
    """Return lambda when a share `progress` of the run's prompts has been handled.

    exponential: initial_value decay_base^(4308 progress);  linear: initial_value (1 - progress).
    """
    if isinstance(config, ExponentialDecay):
        return config.initial_value * config.decay_base ** (DECAY_STEPS * progress)
    return config.initial_value * (1.0 - progress)


def learning_rate(config: ENNConfig, step: int, num_steps: int, progress: float) -> float:
    """Return the learning rate of one step of an update.

    A cosine from `learning_rate` to zero: over the steps of this update (`per_batch_restart`), or
    over the run, constant within an update (`run`).
    """
    done = step / num_steps if config.lr_schedule == "per_batch_restart" else progress
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))
