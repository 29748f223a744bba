"""How vLLM loads a tokenizer."""

from __future__ import annotations

from typing import Any

from transformers import AutoTokenizer


def get_tokenizer(name: str, *, tokenizer_mode: str = "auto", **options: Any) -> Any:
    return AutoTokenizer.from_pretrained(name, **options)
