"""The stacked ensemble against one ordinary network per head."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from activeuf_core.enn.network import EnsembleNetwork


def single_head(network: EnsembleNetwork, head: int) -> nn.Sequential:
    """One head as a plain sequence of layers with the same weights."""
    layers: list[nn.Module] = []
    for index, weight in enumerate(network.weights):
        is_last = index == len(network.biases)
        linear = nn.Linear(weight.shape[2], weight.shape[1], bias=not is_last)
        linear.weight.data.copy_(weight[head])
        if not is_last:
            linear.bias.data.copy_(network.biases[index][head, :, 0])
        layers += [linear] if is_last else [linear, nn.ReLU()]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("hidden_sizes", [(5, 4), (3,), ()])
def test_each_head_is_an_ordinary_network(hidden_sizes: tuple[int, ...]) -> None:
    network = EnsembleNetwork(7, hidden_sizes, 3, seed=1)
    for bias in network.biases:
        nn.init.normal_(bias)
    features = torch.randn(2, 6, 7)
    expected = torch.stack([single_head(network, head)(features)[..., 0] for head in range(3)])
    torch.testing.assert_close(network(features), expected)


def test_the_papers_heads_have_its_number_of_weights() -> None:
    network = EnsembleNetwork(2560, (128, 128), 2, seed=0)
    assert sum(weight.numel() for weight in network.parameters()) == 2 * 344_448


def test_weights_are_xavier_uniform_and_biases_zero() -> None:
    network = EnsembleNetwork(100, (50,), 8, seed=0)
    bound = (6 / 150) ** 0.5
    first = network.weights[0].detach()
    assert bound * 0.999 < first.abs().max() <= bound
    assert float(first.std()) == pytest.approx(bound / 3**0.5, rel=0.01)
    assert not network.biases[0].any()


def test_heads_differ_and_seeds_repeat() -> None:
    one, same, other = (EnsembleNetwork(4, (3,), 2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.weights[0], same.weights[0])
    assert not torch.equal(one.weights[0], other.weights[0])
    assert not torch.equal(one.weights[0][0], one.weights[0][1])


def test_building_leaves_global_random_state_alone() -> None:
    state = torch.get_rng_state()
    EnsembleNetwork(4, (3,), 2, seed=0)
    assert torch.equal(torch.get_rng_state(), state)
