"""From a source's row to a PROMPT row.

In: `SourceRow`s with a text or a conversation. Out: PROMPT rows; an id that the row does not bring
is a digest of its conversation. What cannot be a prompt is a DataError that names the place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from activeuf_core.errors import DataError
from activeuf_core.prompts.config import PromptsConfig
from activeuf_core.schemas import to_text, user_message
from activeuf_core.sources import SourceRow, identifier

ROLES = ("system", "user", "assistant")
ID_DIGITS = 16


def to_prompt(row: SourceRow, config: PromptsConfig) -> dict[str, Any]:
    """Turn a source's row into a PROMPT row.

    Raises: DataError naming the place, when the prompt's column is missing or holds no text and no
    conversation.
    """
    if config.prompt_column not in row.values:
        columns = ", ".join(sorted(row.values))
        raise DataError(
            f"{row.where}: no column {config.prompt_column!r}; the row has: {columns}. "
            "Set prompt_column."
        )
    messages = to_messages(row.values[config.prompt_column], f"{row.where}: {config.prompt_column}")
    answer = row.values.get("answer")
    return {
        "prompt_id": _prompt_id(row, config, messages),
        "source": _source(row, config),
        "prompt": messages,
        "constraints": _constraints(row),
        "answer": None if answer is None else str(answer),
    }


def to_messages(value: Any, where: str) -> list[dict[str, str]]:
    """Return a conversation that ends with the user's turn.

    A text becomes one user turn. A conversation that ends with an assistant's turn loses that turn.
    Raises: DataError for anything else.
    """
    if isinstance(value, str):
        return user_message(value)
    if not isinstance(value, Sequence) or not value:
        raise DataError(f"{where} is {value!r}, expected a text or a list of messages.")
    messages = [_message(turn, f"{where}[{index}]") for index, turn in enumerate(value)]
    if messages[-1]["role"] == "assistant":
        messages.pop()
    if not messages or messages[-1]["role"] != "user":
        raise DataError(
            f"{where} has no user turn at its end (an assistant's last turn aside): {value!r:.200}."
        )
    return messages


def _message(turn: Any, where: str) -> dict[str, str]:
    is_message = isinstance(turn, dict) and isinstance(turn.get("content"), str)
    if is_message and turn.get("role") in ROLES:
        return {"role": turn["role"], "content": turn["content"]}
    raise DataError(
        f"{where} is {turn!r:.200}, expected a message: a text as content and a role of "
        f"{', '.join(ROLES)}."
    )


def has_id(row: SourceRow, config: PromptsConfig) -> bool:
    """Whether the row brings its own id."""
    return bool(config.id_column) and row.values.get(config.id_column) is not None


def _prompt_id(row: SourceRow, config: PromptsConfig, messages: Sequence[dict[str, str]]) -> str:
    if config.id_column and has_id(row, config):
        return identifier(row.values[config.id_column], row.where, config.id_column)
    return hashlib.sha256(to_text(messages).encode()).hexdigest()[:ID_DIGITS]


def _source(row: SourceRow, config: PromptsConfig) -> str | None:
    value = row.values.get(config.source_column) if config.source_column else None
    return None if value is None else str(value)


def _constraints(row: SourceRow) -> str | None:
    """Return the row's constraints as JSON text, without the nulls that columnar files fill in."""
    value = row.values.get("constraints")
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError as error:
            raise DataError(
                f"{row.where}: constraints is not JSON ({error}): {value!r:.200}."
            ) from error
    if not value:
        return None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise DataError(f"{row.where}: constraints is {value!r:.200}, expected a list of objects.")
    return to_text([{k: v for k, v in item.items() if v is not None} for item in value])
