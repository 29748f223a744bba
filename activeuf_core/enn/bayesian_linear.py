"""A Bayesian linear reward: Laplace posterior of a logistic regression on feature differences.

In: features and comparisons. Out: closed-form bounds, posterior draws, a flat state. Contract:
`base.RewardUncertainty`. Heavy: needs torch.
Source: MacKay 1992 (the evidence framework applied to classification networks); Bishop 2006, 4.5.
Cost: an update takes a few Newton steps of N D^2 + D^3 / 3 multiplications; scoring D^2 per
completion.
Shapes: P prompts, C completions per prompt, D feature size, E draws, N pairs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from activeuf_core.enn.base import Features, RewardEstimate
from activeuf_core.enn.config import BayesianLinearConfig
from activeuf_core.enn.tensors import as_tensor, pieces, require_pairs, require_same_layout
from activeuf_core.errors import DataError
from activeuf_core.seeding import derive_seed

PROMPTS_PER_PASS = 128
MAX_HALVINGS = 30
"""Halvings of a Newton step before giving up; the loss is convex, so a few always suffice."""


class BayesianLinear:
    """Reward w . x of unit-length features x, with w Gaussian: mode and curvature of the posterior.

    The posterior is that of the pairs of the last update, so pass all that are kept. Only
    differences within a prompt are learnt, so bounds are those of the difference to the prompt's
    mean completion: what all its completions share carries no uncertainty.
    """

    def __init__(
        self,
        config: BayesianLinearConfig,
        feature_size: int,
        seed: int,
        device: str | torch.device = "cpu",
    ) -> None:
        self.config = config
        self.feature_size = feature_size
        self.device = torch.device(device)
        self._seed = seed
        wide = {"dtype": torch.float64, "device": self.device}
        self._mode_D = torch.zeros(feature_size, **wide)
        self._factor_DD = torch.eye(feature_size, **wide) * config.prior_precision**0.5
        self._num_updates = torch.zeros((), dtype=torch.int64)

    def bounds(
        self, features_PCD: Features, mask_PC: NDArray[np.bool_] | None = None
    ) -> RewardEstimate:
        """Mean w . x, half-width bound_scale sqrt(x^T H^-1 x), draws w_e . x, for centred x."""
        if mask_PC is None:
            mask_PC = np.ones(features_PCD.shape[:-1], dtype=bool)
        mask = torch.from_numpy(np.ascontiguousarray(mask_PC)).to(self.device)
        draws_DE = self._posterior_draws()
        parts = [
            self._score(self._centred(rows, valid), draws_DE)
            for rows, valid in zip(
                pieces(features_PCD, PROMPTS_PER_PASS), mask.split(PROMPTS_PER_PASS), strict=True
            )
        ]
        mean_PC, half_PC, heads_PCE = (torch.cat(part) for part in zip(*parts, strict=True))
        outputs = (mean_PC, mean_PC - half_PC, mean_PC + half_PC, heads_PCE.movedim(-1, 0))
        return RewardEstimate(*(output.float().contiguous().cpu().numpy() for output in outputs))

    def update(
        self,
        chosen_ND: Features,
        rejected_ND: Features,
        *,
        pair_ids_N: NDArray[np.int64],
        progress: float,
    ) -> dict[str, float]:
        """Fit the posterior to these pairs by Newton's method, from the last mode.

        Returns: loss (mean -log sigma over pairs at the mode), win_rate, reward_margin, train_steps
            (Newton steps), newton_decrement (what another step would gain).
        """
        del progress
        chosen_ND, rejected_ND = as_tensor(chosen_ND), as_tensor(rejected_ND)
        require_pairs(chosen_ND, rejected_ND, pair_ids_N, self.feature_size)
        z_ND = self._unit(chosen_ND) - self._unit(rejected_ND)
        decrement, num_steps = float("inf"), 0
        while True:
            gradient_D, self._factor_DD = self._curvature(z_ND)
            step_D = torch.cholesky_solve(gradient_D[:, None], self._factor_DD)[:, 0]
            decrement = 0.5 * float(gradient_D @ step_D)
            if decrement < self.config.tolerance or num_steps == self.config.max_newton_steps:
                break
            self._mode_D = self._descend(z_ND, step_D)
            num_steps += 1
        self._num_updates += 1
        margin_N = z_ND.double() @ self._mode_D
        return {
            "loss": float(functional.softplus(-margin_N).mean()),
            "win_rate": float((margin_N > 0).double().mean()),
            "reward_margin": float(margin_N.mean()),
            "train_steps": float(num_steps),
            "newton_decrement": decrement,
        }

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return copies of the mode, the precision's Cholesky factor, the number of updates."""
        return {name: tensor.cpu().clone() for name, tensor in self._named_state().items()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Overwrite every tensor of this model."""
        own = self._named_state()
        require_same_layout(state, own)
        for name, tensor in own.items():
            tensor.copy_(state[name])

    def _named_state(self) -> dict[str, torch.Tensor]:
        return {
            "mode": self._mode_D,
            "precision_factor": self._factor_DD,
            "num_updates": self._num_updates,
        }

    def _unit(self, features: torch.Tensor) -> torch.Tensor:
        """Scale features to length 1, as float32 on the device."""
        return functional.normalize(features.to(self.device).float(), dim=-1)

    def _centred(self, features_PCD: torch.Tensor, mask_PC: torch.Tensor) -> torch.Tensor:
        """Unit features less their mean over the prompt's real completions; zero elsewhere."""
        mask_PC1 = mask_PC[..., None]
        unit_PCD = torch.where(mask_PC1, self._unit(features_PCD), 0.0)
        mean_P1D = unit_PCD.sum(dim=-2, keepdim=True) / mask_PC1.sum(dim=-2, keepdim=True)
        return torch.where(mask_PC1, unit_PCD - mean_P1D, 0.0)

    def _score(
        self, x_PCD: torch.Tensor, draws_DE: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mean (P, C), half-width (P, C) and draws (P, C, E) of the rewards of centred features."""
        rows_RD = x_PCD.reshape(-1, self.feature_size).double()
        whitened_DR = torch.linalg.solve_triangular(self._factor_DD, rows_RD.T, upper=False)
        half_R = self.config.bound_scale * whitened_DR.square().sum(dim=0).sqrt()
        shape = x_PCD.shape[:-1]
        draws_PCE = (rows_RD @ draws_DE).reshape(*shape, -1)
        return (rows_RD @ self._mode_D).reshape(shape), half_R.reshape(shape), draws_PCE

    def _posterior_draws(self) -> torch.Tensor:
        """Draws w_e = mode + L^-T e, e standard normal and new after every update, (D, E)."""
        seed = derive_seed(self._seed, "enn", "posterior", int(self._num_updates))
        generator = torch.Generator().manual_seed(seed)
        shape = (self.feature_size, self.config.num_draws)
        noise_DE = torch.randn(shape, generator=generator, dtype=torch.float64).to(self.device)
        spread_DE = torch.linalg.solve_triangular(self._factor_DD.T, noise_DE, upper=True)
        return self._mode_D[:, None] + spread_DE

    def _curvature(self, z_ND: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradient of the loss at the mode, and the Cholesky factor L of its Hessian H = L L^T.

        loss = sum log(1 + exp(-w . z)) + prior_precision |w|^2 / 2;
        H = Z^T diag(p (1 - p)) Z + prior_precision I.
        """
        surprise_N = torch.sigmoid(-(z_ND.double() @ self._mode_D))
        gradient_D = self.config.prior_precision * self._mode_D - z_ND.double().T @ surprise_N
        weighted_ND = z_ND * (surprise_N * (1.0 - surprise_N)).float()[:, None]
        # The one product over all pairs, in float32: its rounding is far below the Laplace error.
        hessian_DD = (z_ND.T @ weighted_ND).double()
        hessian_DD.diagonal().add_(self.config.prior_precision)
        return gradient_D, torch.linalg.cholesky(hessian_DD)

    def _descend(self, z_ND: torch.Tensor, step_D: torch.Tensor) -> torch.Tensor:
        """Take the Newton step, halved until the loss does not grow; return the new mode."""
        before = self._loss(z_ND, self._mode_D)
        for halvings in range(MAX_HALVINGS):
            mode_D = self._mode_D - step_D * 0.5**halvings
            if self._loss(z_ND, mode_D) <= before:
                return mode_D
        raise DataError(
            f"the Bayesian linear head found no descent from loss {before} on {len(z_ND)} pairs. "
            "Look for duplicated or extreme features."
        )

    def _loss(self, z_ND: torch.Tensor, mode_D: torch.Tensor) -> float:
        """The negative log posterior, up to a constant."""
        data = functional.softplus(-(z_ND.double() @ mode_D)).sum()
        return float(data + 0.5 * self.config.prior_precision * (mode_D @ mode_D))
