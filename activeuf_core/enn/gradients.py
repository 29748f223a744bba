"""The ensemble's rewards and their gradients by hand, into memory that is kept. Heavy: torch.

In: an `EnsembleNetwork`, rows of features, the loss's gradient with respect to the rewards. Out:
rewards; `.grad` of every parameter. Autograd gives the same and is the reference in the tests. It
takes new memory for every gradient of every step, whose pages the system must clear first.
Cost: per step of R rows 4 E D H R floating-point operations, and one pass over the gradients.
Shapes: E ensemble heads, D feature size, H width of a hidden layer, R rows.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from activeuf_core.enn.network import EnsembleNetwork


class NetworkGradients:
    """Forward and backward through one network; holds what the one leaves for the other."""

    def __init__(self, network: EnsembleNetwork, dtype: torch.dtype) -> None:
        """Args: dtype: of the operands of the matrix products; all else is float32."""
        self._network = network
        self._dtype = dtype
        self._rows_RD = torch.empty(0)
        self._operands: list[torch.Tensor] = []
        self._hidden: list[torch.Tensor] = []
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)

    def forward(self, rows_RD: torch.Tensor) -> torch.Tensor:
        """Return rewards (E, R) of features (R, D), and keep what `backward` needs."""
        self._rows_RD = rows_RD.to(self._dtype)
        self._operands = [weight.detach().to(self._dtype) for weight in self._network.weights]
        self._hidden = []
        first_EHD, *later = self._operands
        # Features first: laid out like that, the product is a tenth faster than with a transpose.
        rows_DR = self._rows_RD.t().contiguous()
        value_EHR = (first_EHD.flatten(0, 1) @ rows_DR).unflatten(0, first_EHD.shape[:2])
        for weight_EHH, bias_EH1 in zip(later, self._network.biases, strict=True):
            hidden_EHR = value_EHR.float().add_(bias_EH1.detach()).relu_().to(self._dtype)
            self._hidden.append(hidden_EHR)
            value_EHR = torch.bmm(weight_EHH, hidden_EHR)
        return value_EHR.squeeze(1).float()

    def backward(self, slope_ER: torch.Tensor) -> None:
        """Overwrite `.grad` with the gradients of the last `forward`.

        Args: slope_ER: derivative of the loss with respect to the rewards.
        """
        weight_gradients = _gradients(self._network.weights)
        bias_gradients = _gradients(self._network.biases)
        delta_EHR = slope_ER[:, None].to(self._dtype)
        for layer in range(len(self._hidden), 0, -1):
            hidden_EHR = self._hidden[layer - 1]
            _multiply(delta_EHR, hidden_EHR.mT, weight_gradients[layer])
            back_EHR = torch.bmm(self._operands[layer].mT, delta_EHR)
            # The derivative of relu, told by its output.
            delta_EHR = torch.ops.aten.threshold_backward(back_EHR, hidden_EHR, 0.0)
            total_EH1 = delta_EHR.sum(dim=2, keepdim=True, dtype=torch.float32)
            bias_gradients[layer - 1].copy_(total_EH1)
        # All heads read the same features, so theirs is one product.
        _multiply(delta_EHR.flatten(0, 1), self._rows_RD, weight_gradients[0].flatten(0, 1))


def _multiply(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> None:
    """Write a product to `out`, which may have another type."""
    if left.dtype == out.dtype:
        torch.matmul(left, right, out=out)
    else:
        out.copy_(left @ right)


def _gradients(parameters: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Return `.grad` of each; the constructor made them."""
    return [parameter.grad for parameter in parameters if parameter.grad is not None]
