"""Gradients by hand against autograd."""

from __future__ import annotations

import pytest
import torch

from activeuf_core.enn.gradients import NetworkGradients
from activeuf_core.enn.network import EnsembleNetwork

SHAPES = pytest.mark.parametrize("hidden_sizes", [(5, 4), (3,), (), (6, 5, 4)])


def networks(hidden_sizes: tuple[int, ...]) -> tuple[EnsembleNetwork, EnsembleNetwork]:
    """Two equal networks whose biases are not zero."""
    pair = [EnsembleNetwork(7, hidden_sizes, 3, seed=1) for _ in range(2)]
    for bias, same in zip(*(network.biases for network in pair), strict=True):
        torch.nn.init.normal_(bias, generator=torch.Generator().manual_seed(2))
        same.data.copy_(bias)
    return pair[0], pair[1]


def gradients_of(network: EnsembleNetwork) -> list[torch.Tensor]:
    """Copies of `.grad`, which must exist."""
    gradients = [parameter.grad for parameter in network.parameters()]
    return [gradient.clone() for gradient in gradients if gradient is not None]


@SHAPES
def test_rewards_are_those_of_the_network(hidden_sizes: tuple[int, ...]) -> None:
    network, same = networks(hidden_sizes)
    rows_RD = torch.randn(6, 7)
    rewards_ER = NetworkGradients(network, torch.float32).forward(rows_RD)
    torch.testing.assert_close(rewards_ER, same(rows_RD).detach())


@SHAPES
def test_gradients_are_those_of_autograd(hidden_sizes: tuple[int, ...]) -> None:
    network, same = networks(hidden_sizes)
    by_hand = NetworkGradients(network, torch.float32)
    for _ in range(2):  # the second time over what the first one left
        rows_RD, slope_ER = torch.randn(6, 7), torch.randn(3, 6)
        by_hand.forward(rows_RD)
        by_hand.backward(slope_ER)
        same.zero_grad()
        same(rows_RD).backward(slope_ER)
        torch.testing.assert_close(gradients_of(network), gradients_of(same))


def test_bfloat16_gradients_are_those_of_autocast() -> None:
    network, same = networks((5, 4))
    by_hand = NetworkGradients(network, torch.bfloat16)
    rows_RD, slope_ER = torch.randn(6, 7), torch.randn(3, 6)
    by_hand.forward(rows_RD)
    by_hand.backward(slope_ER)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rewards_ER = same(rows_RD).float()
    rewards_ER.backward(slope_ER)
    torch.testing.assert_close(gradients_of(network), gradients_of(same), rtol=0.02, atol=0.02)
