"""The model that is scored: loaded once per process, and refused when it is not whole.

In: a Hugging Face model folder, or a peft adapter folder, with safetensors weights and a tokenizer
that has a chat template. Out: model and tokenizer in evaluation mode, on the GPU where there is
one. The benchmarks of one model share a process, so the last model stays loaded.
Heavy: imports torch, and transformers and peft inside functions.
"""

from __future__ import annotations

import functools
import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch

from activeuf_core.artifacts import read_json
from activeuf_core.errors import DataError
from activeuf_core.evals.untrained import head_seed, load_with_new_head, weights_folder
from activeuf_core.pretrained import (
    ChatTokenizer,
    ModelKind,
    device,
    load_model,
    load_tokenizer,
)

log = logging.getLogger("activeuf")

POLICY: ModelKind = "AutoModelForCausalLM"
REWARD: ModelKind = "AutoModelForSequenceClassification"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
REWARD_HEAD = "score"
SHOWN_NAMES = 3


@dataclass(frozen=True)
class LoadedModel:
    """A model with its tokenizer, and the folder that they came from."""

    model: Any
    chat: ChatTokenizer
    folder: Path


Key = ParamSpec("Key")
Held = TypeVar("Held")
_HELD: dict[tuple[Any, ...], Any] = {}


def release() -> None:
    """Let go of the model that is held, and of its memory."""
    _HELD.clear()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def held_alone(load: Callable[Key, Held]) -> Callable[Key, Held]:
    """Make a loader keep its last model. The one before is let go before the next is loaded, so
    that a GPU that has room for one model is enough.
    """

    @functools.wraps(load)
    def held(*arguments: Key.args, **options: Key.kwargs) -> Held:
        name = (load, *arguments, *sorted(options.items()))
        if name not in _HELD:
            release()
            _HELD[name] = load(*arguments, **options)
        return _HELD[name]

    return held


@held_alone
def load_policy(folder: Path, dtype: str) -> LoadedModel:
    """Return the causal language model of a folder. Args: dtype: name of a torch dtype.

    Raises: DataError when weights, tokenizer or chat template are missing, do not fit, or are not
    finite.
    """
    return _load(folder, dtype, POLICY)


@held_alone
def load_reward_model(folder: Path, dtype: str) -> LoadedModel:
    """Return the reward model of a folder: sequence classification with one label.

    Raises: as `load_policy`; also when the model has several labels.
    """
    seed = head_seed(folder)
    if seed is None:
        loaded = _load(folder, dtype, REWARD)
    else:
        loaded = _load_untrained(weights_folder(folder), dtype, seed)
    if loaded.model.config.num_labels != 1:
        raise DataError(
            f"{folder}: has {loaded.model.config.num_labels} labels; a reward model has one. "
            "Name the folder of a reward model."
        )
    if loaded.model.config.pad_token_id is None:  # its forward pass finds the last token by it
        loaded.model.config.pad_token_id = loaded.chat.pad_id
    return loaded


def require_finite(model: torch.nn.Module, folder: Path) -> None:
    """Refuse a model with a NaN or infinite weight. Raises: DataError naming the first tensors."""
    _refuse_not_finite(
        [name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()],
        folder,
    )


def require_whole_folder(folder: Path) -> ChatTokenizer:
    """Check a policy's folder as `load_policy` does, tensor by tensor, for a back end that loads it
    itself; return its tokenizer. Raises: DataError.
    """
    from safetensors import SafetensorError, safe_open

    is_adapter = (folder / ADAPTER_CONFIG).is_file()
    _require_weights(folder, is_adapter)
    chat = _load_chat(folder)
    bad: list[str] = []
    for path in sorted(folder.glob(ADAPTER_WEIGHTS if is_adapter else "*.safetensors")):
        try:
            with safe_open(path, framework="pt") as weights:
                names = list(weights.keys())
                bad += [n for n in names if not torch.isfinite(weights.get_tensor(n)).all()]
        except (OSError, SafetensorError) as error:
            raise DataError(
                f"{path}: cannot be read ({error}). The file is damaged: train again."
            ) from error
    _refuse_not_finite(bad, folder)
    return chat


def adapter_base(folder: Path) -> str | None:
    """Return the base model of an adapter folder, None for a whole model."""
    if not (folder / ADAPTER_CONFIG).is_file():
        return None
    return read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path") or ""


def _refuse_not_finite(names: list[str], folder: Path) -> None:
    if names:
        raise DataError(
            f"{folder}: {len(names)} weight tensors are not finite, e.g. "
            f"{', '.join(names[:SHOWN_NAMES])}. The training diverged or the file is damaged: look "
            "at the training's loss, and train again."
        )


def _load(folder: Path, dtype: str, kind: ModelKind) -> LoadedModel:
    is_adapter = (folder / ADAPTER_CONFIG).is_file()
    _require_weights(folder, is_adapter)
    chat = _load_chat(folder)
    model = (
        _load_adapted(folder, dtype, kind) if is_adapter else load_model(kind, str(folder), dtype)
    )
    require_finite(model, folder)
    log.info("loaded %s (%s, %s)", folder, dtype, device())
    return LoadedModel(model, chat, folder)


def _load_untrained(folder: Path, dtype: str, seed: int) -> LoadedModel:
    """Load a base model as a reward model, with a new head."""
    _require_weights(folder, is_adapter=False)
    chat = _load_chat(folder)
    model = load_with_new_head(folder, dtype, seed)
    require_finite(model, folder)
    return LoadedModel(model, chat, folder)


def _require_weights(folder: Path, is_adapter: bool) -> None:
    """Refuse a folder without a model, before anything large is read."""
    wanted = ADAPTER_WEIGHTS if is_adapter else "config.json and *.safetensors"
    whole = (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
    if (folder / ADAPTER_WEIGHTS).is_file() if is_adapter else whole:
        return
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    raise DataError(
        f"{folder}: holds no model ({wanted}); it holds {', '.join(names) or 'nothing'}. Weights "
        "in other formats are not read, because they can run code: use save_pretrained."
    )


def _load_chat(folder: Path) -> ChatTokenizer:
    chat = load_tokenizer(str(folder))
    if chat.is_plain:
        raise DataError(
            f"{folder}: its tokenizer has no chat template, so no question can be asked as the "
            "model was trained. Put the base model's chat_template.jinja into the folder."
        )
    if chat.tokenizer.pad_token is None:
        chat.tokenizer.pad_token = chat.tokenizer.convert_ids_to_tokens(chat.pad_id)
    return chat


def _load_adapted(folder: Path, dtype: str, kind: ModelKind) -> Any:
    """Load an adapter's base model and add the adapter to its weights: no slower than without."""
    from peft import PeftModel
    from safetensors import SafetensorError, safe_open

    base = adapter_base(folder) or ""
    try:
        with safe_open(folder / ADAPTER_WEIGHTS, framework="pt") as weights:
            has_head = any(f".{REWARD_HEAD}." in name for name in weights.keys())  # noqa: SIM118
        if kind == REWARD and not has_head:
            raise DataError(
                f"{folder}: the adapter brings no reward head ({REWARD_HEAD}), so rewards would "
                "be random numbers. Train it with the head among its saved modules."
            )
        model = _load_headless(base, dtype) if kind == REWARD else load_model(kind, base, dtype)
        return PeftModel.from_pretrained(model, str(folder)).merge_and_unload().eval()
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{folder}: the adapter does not fit its base model {base!r} ({error})."
        ) from error


def _load_headless(base: str, dtype: str) -> Any:
    """Load a language model with an untrained reward head, which the adapter then replaces."""
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(
        base,
        num_labels=1,
        dtype=getattr(torch, dtype),
        use_safetensors=True,
        trust_remote_code=False,
    ).to(device())
