"""What a training publishes: a model folder that loads with from_pretrained, or a LoRA adapter.

In: a trainer after its last step. Out: safetensors, config, tokenizer with chat template,
generation config (policies); or adapter weights and config. Never optimiser state, never a pickle.
Heavy: imports torch and peft.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoConfig, Trainer

from activeuf_core.training import division
from activeuf_core.training.base_model import BaseModel, require_finite, stored_dtype
from activeuf_core.training.config import TrainingConfig

SHARD_SIZE = "5GB"
ADAPTER = "default"


def publish(
    trainer: Trainer,
    base: BaseModel,
    config: TrainingConfig,
    loaded: torch.dtype,
    output: Path,
    fresh: Callable[[], torch.nn.Module],
) -> float | None:
    """Write the trained model or adapter; return how far its weights are from the base model's.

    A model is published in the dtype of the base model's files. The distance is the norm of the
    difference over the norm of the base model's weights. Of several processes, all have to call it,
    and the first writes; the others get None.
    Args: loaded: the dtype that the base model's weights were loaded in. fresh: makes a model like
    the trained one, for weights that are divided over processes to be gathered in.
    Raises: DataError when a weight is not finite.
    """
    model: Any = division.whole_model(trainer, fresh)
    if model is None:
        return None
    require_finite(model, "the trained model")
    tokenizer: Any = trainer.processing_class
    tokenizer.save_pretrained(output)
    if isinstance(model, PeftModel) and config.output == "adapter":
        distance = _adapter_distance(model)
        _save_adapter(model, base, output)
    else:
        _save_whole(_merged(model), base, output)
        distance = relative_distance(output, base.folder, loaded)
    _open_to_readers(output)
    return distance


def relative_distance(folder: Path, base: Path, loaded: torch.dtype) -> float:
    """Return |W - W0| / |W0| over the weights that both folders hold, as written to their files.

    W0 is what the training began with: the base model's weights, rounded to the dtype they were
    loaded in. Without that, rounding alone would pass for training.
    """
    changed, before = [0.0], [0.0]
    with ExitStack() as stack:
        ours, theirs = _weights(folder, stack), _weights(base, stack)
        for name in ours.keys() & theirs.keys():
            weight = theirs[name].get_tensor(name).to(loaded).float()
            changed.append(_square(ours[name].get_tensor(name).float() - weight))
            before.append(_square(weight))
    return math.sqrt(math.fsum(changed) / math.fsum(before)) if any(before) else 0.0


def _merged(model: Any) -> Any:
    """Return the model with its adapter added, computed in float32 and in the host's memory.

    In bfloat16, an update of less than a few thousandths of a weight would leave it as it is. A
    base model stored in bfloat16 rounds it like that in the end: the distance tells what is left.
    """
    if not isinstance(model, PeftModel):
        return model
    whole: Any = model.to("cpu", torch.float32)
    return whole.merge_and_unload()


def _save_whole(model: Any, base: BaseModel, output: Path) -> None:
    # The trainer switches it off; a policy published like that would generate without its cache.
    model.config.use_cache = getattr(AutoConfig.from_pretrained(base.folder), "use_cache", True)
    model.to(stored_dtype(base)).save_pretrained(output, max_shard_size=SHARD_SIZE)


def _adapter_distance(model: PeftModel) -> float:
    """Return |BA| / |W0|: how far merging would take the base model's weights."""
    layers: list[Any] = [layer for layer in model.modules() if hasattr(layer, "get_delta_weight")]
    changed = [_square(layer.get_delta_weight(ADAPTER).detach()) for layer in layers]
    before = [_square(w.detach()) for w in model.parameters() if not w.requires_grad]
    return math.sqrt(math.fsum(changed) / math.fsum(before))


def _save_adapter(model: PeftModel, base: BaseModel, output: Path) -> None:
    """Write the adapter, naming its base model as peft finds it: a path, or hub id and revision."""
    settings = model.peft_config[ADAPTER]
    repository, at, revision = base.name.rpartition("@")
    on_hub = bool(at) and not Path(base.name).exists()
    settings.base_model_name_or_path = repository if on_hub else base.name
    settings.revision = revision if on_hub else None
    model.save_pretrained(str(output))
    # A card for the hub, of which only the heading is filled in.
    (output / "README.md").unlink(missing_ok=True)


def _open_to_readers(output: Path) -> None:
    """Give weight files the rights of every other file: safetensors writes them for their owner
    alone.
    """
    rights = (output / "tokenizer_config.json").stat().st_mode
    for path in output.glob("*.safetensors"):
        path.chmod(rights)


def _weights(folder: Path, stack: ExitStack) -> dict[str, Any]:
    """Return, by weight, the open file that holds it."""
    files = [
        stack.enter_context(safe_open(path, framework="pt"))
        for path in sorted(folder.glob("*.safetensors"))
    ]
    return {name: file for file in files for name in file.keys()}  # noqa: SIM118 - not a mapping


def _square(weight: torch.Tensor) -> float:
    return torch.sum(weight.float() ** 2).item()
