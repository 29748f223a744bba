"""The base model of a training: found, loaded from safetensors, and refused when it is not whole.

In: a folder, or `hub-id@revision`. Out: a tokenizer with a chat template; a model whose weights are
all there and finite. Heavy: imports torch and transformers.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
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
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from activeuf_core import pretrained
from activeuf_core.errors import ConfigError, DataError
from activeuf_core.training.config import TrainingConfig

log = logging.getLogger(__name__)

REWARD_HEAD = "score.weight"
SHOWN_NAMES = 3


@dataclass(frozen=True)
class BaseModel:
    """Where a base model's files lie, and how a person would name them."""

    folder: Path
    name: str


def find(location: str) -> BaseModel:
    """Return the local folder of a path or of `hub-id@revision`, which may have to be fetched.

    A revision becomes a folder once, here, so that policy and reference model cannot come from
    different ones.
    Raises: DataError when the folder is missing or holds no safetensors weights.
    """
    path = Path(location)
    if not path.exists() and "@" in location:
        repository, _, revision = location.rpartition("@")
        path = pretrained.fetch(repository, revision)
    if not (path / "config.json").is_file():
        raise DataError(
            f"base model {location}: no config.json in {path}. Name a Hugging Face model folder, "
            "or hub-id@revision."
        )
    if not any(path.glob("*.safetensors")):
        raise DataError(
            f"base model {location}: {path} holds no *.safetensors weights. Other formats are not "
            "read, because they can run code; save the model with save_pretrained."
        )
    return BaseModel(path, location)


def load_tokenizer(base: BaseModel, max_tokens: int) -> PreTrainedTokenizerBase:
    """Return the tokenizer, with a padding token and a chat template.

    Raises: DataError when it is not there, has neither padding nor end token, or no template;
    ConfigError when `max_tokens` is more than the model has positions.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(base.folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"base model {base.name}: its tokenizer cannot be loaded from {base.folder} ({error}). "
            "Fetch or save model and tokenizer again."
        ) from error
    if tokenizer.chat_template is None:
        raise DataError(
            f"base model {base.name}: its tokenizer has no chat template, so conversations cannot "
            "be rendered. Use the instruction-tuned model, or put its chat_template.jinja into the "
            "model folder."
        )
    if tokenizer.pad_token is None and tokenizer.eos_token is None:
        raise DataError(
            f"base model {base.name}: its tokenizer has neither a padding nor an end token. Set "
            "pad_token in tokenizer_config.json."
        )
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    positions = getattr(
        AutoConfig.from_pretrained(base.folder).get_text_config(), "max_position_embeddings", None
    )
    if positions is not None and max_tokens > positions:
        raise ConfigError(
            f"max_tokens {max_tokens} is more than the {positions} positions of base model "
            f"{base.name}. Lower max_tokens."
        )
    return tokenizer


def choose_dtype(config: TrainingConfig) -> torch.dtype:
    """Return the dtype to compute in.

    Raises: ConfigError when the config asks for bfloat16 on a GPU without it.
    """
    native = _multiplies_bfloat16()
    if config.dtype == "auto":
        return torch.bfloat16 if native else torch.float32
    if config.dtype == "bfloat16" and torch.cuda.is_available() and not native:
        device = torch.cuda.get_device_name()
        raise ConfigError(f"dtype bfloat16: {device} does not compute in it. Use float32 or auto.")
    return getattr(torch, config.dtype)


def _multiplies_bfloat16() -> bool:
    """Whether the device has instructions for it, and is faster with them than in float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def stored_dtype(base: BaseModel) -> torch.dtype:
    """Return the dtype of the weights in the base model's files, as its config tells."""
    stored = AutoConfig.from_pretrained(base.folder).dtype
    return stored if isinstance(stored, torch.dtype) else torch.float32


def load_policy(base: BaseModel, dtype: torch.dtype) -> PreTrainedModel:
    """Return the base model with its language-model head.

    Raises: DataError when weights are missing or not finite.
    """
    model = _load(AutoModelForCausalLM, base, dtype)
    try:
        model.generation_config.validate(strict=True)
    except ValueError as error:
        # Otherwise found when the trained model is saved.
        raise DataError(
            f"base model {base.name}: generation_config.json contradicts itself ({error}). "
            "Correct it in a copy of the folder."
        ) from error
    return model


def load_with_reward_head(
    base: BaseModel, pad_token_id: int, dtype: torch.dtype
) -> PreTrainedModel:
    """Return the base model with a new head of one output, drawn from torch's generator.

    Raises: DataError when other weights are missing or not finite.
    """
    return _load(
        AutoModelForSequenceClassification, base, dtype, num_labels=1, pad_token_id=pad_token_id
    )


def _load(
    architecture: Any, base: BaseModel, dtype: torch.dtype, **options: int
) -> PreTrainedModel:
    try:
        with _no_report():
            model, info = architecture.from_pretrained(
                base.folder,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                **options,
            )
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise DataError(
            f"base model {base.name}: {base.folder} cannot be loaded ({error}). Fetch or save it "
            "again."
        ) from error
    missing = sorted(set(info["missing_keys"]) - {REWARD_HEAD})
    if missing:
        raise DataError(
            f"base model {base.name}: {len(missing)} weights are not in its files "
            f"({', '.join(missing[:SHOWN_NAMES])}), and would have been drawn at random. Fetch or "
            "save it again."
        )
    require_finite(model, f"base model {base.name}")
    return model


@contextlib.contextmanager
def _no_report() -> Iterator[None]:
    """Keep quiet that a new head's weights are random; what else is missing is an error."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def require_fitting(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, base: BaseModel
) -> None:
    """Check that every token has an embedding. Raises: DataError."""
    embedding: Any = model.get_input_embeddings()
    rows = embedding.weight.shape[0]
    if len(tokenizer) > rows:
        raise DataError(
            f"base model {base.name}: its tokenizer knows {len(tokenizer)} tokens, its embedding "
            f"{rows}. Tokenizer and model are not of one kind: take both from the same folder."
        )


def require_finite(model: torch.nn.Module, what: str) -> None:
    """Check that no weight is NaN or infinite. Raises: DataError with the names of the first."""
    broken = [name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()]
    if broken:
        raise DataError(
            f"{what}: {len(broken)} weights hold NaN or infinite values "
            f"({', '.join(broken[:SHOWN_NAMES])}). Nothing can be trained from or published with "
            "them."
        )
