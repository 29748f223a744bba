"""Pretrained models for stages that only read them: loaded whole or refused, and fed conversations.

In: a location (a folder, or `hub-id@revision`) and conversations. Out: models in inference mode on
the best device, and token ids by the tokenizer's chat template. A tokenizer without one gets
PLAIN_TEMPLATE. Control tokens inside a message count as text, so that no completion can end its own
turn or speak for another role. Heavy: imports torch and transformers inside functions. Cost: 1,700
conversations of 290 tokens per second and core.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from activeuf_core.errors import DataError

if TYPE_CHECKING:
    import torch

log = logging.getLogger("activeuf")

Messages = Sequence[Mapping[str, str]]
ModelKind = Literal["AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification"]

PLAIN_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ message['role'] | capitalize }}: {{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant: {% endif %}"
)
"""One paragraph per turn, the role in front, the end token after an answer."""

THINKING_SWITCH = "enable_thinking"
"""What the templates of models that can think or not, such as Qwen3's, call the choice."""
HUB_FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "*.txt")
HUB_SKIPPED = ("original/*", "consolidated*", "onnx/*")
TOKENIZE_AT_ONCE = 512
NO_LIMIT = 1 << 30


def fetch(repository: str, revision: str) -> Path:
    """Return the folder of a model of the hub, with its safetensors weights; fetched if need be.

    Raises: DataError when it cannot be had.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            repository,
            revision=revision,
            allow_patterns=list(HUB_FILES),
            ignore_patterns=list(HUB_SKIPPED),
        )
    except (OSError, ValueError) as error:
        raise DataError(
            f"base model {repository}@{revision}: cannot be fetched from the hub ({error}). Check "
            "name, revision, network, and HF_TOKEN where the model is gated."
        ) from error
    return Path(folder)


@dataclass(frozen=True)
class ChatTokenizer:
    """A tokenizer that encodes conversations; `is_plain` when it brought no chat template."""

    tokenizer: Any
    is_plain: bool

    @property
    def pad_id(self) -> int:
        """Id that fills a batch up; it is masked, so any id will do."""
        for token_id in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if token_id is not None:
                return token_id
        return 0

    def encode(
        self, conversations: Sequence[Messages], *, ask: bool = False, at_once: bool = False
    ) -> list[list[int]]:
        """Return the token ids of each conversation.

        Args: ask: end with the opening of the assistant's turn, for a model that is to answer.
        at_once: it is to answer without thinking first, where the template has a switch for that.
        Raises: DataError when the template refuses a conversation.
        """
        options: dict[str, Any] = {"add_generation_prompt": ask}
        if at_once and THINKING_SWITCH in str(self.tokenizer.chat_template):
            options[THINKING_SWITCH] = False
        encoded: list[list[int]] = []
        for start in range(0, len(conversations), TOKENIZE_AT_ONCE):
            encoded += self._encode(
                [list(c) for c in conversations[start : start + TOKENIZE_AT_ONCE]], options
            )
        return encoded

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of token ids, without special tokens."""
        return self.tokenizer.decode(token_ids, skip_special_tokens=True)

    def _encode(
        self, conversations: list[list[Mapping[str, str]]], options: Mapping[str, Any]
    ) -> list[list[int]]:
        from jinja2 import TemplateError

        try:
            return self._apply(conversations, options)
        except TemplateError as error:
            folded = [_fold_system(conversation) for conversation in conversations]
            if folded == conversations:
                raise DataError(_refusal(conversations[0], error)) from error
        try:
            return self._apply(folded, options)
        except TemplateError as error:
            raise DataError(_refusal(folded[0], error)) from error

    def _apply(
        self, conversations: list[list[Mapping[str, str]]], options: Mapping[str, Any]
    ) -> list[list[int]]:
        return self.tokenizer.apply_chat_template(
            conversations, return_dict=False, sanitize_control_tokens=True, **options
        )


def load_tokenizer(location: str) -> ChatTokenizer:
    """Load a tokenizer. Raises: DataError when the folder has none."""
    from transformers import AutoTokenizer

    name, revision = _split(location)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{location}: the tokenizer cannot be loaded ({error}). The folder needs "
            "tokenizer.json and tokenizer_config.json; save the tokenizer beside the weights."
        ) from error
    tokenizer.model_max_length = NO_LIMIT  # lengths are the stages' business: no warnings
    is_plain = not tokenizer.chat_template
    if is_plain:
        log.warning("%s has no chat template; a plain one is used.", location)
        tokenizer.chat_template = PLAIN_TEMPLATE
    return ChatTokenizer(tokenizer, is_plain)


def load_model(kind: ModelKind, location: str, dtype: str) -> Any:
    """Load a model for inference, on a GPU where there is one.

    Raises: DataError when files are missing, unreadable, or lack tensors that this kind of model
    needs.
    """
    import torch
    import transformers
    from safetensors import SafetensorError

    transformers.utils.logging.disable_progress_bar()
    name, revision = _split(location)
    _require_files(Path(name))
    try:
        model, loading = getattr(transformers, kind).from_pretrained(
            name,
            revision=revision,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise DataError(
            f"{location}: cannot be loaded as {kind} ({error}). Check that the weights are whole "
            "and are those of the architecture in config.json."
        ) from error
    if loading["missing_keys"]:
        missing = sorted(loading["missing_keys"])
        raise DataError(
            f"{location}: as {kind} it lacks {len(missing)} tensors, e.g. {missing[0]!r}; they "
            "would be random numbers. Give a model of that kind."
        )
    return model.eval().to(device())


def device() -> str:
    """Return the name of the device that models run on: of several processes on a node, each has a
    GPU of its own, whether it sees all of them or that one alone.
    """
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count()}"


def context_length(model: Any) -> int:
    """Return how many tokens a model was made for; very many when its config does not say."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None) or NO_LIMIT


def batches_by_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Divide rows into batches of similar length; yield lists of indices into `lengths`.

    The longest come first: what does not fit into memory fails at once, and the ETA errs on the
    safe side.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def batches_by_tokens(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Divide rows into batches of similar length that hold at most `budget` tokens with their
    padding; a longer row is alone. Yield lists of indices into `lengths`, the longest first.
    """
    batch: list[int] = []
    for [index] in batches_by_length(lengths, 1):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def pad(
    rows: Sequence[Sequence[int]], pad_id: int, side: Literal["left", "right"]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and attention mask, both (rows, longest row), on the device."""
    import torch

    width = max(map(len, rows))
    ids_BT = torch.full((len(rows), width), pad_id)
    mask_BT = torch.zeros((len(rows), width), dtype=torch.long)
    for index, row in enumerate(rows):
        part = slice(width - len(row), width) if side == "left" else slice(0, len(row))
        ids_BT[index, part] = torch.tensor(row)
        mask_BT[index, part] = 1
    return ids_BT.to(device()), mask_BT.to(device())


def _split(location: str) -> tuple[str, str | None]:
    """Return folder and None, or hub id and revision."""
    if Path(location).exists() or "@" not in location:
        return location, None
    name, _, revision = location.rpartition("@")
    return name, revision


def _require_files(folder: Path) -> None:
    """Say precisely what a local model folder lacks."""
    if not folder.exists():
        if folder.is_absolute():
            raise DataError(f"{folder}: no such model folder. Build or fetch the model first.")
        return
    if not (folder / "config.json").exists():
        raise DataError(
            f"{folder}: has no config.json, so it is no model folder. Name the folder that has it."
        )
    if not any(folder.glob("*.safetensors")):
        raise DataError(
            f"{folder}: has no weights (*.safetensors). Save the model with save_pretrained."
        )


def _fold_system(conversation: list[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Put a system prompt in front of the first user turn: some templates know no system role."""
    if len(conversation) == 1 or conversation[0]["role"] != "system":
        return conversation
    system, first, *others = conversation
    return [{**first, "content": f"{system['content']}\n\n{first['content']}"}, *others]


def _refusal(conversation: Messages, error: Exception) -> str:
    roles = [message["role"] for message in conversation]
    return f"the chat template refuses a conversation of the roles {roles}: {error}"
