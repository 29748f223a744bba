"""Which layers a LoRA training adapts.

In: a loaded model, `LoraConfig`, the kind of training. Out: peft's settings, or an error that names
the layers that there are. Heavy: imports torch and peft.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from peft import LoraConfig as PeftLoraConfig
from transformers import PreTrainedModel

from activeuf_core.errors import ConfigError, choose_from
from activeuf_core.training.config import LoraConfig

if TYPE_CHECKING:
    from activeuf_core.training.session import Kind

ALL_LINEAR = "all-linear"
"""peft's word for every linear layer but the output layer."""
OUTPUT_LAYER = "lm_head"
"""TRL multiplies with its weights directly, so an adapter on it would never be trained. A reward
model's output layer is trained whole."""


def adapter_settings(model: PreTrainedModel, lora: LoraConfig, kind: Kind) -> PeftLoraConfig:
    """Return peft's settings.

    Raises: ConfigError when a target is no linear layer of the model, or is its output layer.
    """
    linear = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    whole = {OUTPUT_LAYER, *kind.modules_to_save}
    targets: str | list[str] = ALL_LINEAR
    if lora.targets != ALL_LINEAR:
        is_pattern = isinstance(lora.targets, str)
        names = [lora.targets] if isinstance(lora.targets, str) else list(lora.targets)
        reached = [_layers(name, linear, whole, is_pattern=is_pattern) for name in names]
        # Of a pattern, the linear layers alone: peft would stumble over an activation's name.
        targets = sorted(*reached) if is_pattern else names
    return PeftLoraConfig(
        task_type=kind.task_type,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        modules_to_save=list(kind.modules_to_save) or None,
    )


def _layers(target: str, linear: set[str], whole: set[str], *, is_pattern: bool) -> set[str]:
    """Return the whole names of the layers that a target reaches. Raises: ConfigError."""
    found = {name for name in linear if _matches(target, name, is_pattern=is_pattern)}
    output = {_last(name) for name in found} & whole
    allowed = choose_from(target, {_last(name) for name in linear} - whole)
    if not found:
        kind = f"a pattern for whole names of layers, or {ALL_LINEAR!r}" if is_pattern else "those"
        raise ConfigError(
            f"lora.targets: the model has no linear layer {target!r}; {allowed}. Give {kind}."
        )
    if output:
        raise ConfigError(
            f"lora.targets: {target!r} reaches {', '.join(sorted(output))}, the output layer, on "
            f"which an adapter would have no effect; {allowed}."
        )
    return found


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _matches(target: str, name: str, *, is_pattern: bool) -> bool:
    if not is_pattern:
        return f".{name}".endswith(f".{target}")
    try:
        return re.fullmatch(target, name) is not None
    except re.error as error:
        raise ConfigError(
            f"lora.targets: {target!r} is not a regular expression ({error}). Correct it, or give "
            "a list of layer names."
        ) from error
