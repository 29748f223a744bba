"""The rows of a prepared data set: what trainers, rewards and evaluations read.

In: examples. Out: DATASET_ROW rows: `prompt` is a conversation for a chat template, `answer`,
`rubric`, `reference` and `target_score` are the columns that rewards read, `chosen` and `rejected`
are what trainers of preferences read. An id is a digest of the row where the source has none, so a
row has the same id in every source, and the order of ids is an order that no source decides.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from activeuf_core.errors import DataError
from activeuf_core.preparation.config import PreparedDatasetConfig
from activeuf_core.preparation.splitting import normalised_question
from activeuf_core.schemas import MESSAGES, assistant_message, to_text, user_message

Row = dict[str, Any]

DATASET_ROW = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string()),
        pa.field("question", pa.string(), nullable=False),
        pa.field("prompt", MESSAGES, nullable=False),
        pa.field("answer", pa.string()),
        pa.field("gold", pa.string()),
        pa.field("rubric", pa.string()),
        pa.field("reference", pa.string()),
        pa.field("target_score", pa.float64()),
        pa.field("chosen", MESSAGES),
        pa.field("rejected", MESSAGES),
    ]
)
"""One question with what is known of its answers; `gold` is the answer without its derivation."""

RAW_ROW = pa.schema(
    [
        pa.field("where", pa.string(), nullable=False),
        pa.field("values", pa.string(), nullable=False),
    ]
)
"""One row of a source: its place, and its values as a JSON object, whatever their types."""

CONTENT = ("answer", "rubric", "reference", "target_score", "chosen", "rejected")
ID_DIGITS = 16


def content_key(example: Mapping[str, Any]) -> str:
    """Return what two rows have in common when they say the same: the same question to a reader,
    and the same texts beside it (there, case can be what a rubric asks for). A digest: the keys of
    all rows are held at once.
    """
    values = [normalised_question(example["question"]), *(example[field] for field in CONTENT)]
    return hashlib.sha256(to_text(values).encode()).hexdigest()


def with_ids(examples: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return the examples with their ids, in the order of ids.

    Raises: DataError when a source gives one id to two rows.
    """
    seen: Counter[str] = Counter()
    rows: list[Row] = []
    for example in examples:
        given = example["given_id"]
        made = given or _digest(example)
        seen[made] += 1
        if given and seen[made] > 1:
            raise DataError(
                f"id {given!r} belongs to two rows; the second asks {example['question']!r:.80}. "
                "Set format.columns.id to a column with unique ids, or to null to have them made."
            )
        rows.append({**example, "id": made if seen[made] == 1 else f"{made}-{seen[made]}"})
    return sorted(rows, key=lambda row: row["id"])


def to_row(example: Mapping[str, Any], config: PreparedDatasetConfig) -> Row:
    """Return the row of an example that has its id."""
    row = {name: example.get(name) for name in DATASET_ROW.names}
    row["prompt"] = prompt_of(example["question"], config)
    for side in ("chosen", "rejected"):
        text = example[side]
        row[side] = None if text is None else assistant_message(text)
    return row


def prompt_of(question: str, config: PreparedDatasetConfig) -> list[dict[str, str]]:
    """Return the conversation that asks a question."""
    system = config.system_prompt
    if not system:
        return user_message(question)
    if config.prompt.system_turn == "user":
        return user_message(f"{system}\n\n{question}")
    return [{"role": "system", "content": system}, *user_message(question)]


def text_of(messages: Sequence[Mapping[str, str]] | None) -> str:
    """Return the texts of a conversation, one turn below the other."""
    return "\n".join(turn["content"] for turn in messages or ())


def _digest(example: Mapping[str, Any]) -> str:
    told = to_text([example["question"], *(example[field] for field in CONTENT)])
    return hashlib.sha256(told.encode()).hexdigest()[:ID_DIGITS]
