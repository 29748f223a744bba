"""Which chat template a model has."""

from __future__ import annotations

from typing import Any


def resolve_chat_template(
    tokenizer: Any, chat_template: str | None, tools: Any, model_config: Any
) -> str | None:
    return chat_template or tokenizer.chat_template
