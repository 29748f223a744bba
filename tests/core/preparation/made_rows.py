"""Rows and facts for tests of what comes after normalising."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from activeuf_core.preparation.config import PreparedDatasetConfig
from activeuf_core.preparation.normalise import ABSENT
from activeuf_core.preparation.rows import Row, to_row
from activeuf_core.preparation.validation import Facts


def config(kind: str = "gsm8k", **settings: Any) -> PreparedDatasetConfig:
    """Return settings for a format."""
    named = {"name": "sums", "format": {"kind": kind}}
    return PreparedDatasetConfig.model_validate({**named, **settings})


def example(question: str, gold: str | None = "1", **fields: Any) -> dict[str, Any]:
    """Return an example as a normaliser makes it."""
    answer = None if gold is None else f"so\n#### {gold}"
    return {**ABSENT, "question": question, "answer": answer, "gold": gold, **fields}


def row(question: str, gold: str | None = "1", **fields: Any) -> Row:
    """Return a row of a data set; its id is its question."""
    return to_row({**example(question, gold, **fields), "id": question}, config())


def facts(
    train: Sequence[Row] = (),
    val: Sequence[Row] = (),
    test: Sequence[Row] = (),
    settings: PreparedDatasetConfig | None = None,
    official: Sequence[str] = ("train",),
    **more: Any,
) -> Facts:
    """Return what rules look at."""
    splits: dict[Any, Sequence[Row]] = {"train": train, "val": val, "test": test}
    kept: frozenset[Any] = frozenset(official)
    return Facts(splits, kept, settings or config(), **more)
