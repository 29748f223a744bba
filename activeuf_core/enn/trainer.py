"""The ENN: an ensemble of MLP heads, its optimiser, and all of its state. Heavy: needs torch.

In: features and comparisons. Out: bounds over heads, metrics, a flat state. Contract:
`base.RewardUncertainty`.
Source: Dwaracherla et al., arXiv 2402.00396; ActiveUltraFeedback, arXiv 2603.09692; prior
functions: Osband et al., arXiv 1806.03335.
Cost: per step of N pairs 8 N E D H floating-point operations; ten passes over the weights (the
gradient, its norm, seven of Adam), three more while the pull lasts; `benchmarks/enn.py` measures.
Shapes: P prompts, C completions per prompt, D feature size, E ensemble heads, H first hidden size,
N pairs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim.adamw import adamw

from activeuf_core.enn import losses
from activeuf_core.enn.base import Features, RewardEstimate
from activeuf_core.enn.bootstrap import bootstrap_weights
from activeuf_core.enn.config import ENNConfig
from activeuf_core.enn.gradients import NetworkGradients
from activeuf_core.enn.network import EnsembleNetwork
from activeuf_core.enn.schedule import learning_rate, regularization_weight
from activeuf_core.enn.tensors import as_tensor, pieces, require_pairs, require_same_layout
from activeuf_core.errors import DataError
from activeuf_core.seeding import derive_seed

ROWS_PER_PASS = 4096
"""Completions scored at a time: 42 MB of activations with 20 heads of 128."""
NEGLIGIBLE_PULL = 1e-10
"""Below this lambda the pull is left out: it would change a gradient by less than its rounding."""
ADAM_EPSILON = 1e-8
STEP_METRICS = (
    "loss_bradley_terry",
    "loss_centering",
    "win_rate",
    "reward_chosen",
    "reward_rejected",
    "grad_norm",
)


class EnsembleENN:
    """Rewards and bounds from an ensemble of heads on frozen features."""

    def __init__(
        self, config: ENNConfig, feature_size: int, seed: int, device: str | torch.device = "cpu"
    ) -> None:
        self.config = config
        self.feature_size = feature_size
        self.device = torch.device(device)
        self._bootstrap_seed = derive_seed(seed, "enn", "bootstrap")
        self._network = self._make_network(derive_seed(seed, "enn", "init"))
        self._prior = None
        if config.head_diversity == "prior":
            self._prior = self._make_network(derive_seed(seed, "enn", "prior")).requires_grad_(
                False
            )
        self._weights: list[torch.Tensor] = [*self._network.parameters()]
        self._initial = [weight.detach().clone() for weight in self._weights]
        self._pull_scale = losses.pull_scale(self._weights, config.regularization.normalisation)
        self._gradients = NetworkGradients(self._network, getattr(torch, config.dtype))
        self._first_moments = [torch.zeros_like(weight) for weight in self._initial]
        self._second_moments = [torch.zeros_like(weight) for weight in self._initial]
        self._adam_steps = [torch.zeros((), device=self.device) for _ in self._initial]

    @torch.inference_mode()
    def bounds(
        self, features_PCD: Features, mask_PC: NDArray[np.bool_] | None = None
    ) -> RewardEstimate:
        """Mean over heads, plus and minus bound_scale deviations (with n - 1 as divisor)."""
        del mask_PC
        rows_RD = features_PCD.reshape(-1, self.feature_size)
        parts = [self._rewards(self._load(rows)) for rows in pieces(rows_RD, ROWS_PER_PASS)]
        heads_EPC = torch.cat(parts, dim=1).unflatten(1, features_PCD.shape[:-1])
        std_PC, mean_PC = torch.std_mean(heads_EPC, dim=0)
        half_PC = self.config.bound_scale * std_PC
        outputs = (mean_PC, mean_PC - half_PC, mean_PC + half_PC, heads_EPC)
        return RewardEstimate(*(output.cpu().numpy() for output in outputs))

    def update(
        self,
        chosen_ND: Features,
        rejected_ND: Features,
        *,
        pair_ids_N: NDArray[np.int64],
        progress: float,
    ) -> dict[str, float]:
        """Take one pass over the pairs, at most `max_steps` optimiser steps.

        Returns: means over the steps: loss and its parts, grad_norm before clipping, learning_rate,
            win_rate (share of pairs that the mean over heads ranks right, before its step),
            reward_chosen, reward_rejected, reward_margin; and train_steps, regularization_weight
            (lambda), loss_initial_weights (the penalty after the last step).
        """
        chosen_ND, rejected_ND = as_tensor(chosen_ND), as_tensor(rejected_ND)
        require_pairs(chosen_ND, rejected_ND, pair_ids_N, self.feature_size)
        num_steps = min(math.ceil(len(pair_ids_N) / self.config.batch_size), self.config.max_steps)
        pull = regularization_weight(self.config.regularization, progress)
        rates = [learning_rate(self.config, step, num_steps, progress) for step in range(num_steps)]
        totals = torch.zeros(len(STEP_METRICS), device=self.device)
        for step, rate in enumerate(rates):
            part = slice(step * self.config.batch_size, (step + 1) * self.config.batch_size)
            rows_RD = self._load(torch.cat([chosen_ND[part], rejected_ND[part]]))
            totals += self._step(rows_RD, self._pair_weights(pair_ids_N[part]), rate, pull)
        return self._metrics(totals / num_steps, rates, pull)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return copies of weights, initial weights, prior weights and optimiser moments."""
        return {name: tensor.detach().cpu().clone() for name, tensor in self._named_state()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Overwrite every tensor of this model."""
        own = dict(self._named_state())
        require_same_layout(state, own)
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(state[name])

    def _make_network(self, seed: int) -> EnsembleNetwork:
        sizes, num_heads = self.config.hidden_sizes, self.config.num_heads
        return EnsembleNetwork(self.feature_size, sizes, num_heads, seed).to(self.device)

    def _load(self, rows: torch.Tensor) -> torch.Tensor:
        """Bring rows of features to the device, as float32."""
        return rows.to(self.device, non_blocking=True).float()

    def _rewards(self, features: torch.Tensor) -> torch.Tensor:
        """Rewards (E, ...) of features (..., D), float32."""
        rewards = self._rewards_of(self._network, features)
        return rewards if self._prior is None else rewards.add_(self._prior_rewards(features))

    def _prior_rewards(self, features: torch.Tensor) -> torch.Tensor | float:
        """What the fixed random networks add to the rewards, if there are any."""
        if self._prior is None or self.config.prior_scale is None:
            return 0.0
        return self.config.prior_scale * self._rewards_of(self._prior, features)

    def _rewards_of(self, network: EnsembleNetwork, features: torch.Tensor) -> torch.Tensor:
        half = self.config.dtype == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            return network(features).float()

    def _pair_weights(self, pair_ids_N: NDArray[np.int64]) -> torch.Tensor | None:
        """Bootstrap weights (E, N), or None when all heads see the same data."""
        if self.config.head_diversity != "bootstrap":
            return None
        weights_EN = bootstrap_weights(self._bootstrap_seed, pair_ids_N, self.config.num_heads)
        return torch.from_numpy(weights_EN).to(self.device)

    def _step(
        self,
        rows_RD: torch.Tensor,
        weight_EN: torch.Tensor | None,
        rate: float,
        pull: float,
    ) -> torch.Tensor:
        """Take one optimiser step; return the values of `STEP_METRICS`.

        Args: rows_RD: features of the chosen completions, then of the rejected ones.
        """
        rewards_ER = self._gradients.forward(rows_RD) + self._prior_rewards(rows_RD)
        # Autograd from here on: the loss has one definition, and 128 values a head cost nothing.
        chosen_EN, rejected_EN = rewards_ER.requires_grad_().chunk(2, dim=1)
        loss = losses.bradley_terry(chosen_EN, rejected_EN, weight_EN)
        centering = losses.reward_centering(chosen_EN, rejected_EN)
        total = loss + self.config.reward_centering * centering
        (slope_ER,) = torch.autograd.grad(total, rewards_ER)
        with torch.no_grad():
            self._gradients.backward(slope_ER)
            if pull > NEGLIGIBLE_PULL:
                losses.add_pull_gradient(self._weights, self._initial, pull * self._pull_scale)
            norm = self._adam_step(rate)
            margin_N = (chosen_EN - rejected_EN).mean(dim=0)
            win_rate = (margin_N > 0).float().mean()
            means = (chosen_EN.mean(), rejected_EN.mean())
            return torch.stack([loss, centering, win_rate, *means, norm]).detach()

    def _adam_step(self, rate: float) -> torch.Tensor:
        """Apply AdamW to clipped gradients; return their norm before clipping."""
        gradients = [weight.grad for weight in self._weights if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        # Clips inside the fused kernel, which saves a pass over all gradients.
        scale: torch.Tensor | None = ((norm + 1e-6) / self.config.max_grad_norm).clamp(min=1.0)
        if self.device.type == "cpu" and scale == 1.0:
            scale = None  # the same result a tenth sooner; a GPU would have to be waited for
        adamw(
            self._weights,
            gradients,
            self._first_moments,
            self._second_moments,
            [],
            self._adam_steps,
            fused=True,
            grad_scale=scale,
            amsgrad=False,
            beta1=self.config.adam_beta1,
            beta2=self.config.adam_beta2,
            lr=rate,
            weight_decay=self.config.weight_decay,
            eps=ADAM_EPSILON,
            maximize=False,
        )
        return norm

    def _metrics(self, means: torch.Tensor, rates: list[float], pull: float) -> dict[str, float]:
        """Name the metrics of an update; refuse a training that diverged."""
        metrics = dict(zip(STEP_METRICS, means.tolist(), strict=True))
        if not all(map(math.isfinite, metrics.values())):
            raise DataError(
                f"training the ENN diverged: {metrics}. Lower enn.learning_rate (now "
                f"{self.config.learning_rate}) or look for outliers in the features."
            )
        with torch.no_grad():
            distance = float(losses.pull_to_initial(self._weights, self._initial))
        penalty = pull * self._pull_scale * distance
        centering = self.config.reward_centering * metrics["loss_centering"]
        return metrics | {
            "loss": metrics["loss_bradley_terry"] + centering + penalty,
            "loss_initial_weights": penalty,
            "regularization_weight": pull,
            "learning_rate": sum(rates) / len(rates),
            "reward_margin": metrics["reward_chosen"] - metrics["reward_rejected"],
            "train_steps": float(len(rates)),
        }

    def _named_state(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor that outlives a call, by name."""
        for name, tensor in self._network.named_parameters():
            yield f"network.{name}", tensor
        for index, tensor in enumerate(self._initial):
            yield f"initial.{index}", tensor
        for name, tensor in self._prior.named_parameters() if self._prior is not None else ():
            yield f"prior.{name}", tensor
        for index, tensor in enumerate(self._first_moments):
            yield f"adam.first_moment.{index}", tensor
        for index, tensor in enumerate(self._second_moments):
            yield f"adam.second_moment.{index}", tensor
        for index, tensor in enumerate(self._adam_steps):
            yield f"adam.step.{index}", tensor
