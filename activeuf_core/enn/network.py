"""An ensemble of MLP heads as one stacked module: no loop over heads. Heavy: needs torch.

In: features (..., D). Out: rewards (E, ...).
Source: the heads of Dwaracherla et al., arXiv 2402.00396: ReLU layers, Xavier-uniform weights, zero
biases, no bias in the last layer.
Shapes: E ensemble heads, D feature size, H width of a hidden layer, R rows.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn


class EnsembleNetwork(nn.Module):
    """E independent multi-layer perceptrons with one output each.

    Activations are kept as (E, H, R), features last: then every product has its operands in place,
    and the first layer, nearly all of the work, is one product of (E H, D) with (D, R).
    """

    def __init__(
        self, feature_size: int, hidden_sizes: tuple[int, ...], num_heads: int, seed: int
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for fan_in, fan_out in pairwise((feature_size, *hidden_sizes, 1)):
            bound = (6.0 / (fan_in + fan_out)) ** 0.5
            weight_EHD = torch.empty(num_heads, fan_out, fan_in)
            self.weights.append(
                nn.Parameter(weight_EHD.uniform_(-bound, bound, generator=generator))
            )
        for size in hidden_sizes:
            self.biases.append(nn.Parameter(torch.zeros(num_heads, size, 1)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return rewards (E, ...) of features (..., D)."""
        first_EHD, *later = self.weights
        rows_DR = features.reshape(-1, features.shape[-1]).t()
        hidden_EHR = (first_EHD.flatten(0, 1) @ rows_DR).unflatten(0, first_EHD.shape[:2])
        for weight_EHH, bias_EH1 in zip(later, self.biases, strict=True):
            hidden_EHR = torch.bmm(weight_EHH, (hidden_EHR + bias_EH1).relu_())
        return hidden_EHR.reshape(len(first_EHD), *features.shape[:-1])
