"""The rows that cross a stage, as Arrow schemas, and the two functions that read and write them.

A prompt and an answer are conversations: lists of messages {role, content}, the form that TRL and
chat templates use. `constraints` and `ratings` are JSON texts, because their keys differ from row
to row. A missing rating or overall score is null: it is never a zero.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from activeuf_core.errors import DataError

ROW_GROUP = 4096

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

PROMPT = pa.schema(
    [
        pa.field("prompt_id", pa.string(), nullable=False),
        pa.field("source", pa.string()),
        pa.field("prompt", MESSAGES, nullable=False),
        pa.field("constraints", pa.string()),
        pa.field("answer", pa.string()),
    ]
)
"""One prompt; `constraints` is a JSON list of checks that a verifiable judge knows, or null."""

COMPLETION = pa.schema(
    [
        pa.field("prompt_id", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("completion", pa.string(), nullable=False),
        pa.field("principle", pa.string()),
        pa.field("system_prompt", pa.string()),
        pa.field("finish_reason", pa.string()),
        pa.field("given_rating", pa.float64()),
    ]
)
"""One model's answer; `given_rating` is a judgement that came with the data, in the data's own
unit.
"""

ANNOTATION = pa.schema(
    [
        pa.field("prompt_id", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("ratings", pa.string(), nullable=False),
        pa.field("overall_score", pa.float64()),
    ]
)
"""One judgement; `ratings` is a JSON object aspect → rating, `overall_score` null when nothing
could be rated.
"""

CANDIDATE = pa.schema(
    [
        pa.field("prompt_id", pa.string(), nullable=False),
        pa.field("source", pa.string()),
        pa.field("prompt", MESSAGES, nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("completion", pa.string(), nullable=False),
        pa.field("finish_reason", pa.string()),
        pa.field("ratings", pa.string(), nullable=False),
        pa.field("overall_score", pa.float64()),
    ]
)
"""One completion of one prompt with its annotation; rows of a prompt are adjacent, models in
alphabetical order.
"""

PREFERENCE = pa.schema(
    [
        pa.field("prompt_id", pa.string(), nullable=False),
        pa.field("source", pa.string()),
        pa.field("prompt", MESSAGES, nullable=False),
        pa.field("chosen", MESSAGES, nullable=False),
        pa.field("rejected", MESSAGES, nullable=False),
        pa.field("chosen_model", pa.string(), nullable=False),
        pa.field("rejected_model", pa.string(), nullable=False),
        pa.field("chosen_score", pa.float64()),
        pa.field("rejected_score", pa.float64()),
        pa.field("batch_index", pa.int32()),
    ]
)
"""One comparison in TRL's conversational form with an explicit prompt; `batch_index` is the loop's
batch.
"""


def user_message(text: str) -> list[dict[str, str]]:
    """Return a conversation of one user turn."""
    return [{"role": "user", "content": text}]


def assistant_message(text: str) -> list[dict[str, str]]:
    """Return a conversation of one assistant turn."""
    return [{"role": "assistant", "content": text}]


def last_user_text(messages: Sequence[Mapping[str, str]]) -> str:
    """Return the text of the last user turn, '' when there is none."""
    return next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")


def write_rows(path: Path, schema: pa.Schema, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows to a Parquet file, in groups of 4,096 so that memory stays flat; return their
    number.

    Raises: DataError when a row does not fit the schema, naming the row.
    """
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in _groups(rows):
            try:
                writer.write_table(pa.Table.from_pylist(group, schema=schema).cast(schema))
            except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
                first = f"rows {count} to {count + len(group) - 1}"
                raise DataError(f"{path.name}: {first} do not fit the schema: {error}") from error
            count += len(group)
    return count


def read_rows(path: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Read all rows of a Parquet file.

    Raises: DataError when the file is not there or cannot be read.
    """
    return list(iterate_rows(path, columns))


def iterate_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Read rows one group at a time."""
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({error}).") from error
    for batch in file.iter_batches(ROW_GROUP, columns=list(columns) if columns else None):
        yield from batch.to_pylist()


def count_rows(path: Path) -> int:
    """Return the number of rows without reading them."""
    return pq.ParquetFile(path).metadata.num_rows


def to_text(value: Any) -> str:
    """Return the JSON text that `constraints` and `ratings` hold."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _groups(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    for row in rows:
        group.append(dict(row))
        if len(group) == ROW_GROUP:
            yield group
            group = []
    if group:
        yield group
