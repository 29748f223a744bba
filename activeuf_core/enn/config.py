"""Settings of the loop's reward models, light to import.

In: the `enn` section of an experiment file. Out: `ENNConfig` or `BayesianLinearConfig`, told apart
by `method`. Defaults are those of ActiveUltraFeedback, arXiv 2603.09692, unless a field says not.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from activeuf_core.config import StrictModel

Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Pull(StrictModel):
    """How strongly weights are pulled back to where they began: lambda (w - w_0)^2."""

    initial_value: NonNegative = 1.0
    """lambda at the start of the run."""
    normalisation: Literal["sum", "mean"] = "sum"
    """Over the weights of a head: `sum`, or `mean` as in the research code, where it makes the pull
    a million times weaker than the data, so that lambda has no effect. Over heads: always the
    mean."""


class ExponentialDecay(Pull):
    """lambda = initial_value decay_base^(4308 progress)."""

    decay: Literal["exponential"] = "exponential"
    decay_base: float = Field(default=0.99, gt=0.0, le=1.0)
    """0.99: two thirds are left after 1 % of the run, one hundredth after 10 %."""


class LinearDecay(Pull):
    """lambda = initial_value (1 - progress)."""

    decay: Literal["linear"] = "linear"


class ENNConfig(StrictModel):
    """An ensemble of MLP heads on frozen features."""

    method: Literal["ensemble"] = "ensemble"
    num_heads: int = Field(default=20, ge=2)
    hidden_sizes: tuple[Annotated[int, Field(ge=1)], ...] = (128, 128)
    """Width of each hidden layer; none at all makes linear heads."""
    learning_rate: Positive = 5e-5
    lr_schedule: Literal["per_batch_restart", "run"] = "per_batch_restart"
    """Cosine to zero: within each update, starting anew (the research code), or once over the
    run."""
    batch_size: int = Field(default=64, ge=1)
    """Pairs per optimiser step."""
    max_steps: int = Field(default=100, ge=1)
    """Optimiser steps per update; fewer where the pairs do not suffice for one pass."""
    weight_decay: NonNegative = 0.0
    adam_beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    adam_beta2: float = Field(default=0.999, ge=0.0, lt=1.0)
    max_grad_norm: Positive = 1.0
    """Gradients are scaled down to this norm, taken over all heads together."""
    bound_scale: NonNegative = 1.0
    """Bounds are the mean over heads plus and minus this many standard deviations."""
    regularization: Annotated[ExponentialDecay | LinearDecay, Field(discriminator="decay")] = (
        ExponentialDecay()
    )
    reward_centering: NonNegative = 0.01
    """Weight of (reward of chosen + reward of rejected)^2, which keeps rewards around zero."""
    head_diversity: Literal["init", "bootstrap", "prior"] = "init"
    """What makes heads differ: their initial weights only (the research code); also a random weight
    per head and pair; also a fixed random network added to each head."""
    prior_scale: Positive | None = None
    """Factor of that fixed network; given with `head_diversity: prior` only."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the matrix products; weights and optimiser are float32."""

    @model_validator(mode="after")
    def _scale_belongs_to_prior(self) -> Self:
        if (self.head_diversity == "prior") != (self.prior_scale is not None):
            raise ValueError(
                f"head_diversity is {self.head_diversity!r} and prior_scale {self.prior_scale!r}: "
                "give prior_scale (1.0, say) with head_diversity: prior, and not otherwise"
            )
        return self


class BayesianLinearConfig(StrictModel):
    """One linear head with a Gaussian posterior."""

    method: Literal["bayesian_linear"] = "bayesian_linear"
    prior_precision: Positive = 1.0
    """Of each weight; features have length 1, so the prior's rewards have this to the power -1/2 as
    their standard deviation, in logits."""
    max_newton_steps: int = Field(default=20, ge=1)
    tolerance: Positive = 1e-6
    """Stop when a Newton step promises less than this decrease of the loss, summed over pairs."""
    num_draws: int = Field(default=20, ge=1)
    """Posterior draws offered to the Thompson methods."""
    bound_scale: NonNegative = 1.0
    """Bounds are the mean plus and minus this many standard deviations."""


RewardUncertaintyConfig = Annotated[ENNConfig | BayesianLinearConfig, Field(discriminator="method")]
