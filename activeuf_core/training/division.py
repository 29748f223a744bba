"""What of a training is divided over its processes, and how weights that are come together again.

`ddp.yaml`: the batch alone. FSDP2 (`fsdp2.yaml`) and ZeRO-3 divide the weights, ZeRO-2 the
optimiser's state; which of them is asked for, accelerate's config file says. Heavy: imports torch.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from transformers import Trainer

from activeuf_core import processes
from activeuf_core.errors import ConfigError, LaunchError
from activeuf_core.training.checkpoints import WHOLE

log = logging.getLogger(__name__)


def require_one_device(num_processes: int) -> None:
    """Refuse a process alone with several GPUs: the trainer would divide each pass over them in a
    way of its own, and take a multiple of the batch. Raises: ConfigError.
    """
    count = torch.cuda.device_count()
    if num_processes == 1 and count > 1:
        raise ConfigError(
            f"one process of a training sees {count} GPUs and would use them badly. Start one per "
            f"GPU (`processes_per_node: {count}` in the cluster file, docs/configs.md), or let it "
            "see one (`gpus: 1`, or CUDA_VISIBLE_DEVICES)."
        )


def require_right(trainer: Trainer, dtype: torch.dtype) -> None:
    """Check what accelerate made of its config file.

    Raises: ConfigError when it computes in another dtype than the training, or divides nothing
    though it was asked to; LaunchError when the trainer does not know of the other processes.
    """
    count = processes.current().count
    if trainer.args.world_size != count:
        raise LaunchError(
            f"the trainer knows of {trainer.args.world_size} process(es), and {count} were "
            "started: each would train alone. Look in the log for what kept them apart."
        )
    asked = "bf16" if dtype == torch.bfloat16 else "no"
    found = trainer.accelerator.mixed_precision
    if found != asked and layout_of(trainer) == WHOLE:
        raise ConfigError(
            f"accelerate's config file says mixed_precision {found}, and the training's dtype asks "
            f'for {asked}. Write `mixed_precision: "no"` there: the training says what it needs.'
        )
    if os.environ.get("ACCELERATE_USE_FSDP") == "true" and layout_of(trainer) == WHOLE:
        raise ConfigError(
            "accelerate's config file asks for FSDP, which works between GPUs alone, and none is "
            "used. Ask for GPUs, or name configs/accelerate/ddp.yaml."
        )


def layout_of(trainer: Trainer) -> str:
    """Return how weights and optimiser state are divided, in a word that checkpoints bear."""
    kind = trainer.accelerator.distributed_type.value
    if kind == "DEEPSPEED":
        # Its files are one per process, and cannot be divided otherwise.
        return f"deepspeed over {processes.current().count}"
    return "fsdp" if kind == "FSDP" else WHOLE


def size_of(weight: torch.Tensor) -> int:
    """Return how many numbers a weight has, over all processes."""
    return getattr(weight, "ds_numel", weight.numel())


def whole_model(trainer: Trainer, fresh: Callable[[], torch.nn.Module]) -> torch.nn.Module | None:
    """Return the trained model with all of its weights, on the first process; None on the others.

    All processes have to call it. Args: fresh: makes a model with the same weights' names.
    """
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    is_first = processes.current().is_first
    if not any(_is_divided(weight) for weight in model.parameters()):
        return model if is_first else None
    wrapped = trainer.model_wrapped if trainer.is_deepspeed_enabled else trainer.model
    weights: Any = trainer.accelerator.get_state_dict(wrapped)
    if not is_first:
        return None
    if trainer.is_deepspeed_enabled:
        _load_undivided()
    whole = fresh()
    dtypes = {name: weight.dtype for name, weight in whole.state_dict().items()}
    trained = {name: weight.requires_grad for name, weight in model.named_parameters()}
    kept = {
        name: weight if trained.get(name) else weight.to(dtypes[name])
        for name, weight in weights.items()
    }
    whole.load_state_dict(kept, assign=True)
    return whole


def _is_divided(weight: torch.Tensor) -> bool:
    return isinstance(weight, DTensor) or hasattr(weight, "ds_id")


def _load_undivided() -> None:
    """Let a model be loaded by this process alone again."""
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()
