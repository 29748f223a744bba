"""The parts of the ensemble's loss, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from activeuf_core.enn import losses

CHOSEN_EN = torch.tensor([[1.0, 0.0], [2.0, 3.0]])
REJECTED_EN = torch.tensor([[0.0, 0.0], [2.0, 5.0]])


def test_bradley_terry_by_hand() -> None:
    expected = sum(math.log1p(math.exp(-margin)) for margin in (1.0, 0.0, 0.0, -2.0)) / 4
    assert float(losses.bradley_terry(CHOSEN_EN, REJECTED_EN)) == pytest.approx(expected)


def test_bradley_terry_weighs_heads_and_pairs() -> None:
    weight_EN = torch.tensor([[0.0, 4.0], [0.0, 0.0]])
    loss = losses.bradley_terry(CHOSEN_EN, REJECTED_EN, weight_EN)
    assert float(loss) == pytest.approx(math.log(2))


def test_bradley_terry_survives_large_margins() -> None:
    loss = losses.bradley_terry(torch.tensor([[-1e4]]), torch.tensor([[1e4]]))
    assert float(loss) == pytest.approx(2e4)


def test_reward_centering_by_hand() -> None:
    assert float(losses.reward_centering(CHOSEN_EN, REJECTED_EN)) == (1 + 0 + 16 + 64) / 4


def test_pull_is_a_mean_over_heads_of_a_sum_or_mean_over_weights() -> None:
    weights = [torch.ones(2, 3, 4), torch.ones(2, 3, 1)]
    initial = [torch.zeros(2, 3, 4), torch.full((2, 3, 1), 3.0)]
    distance = float(losses.pull_to_initial(weights, initial))
    assert distance == 24 + 6 * 4
    assert losses.pull_scale(weights, "sum") * distance == pytest.approx(24)
    assert losses.pull_scale(weights, "mean") * distance == pytest.approx(24 / 15)


def test_pull_gradient_is_the_gradient_of_the_pull() -> None:
    weight = torch.randn(2, 3, requires_grad=True)
    start = torch.randn(2, 3)
    (0.7 * losses.pull_to_initial([weight], [start])).backward()
    assert weight.grad is not None
    expected, weight.grad = weight.grad.clone(), torch.ones(2, 3)
    losses.add_pull_gradient([weight], [start], 0.7)
    torch.testing.assert_close(weight.grad, expected + 1)
