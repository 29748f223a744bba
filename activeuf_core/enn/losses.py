"""What the ensemble minimises: Bradley-Terry, reward centring, pull to the initial weights.

In: rewards per head and pair, weights. Out: scalars. Heavy: needs torch.
Source: ActiveUltraFeedback, arXiv 2603.09692; centring: Eisenstein et al., arXiv 2312.09244.
Shapes: E ensemble heads, N pairs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch.nn import functional

BLOCK_VALUES = 1 << 18
"""Weights whose pull is computed at a time: 1 MB of differences, which stay in the cache."""


def bradley_terry(
    chosen_EN: torch.Tensor, rejected_EN: torch.Tensor, weight_EN: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean over heads and pairs of -log sigma(r_chosen - r_rejected), each times its weight."""
    loss_EN = functional.softplus(rejected_EN - chosen_EN)
    return (loss_EN if weight_EN is None else weight_EN * loss_EN).mean()


def reward_centering(chosen_EN: torch.Tensor, rejected_EN: torch.Tensor) -> torch.Tensor:
    """Mean over heads and pairs of (r_chosen + r_rejected)^2."""
    return (chosen_EN + rejected_EN).square().mean()


def pull_scale(weights: Iterable[torch.Tensor], normalisation: Literal["sum", "mean"]) -> float:
    """Factor that turns the sum of all (w - w_0)^2 into a mean over heads of their sum or mean.

    Args: weights: stacked, heads on the first axis.
    """
    shapes = [weight.shape for weight in weights]
    per_head = sum(shape[1:].numel() for shape in shapes)
    return 1.0 / shapes[0][0] / (per_head if normalisation == "mean" else 1)


def pull_to_initial(
    weights: Iterable[torch.Tensor], initial: Iterable[torch.Tensor]
) -> torch.Tensor:
    """Sum of (w - w_0)^2 over all weights of all heads; times `pull_scale` it is the penalty."""
    pairs = zip(weights, initial, strict=True)
    return torch.stack([(weight - start).square().sum() for weight, start in pairs]).sum()


def add_pull_gradient(
    weights: Iterable[torch.Tensor], initial: Iterable[torch.Tensor], factor: float
) -> None:
    """Add the gradient of factor * `pull_to_initial` to `.grad`.

    By hand, because through autograd it would take as long as the optimiser's own step.
    """
    for weight, start in zip(weights, initial, strict=True):
        assert weight.grad is not None, "called after backward"
        heads = max(1, BLOCK_VALUES // weight[0].numel())
        blocks = (whole.split(heads) for whole in (weight.detach(), start, weight.grad))
        for now, then, gradient in zip(*blocks, strict=True):
            # The difference first: added apart, w and w_0 leave a rounding error where both are
            # equal, and Adam turns any gradient, however small, into a step of full size.
            gradient.add_(now - then, alpha=2.0 * factor)
