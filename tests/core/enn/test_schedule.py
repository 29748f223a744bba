"""The decay of the pull and the learning rate, against known values."""

from __future__ import annotations

import pytest

from activeuf_core.enn.config import ENNConfig, ExponentialDecay, LinearDecay
from activeuf_core.enn.schedule import learning_rate, regularization_weight


@pytest.mark.parametrize(
    ("base", "progress", "expected"),
    [
        (0.9, 0.01, 0.011),
        (0.99, 64 / 60829, 0.955),
        (0.99, 0.1, 0.013),
        (0.99, 0.5, 4e-10),
        (0.999, 1.0, 0.013),
    ],
)
def test_exponential_decay(base: float, progress: float, expected: float) -> None:
    config = ExponentialDecay(decay_base=base)
    assert regularization_weight(config, progress) == pytest.approx(expected, rel=0.05)


def test_decay_begins_at_the_initial_value() -> None:
    assert regularization_weight(ExponentialDecay(initial_value=7.0), 0.0) == 7.0
    assert regularization_weight(LinearDecay(initial_value=7.0), 0.0) == 7.0


def test_linear_decay() -> None:
    assert regularization_weight(LinearDecay(initial_value=4.0), 0.25) == 3.0
    assert regularization_weight(LinearDecay(initial_value=4.0), 1.0) == 0.0


def test_restarting_learning_rate_ignores_progress() -> None:
    config = ENNConfig(learning_rate=2.0)
    rates = [learning_rate(config, step, 4, progress=0.9) for step in range(4)]
    assert rates == pytest.approx([2.0, 1.0 + 0.5**0.5, 1.0, 1.0 - 0.5**0.5])


def test_run_learning_rate_follows_progress_only() -> None:
    config = ENNConfig(learning_rate=2.0, lr_schedule="run")
    assert learning_rate(config, 3, 4, progress=0.5) == pytest.approx(1.0)
    assert learning_rate(config, 0, 4, progress=0.0) == 2.0
