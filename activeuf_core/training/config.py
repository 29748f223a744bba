"""Settings of the trainings: `dpo_model` and `reward_model`.

The defaults are the settings of the ActiveUltraFeedback paper for an 8B base model, with what its
code did otherwise than its config said put right: pairs are dropped when either side is too long
(upstream kept them when one side fitted, and cut prompts to 512 tokens), LoRA goes to all linear
layers (upstream named `all-linear` and trained two projections), `dpo_beta` is used, and the seed
reaches the sampler.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from activeuf_core.config import ModelRef, StrictModel

SIMPO_ONLY = ("simpo_beta", "simpo_gamma")
REFERENCE_ONLY = ("dpo_beta",)
"""Of the losses that compare with a reference model."""


class LoraConfig(StrictModel):
    """Low-rank adapters instead of all weights."""

    rank: int = Field(default=64, ge=1)
    alpha: int = Field(default=16, ge=1)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Upstream names 0.1 (reward model: 0.05), which its trainer, TRL 0.23, set to 0 without a
    word: 0 is what the paper's models were trained with. A value above 0 takes effect here."""
    targets: str | tuple[str, ...] = "all-linear"


class TrainingConfig(StrictModel):
    """What both trainings share."""

    not_in_recipe = frozenset({"per_device_batch_size", "gradient_checkpointing", "save_every"})

    base_model: ModelRef
    lora: LoraConfig | None = LoraConfig()
    """null trains all weights."""
    learning_rate: float = Field(default=2e-5, gt=0.0)
    lr_schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_fraction: float = Field(default=0.1, ge=0.0, le=1.0)
    epochs: float = Field(default=3.0, gt=0.0)
    max_steps: int | None = Field(default=None, ge=1)
    """Stop after this many optimiser steps; null: as many as the epochs need."""
    batch_size: int = Field(default=32, ge=1)
    """Comparisons per optimiser step, over all processes."""
    per_device_batch_size: int = Field(default=4, ge=1)
    """Comparisons per forward pass; must divide `batch_size`. Where the device runs out of memory,
    half is tried."""
    max_tokens: int = Field(default=2048, ge=16)
    """Comparisons with a longer chosen or rejected conversation are dropped and counted."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 where the device has instructions for it (recent GPUs, CPUs with AMX), else
    float32. Trained weights are float32 either way."""
    gradient_checkpointing: bool = True
    """Recompute activations in the backward pass: a third slower, several times less memory."""
    save_every: int = Field(default=200, ge=1)
    """Optimiser steps between two checkpoints; a training that is no longer than this writes none.
    """
    validation_fraction: float = Field(default=0.0, ge=0.0, lt=0.5)
    """Share of the prompts whose comparisons are held out, and scored after the last step."""
    eval_every: int | None = Field(default=None, ge=1)
    """Optimiser steps between two evaluations on the held-out comparisons; null: only the last."""
    output: Literal["merged", "adapter"] = "merged"
    """Whether a LoRA training publishes the merged model or the adapter."""
    seed: int = 42

    @field_validator("eval_every")
    @classmethod
    def _require_something_to_evaluate(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and not info.data.get("validation_fraction"):
            raise ValueError("there is nothing to evaluate on; set validation_fraction too")
        return value


class DPOConfig(TrainingConfig):
    """Direct preference optimisation (Rafailov et al. 2023), or a variant of its loss.

    With r(y) = log pi(y|x) / pi_ref(y|x), summed over a completion's tokens, and |y| their number:

        sigmoid        -log sigma(dpo_beta (r(chosen) - r(rejected)))
        sigmoid_norm   -log sigma(dpo_beta (r(chosen)/|chosen| - r(rejected)/|rejected|))
        ipo            (r(chosen)/|chosen| - r(rejected)/|rejected| - 1/(2 dpo_beta))^2
        simpo          -log sigma(simpo_beta (log pi(chosen)/|chosen| - log pi(rejected)/|rejected|)
                                  - simpo_gamma)
    """

    loss_type: Literal["sigmoid", "sigmoid_norm", "ipo", "simpo"] = "sigmoid"
    dpo_beta: float = Field(default=0.1, gt=0.0)
    """sigmoid: how dear distance from the reference model is. sigmoid_norm: the same per token,
    where the literature takes about 5. ipo: the paper's tau; 1 / (2 tau) is the margin it aims at,
    in nats per token, so that 1.0 is one half."""
    simpo_beta: float = Field(default=2.0, gt=0.0)
    """simpo: scale of the mean log-probabilities."""
    simpo_gamma: float = Field(default=1.2, ge=0.0)
    """simpo: target margin after scaling, gamma itself and not its ratio to beta (0.6 here)."""

    @field_validator(*SIMPO_ONLY, *REFERENCE_ONLY)
    @classmethod
    def _refuse_what_has_no_effect(cls, value: float, info: ValidationInfo) -> float:
        name, loss_type = str(info.field_name), info.data.get("loss_type")
        is_used = (name in SIMPO_ONLY) == (loss_type == "simpo")
        if not is_used and value != cls.model_fields[name].default:
            raise ValueError(
                f"it would have no effect, since loss_type {loss_type} does not use it; leave it "
                "out, or choose another loss_type"
            )
        return value


class RewardModelConfig(TrainingConfig):
    """Bradley–Terry reward model: one scalar head on the base model."""

    lora: LoraConfig | None = LoraConfig(rank=16, alpha=32)
    lr_schedule: Literal["linear", "cosine", "constant"] = "constant"
    warmup_fraction: float = Field(default=0.0, ge=0.0, le=1.0)
    epochs: float = Field(default=2.0, gt=0.0)
    batch_size: int = Field(default=16, ge=1)
    max_tokens: int = Field(default=4096, ge=16)
    centering: float = Field(default=0.0, ge=0.0)
    """Weight of the penalty on the sum of the two rewards."""
