"""The model that is scored: loaded once per process, and refused when it is not whole.

In: a Hugging Face model folder, or a peft adapter folder, with safetensors weights and a tokenizer
that has a chat template. Out: model and tokenizer in evaluation mode, on the GPU where there is
one. The benchmarks of one model share a process, so the last model stays loaded.
Heavy: imports torch, transformers, peft.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from activeuf_core.artifacts import read_json
from activeuf_core.errors import DataError

log = logging.getLogger(__name__)

ADAPTER_CONFIG = "adapter_config.json"
REWARD_HEAD = "score.weight"
SHOWN_NAMES = 3


@dataclass(frozen=True)
class LoadedModel:
    """A model with its tokenizer."""

    model: Any
    tokenizer: Any
    folder: Path

    @property
    def num_positions(self) -> int | None:
        """Longest sequence that the model was built for; None when its config does not say."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", None)


@functools.lru_cache(maxsize=1)
def load_policy(folder: Path, dtype: str) -> LoadedModel:
    """Return the causal language model of a folder.

    Args: dtype: name of a torch dtype.
    Raises: DataError when weights, tokenizer or chat template are missing, do not fit, or are not
    finite.
    """
    return _load(folder, dtype, AutoModelForCausalLM, {})


@functools.lru_cache(maxsize=1)
def load_reward_model(folder: Path, dtype: str) -> LoadedModel:
    """Return the reward model of a folder: sequence classification with one label. Raises: as
    `load_policy`.
    """
    loaded = _load(folder, dtype, AutoModelForSequenceClassification, {"num_labels": 1})
    if loaded.model.config.pad_token_id is None:
        loaded.model.config.pad_token_id = loaded.tokenizer.pad_token_id
    return loaded


def _load(folder: Path, dtype: str, auto: Any, options: dict[str, Any]) -> LoadedModel:
    base = require_weights(folder)
    tokenizer = _load_tokenizer(folder)
    model = _load_whole(base, auto, dtype, options, is_base=base != folder)
    if base != folder:
        model = _merge_adapter(model, folder)
    require_finite(model, folder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    log.info("loaded %s (%s, %s)", folder, dtype, device)
    return LoadedModel(model.to(device).eval(), tokenizer, folder)


def require_weights(folder: Path) -> Path:
    """Return the folder of the whole model: `folder` itself, or the base model of its adapter.

    Raises: DataError when there is no model, or when its weights are missing or not safetensors.
    """
    if (folder / ADAPTER_CONFIG).is_file():
        _require_safetensors(folder)
        named = read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path") or ""
        base = Path(named)
        if not (base / "config.json").is_file():
            raise DataError(
                f"{folder}: the adapter belongs to the base model {named!r}, and no model lies "
                "there. Put it there, or publish the merged model (output: merged in the "
                "training's config)."
            )
        _require_safetensors(base)
        return base
    if not (folder / "config.json").is_file():
        raise DataError(
            f"{folder}: no config.json and no {ADAPTER_CONFIG}, so this is not a model folder; it "
            f"holds {_listing(folder)}. Name a Hugging Face model folder."
        )
    _require_safetensors(folder)
    return folder


def require_finite(model: torch.nn.Module, folder: Path) -> None:
    """Refuse a model with a NaN or infinite weight. Raises: DataError naming the first tensors."""
    bad = [name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()]
    if bad:
        raise DataError(
            f"{folder}: {len(bad)} weight tensors are not finite, e.g. "
            f"{', '.join(bad[:SHOWN_NAMES])}. The training diverged or the file is damaged: look "
            "at the training's loss, and train again."
        )


def _require_safetensors(folder: Path) -> None:
    if not any(folder.glob("*.safetensors")):
        raise DataError(
            f"{folder} holds no *.safetensors weights; it holds {_listing(folder)}. Other formats "
            "are not read, because they can run code. Save the model with save_pretrained."
        )


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return ", ".join(names) or "nothing"


def _load_tokenizer(folder: Path) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder}: its tokenizer cannot be read ({error}). Save it beside the weights."
        ) from error
    if not tokenizer.chat_template:
        raise DataError(
            f"{folder}: its tokenizer has no chat template, so no question can be asked as a "
            "chat. Put the template of the base model into the folder as chat_template.jinja."
        )
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise DataError(
                f"{folder}: its tokenizer has neither a padding nor an end token. Name one of them."
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _load_whole(
    folder: Path, auto: Any, dtype: str, options: dict[str, Any], *, is_base: bool
) -> torch.nn.Module:
    """Load all weights of a folder; what it lacks is an error, not a random number.

    A base model may lack the reward head, because its adapter brings it.
    """
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, **options)
        model, found = auto.from_pretrained(
            folder,
            config=config,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise DataError(f"{folder}: the model cannot be loaded ({error}).") from error
    allowed = {REWARD_HEAD} if is_base else set()
    missing = sorted(set(found["missing_keys"]) - allowed)
    unfit = sorted(str(key) for key in found["mismatched_keys"])
    if missing or unfit:
        raise DataError(
            f"{folder} is not a whole {type(model).__name__}: {len(missing)} tensors are missing "
            f"({_names(missing)}), {len(unfit)} have another shape ({_names(unfit)}). Scoring it "
            "would score random numbers. Is this the right kind of model?"
        )
    return model


def _merge_adapter(model: torch.nn.Module, folder: Path) -> torch.nn.Module:
    """Add the adapter to the weights: scoring is then as fast as without one."""
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise DataError(f"{folder}: the adapter does not fit its base model ({error}).") from error


def _names(keys: list[str]) -> str:
    return ", ".join(keys[:SHOWN_NAMES]) + (", …" if len(keys) > SHOWN_NAMES else "") or "none"
