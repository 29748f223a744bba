"""A model folder of another program as a `dpo_model` or `reward_model`: what can be verified is.

In: a folder with config.json and weights, or an adapter. Out: an offer. Which of the two it is, its
architecture says, not the name of the folder above it. Verified: the weights are safetensors and
whole; type, sizes and tensors are those of the experiment's base model, where that lies on this
machine; a reward model has one label; a tokenizer with a chat template is there; the weights are
not the base model's. Not known: how it was trained, and on what.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from activeuf_core.adoption.offers import Offer, Wanted, check, not_known
from activeuf_core.adoption.safetensors_files import (
    Tensor,
    first_difference,
    parameters,
    read_folder,
    read_header,
)
from activeuf_core.errors import DataError
from activeuf_core.paths import TRAINING_CONFIG
from activeuf_core.recipes import Node

ModelAsset = Literal["dpo_model", "reward_model"]
CONFIG, ADAPTER_CONFIG = "config.json", "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
SAME_AS_BASE = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads")
HEADS = ("lm_head.weight", "score.weight")
USUAL_LABELS = 2
"""What transformers takes a classifier to have whose config does not say."""
PICKLED = ("pytorch_model*.bin", "model*.bin", "model*.pt", "model*.pth")
TAKEN = (
    *("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json"),
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template*"),
    *("vocab*", "merges.txt", "spiece.model", "sentencepiece*", ADAPTER_CONFIG),
)
"""What a model is loaded from; optimizer states, checkpoints and logs stay where they are."""
KINDS: Mapping[str, ModelAsset] = {
    "ForCausalLM": "dpo_model",
    "ForSequenceClassification": "reward_model",
    "CAUSAL_LM": "dpo_model",
    "SEQ_CLS": "reward_model",
}


def is_model(folder: Path) -> bool:
    """Whether a folder says that it holds a model, whether or not it does."""
    return (folder / ADAPTER_CONFIG).is_file() or "architectures" in _json(folder / CONFIG)


def offer(folder: Path, wanted: Wanted, *, allow_pickle: bool) -> Offer | None:
    """Return what a model folder has to offer, None when it is no model of ours."""
    asset = kind_of(folder)
    if asset is None:
        return None
    node: Node = (asset, wanted.experiment)
    pickled = tuple(_pickled(folder))
    try:
        wanted.require_made(node)
        if pickled and not allow_pickle:
            raise DataError(
                f"its weights are pickled ({pickled[0].name}), which can run code when they are "
                "loaded. Convert them with save_pretrained(..., safe_serialization=True), or give "
                "--allow-pickle to have them read as tensors only"
            )
        facts = _verify(folder, asset, wanted, is_pickled=bool(pickled))
    except DataError as error:
        return Offer(node, folder, "model", problem=str(error))
    changed = facts.pop("weights_changed")
    checks = () if changed is None else (check(asset, "weights_changed", bool(changed)),)
    return Offer(
        node=node,
        source=folder,
        what="model",
        files=_files(folder),
        written=_written(folder, wanted, node),
        pickled=pickled,
        metadata=facts,
        checks=checks,
        not_known=not_known(asset, *[one["name"] for one in checks]),
    )


def kind_of(folder: Path) -> ModelAsset | None:
    """Return which of the two models a folder holds by its own word."""
    adapter = _json(folder / ADAPTER_CONFIG)
    names = [adapter.get("task_type")] if adapter else _json(folder / CONFIG).get("architectures")
    for name in names or ():
        for ending, asset in KINDS.items():
            if str(name).endswith(ending):
                return asset
    return None


def _verify(folder: Path, asset: ModelAsset, wanted: Wanted, *, is_pickled: bool) -> dict[str, Any]:
    """Return facts about a folder. Raises: DataError for the first thing that is wrong."""
    base = _base(wanted, asset)
    is_adapter = (folder / ADAPTER_CONFIG).is_file()
    if is_adapter:
        tensors = _adapter_tensors(folder, wanted, asset)
    else:
        _require_fitting_config(folder, base, asset)
        tensors = {} if is_pickled else read_folder(folder)
    _require_tokenizer(folder)
    theirs = read_folder(base) if base is not None and not is_adapter and tensors else {}
    if theirs:
        _require_fitting_tensors(tensors, theirs, asset)
    changed = True if is_adapter else first_difference(tensors, theirs) if theirs else None
    if changed is False:
        raise DataError("its weights are those of the base model: it was not trained")
    return {
        "weights": parameters(tensors),
        "base_model_seen": bool(theirs),
        "weights_changed": changed,
    }


def _base(wanted: Wanted, asset: ModelAsset) -> Path | None:
    """Return the folder of the experiment's base model, None where it is not on this machine."""
    resolved = wanted.resolved((asset, wanted.experiment))
    place = Path(resolved.locations.get(resolved.full["base_model"]["name"], ""))
    return place if (place / CONFIG).is_file() and any(place.glob("*.safetensors")) else None


def _require_fitting_config(folder: Path, base: Path | None, asset: ModelAsset) -> None:
    ours = _json(folder / CONFIG)
    labels = len(ours.get("id2label") or ()) or int(ours.get("num_labels", USUAL_LABELS))
    if asset == "reward_model" and labels != 1:
        raise DataError(f"it has {labels} labels, a reward model has one")
    theirs = _json(base / CONFIG) if base else {}
    for key in SAME_AS_BASE:
        if key in ours and key in theirs and ours[key] != theirs[key]:
            raise DataError(
                f"{key} is {ours[key]!r}, the experiment's base model has {theirs[key]!r}"
            )


def _require_fitting_tensors(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], asset: ModelAsset
) -> None:
    """Refuse a model that lacks tensors of its base model's body, or has them in other shapes."""
    lost = [name for name in theirs if name not in ours and name not in HEADS]
    if lost:
        raise DataError(f"it lacks {len(lost)} tensors of the base model, e.g. {lost[0]}")
    for name in sorted(ours.keys() & theirs.keys()):
        if ours[name].shape != theirs[name].shape:
            shapes = f"{list(ours[name].shape)}, the base model's {list(theirs[name].shape)}"
            raise DataError(f"{name} has the shape {shapes}")
    if asset == "reward_model":
        heads = [one.shape for name, one in ours.items() if name.endswith("score.weight")]
        if not heads or heads[0][0] != 1:
            raise DataError("it has no reward head (score.weight) with one output")


def _adapter_tensors(folder: Path, wanted: Wanted, asset: ModelAsset) -> dict[str, Tensor]:
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise DataError(f"there is no {ADAPTER_WEIGHTS}: was it ever saved whole?")
    full = wanted.resolved((asset, wanted.experiment)).full
    rank = _json(folder / ADAPTER_CONFIG).get("r")
    if not full["lora"] or full["lora"]["rank"] != rank:
        said = f"rank {full['lora']['rank']}" if full["lora"] else "no adapter"
        raise DataError(f"it is an adapter of rank {rank}, the experiment says {said}")
    return read_header(folder / ADAPTER_WEIGHTS)


def _require_tokenizer(folder: Path) -> None:
    settings = _json(folder / "tokenizer_config.json")
    has_words = any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model"))
    has_template = bool(settings.get("chat_template")) or any(folder.glob("chat_template*"))
    if settings and has_words and has_template:
        return
    lacks = "chat template" if settings and has_words else "tokenizer"
    raise DataError(
        f"it has no {lacks}, without which it cannot be scored. Put that of the base model into "
        "the folder (tokenizer.json, tokenizer_config.json, chat_template.jinja)"
    )


def _pickled(folder: Path) -> list[Path]:
    """Return pickled weights that have no safetensors beside them."""
    if any(folder.glob("*.safetensors")):
        return []
    return sorted({path for pattern in PICKLED for path in folder.glob(pattern)})


def _files(folder: Path) -> dict[str, Path]:
    found = {path for pattern in TAKEN for path in folder.glob(pattern) if path.is_file()}
    return {path.name: path for path in sorted(found)}


def _written(folder: Path, wanted: Wanted, node: Node) -> dict[str, Any]:
    """Return the files that say how the model came to be, and where an adapter's base model is."""
    resolved = wanted.resolved(node)
    told: dict[str, Any] = {
        TRAINING_CONFIG: {"config": dict(resolved.full), "run": {"adopted_from": str(folder)}}
    }
    if adapter := _json(folder / ADAPTER_CONFIG):
        base = resolved.locations.get(resolved.full["base_model"]["name"], "")
        told[ADAPTER_CONFIG] = {**adapter, "base_model_name_or_path": base}
    return told


def _json(path: Path) -> dict[str, Any]:
    """Return a JSON file's mapping, {} when there is none or it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
