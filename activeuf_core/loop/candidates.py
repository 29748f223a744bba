"""What the loop keeps in memory of the candidate pool: numbers, no texts.

In: candidates.parquet (rows of `schemas.CANDIDATE`, a prompt's rows adjacent). Out:
`CandidateTable`, one entry per row.
Cost: about 60 bytes per prompt and 20 per candidate; texts pass through once, to be digested.
Shapes: P prompts, R candidate rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from activeuf_core.errors import DataError

ROWS_PER_READ = 8192

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CandidateTable:
    """The candidate pool as arrays; prompt p owns the rows start_P[p] up to start_P[p + 1]."""

    prompt_ids: tuple[str, ...]
    start_P: Ints
    """First row of each prompt, and the number of rows at the end: shape (P + 1,)."""
    model_R: NDArray[np.int32]
    """Index into `models`."""
    models: tuple[str, ...]
    score_R: NDArray[np.float64]
    """Overall score; NaN where it is missing."""
    text_R: Ints
    """Digest of the completion: equal within a prompt when the texts are equal."""

    @property
    def num_prompts(self) -> int:
        """Prompts in the pool."""
        return len(self.prompt_ids)

    @property
    def num_rows(self) -> int:
        """Candidates in the pool."""
        return len(self.model_R)

    def digest(self) -> str:
        """Return a digest of all that the loop knows of the pool."""
        found = hashlib.sha256("\0".join((*self.prompt_ids, *self.models)).encode())
        for array in (self.start_P, self.model_R, self.score_R, self.text_R):
            found.update(array.tobytes())
        return found.hexdigest()

    def describe(self, row: int) -> str:
        """Name a row for a message."""
        prompt = int(np.searchsorted(self.start_P, row, side="right")) - 1
        model = self.models[self.model_R[row]]
        return f"row {row} (prompt {self.prompt_ids[prompt]!r}, model {model!r})"


def read_candidates(path: Path) -> CandidateTable:
    """Read the candidate pool without its texts.

    Raises: DataError naming the prompt that comes twice, has one completion, or has two of one
    model; or the row whose overall score is infinite.
    """
    first_rows: dict[str, int] = {}
    models: dict[str, int] = {}
    parts: list[tuple[NDArray[np.int32], NDArray[np.float64], Ints]] = []
    num_rows = 0
    for batch in batches(path, ("prompt_id", "model", "completion", "overall_score")):
        _note_prompts(path, batch.column("prompt_id"), num_rows, first_rows)
        model_R = _codes(batch.column("model"), models)
        score_R = batch.column("overall_score").to_numpy(zero_copy_only=False).astype(np.float64)
        parts.append((model_R, score_R, _digests(batch.column("completion"))))
        num_rows += batch.num_rows
    if not num_rows:
        raise DataError(
            f"{path}: the candidate pool has {num_rows} rows: there is nothing to compare. "
            "Look at what candidate_pool dropped, and materialize it again."
        )
    model_R, score_R, text_R = (np.concatenate(column) for column in zip(*parts, strict=True))
    start_P = np.array([*first_rows.values(), num_rows], dtype=np.int64)
    table = CandidateTable(tuple(first_rows), start_P, model_R, tuple(models), score_R, text_R)
    _check_table(table, path)
    return table


def batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Read some columns of a Parquet file a few thousand rows at a time.

    Raises: DataError when it cannot be read or lacks a column.
    """
    try:
        file = pq.ParquetFile(path)
        absent = sorted(set(columns) - set(file.schema_arrow.names))
        if absent:
            present = ", ".join(file.schema_arrow.names)
            raise DataError(
                f"{path}: has no column {absent[0]!r}; it has {present}. Make it again."
            )
        yield from file.iter_batches(ROWS_PER_READ, columns=list(columns))
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({error}). Make it again.") from error


def _note_prompts(path: Path, column: pa.Array, before: int, first_rows: dict[str, int]) -> None:
    """Add the prompts that begin in these rows, of which `before` rows came earlier."""
    encoded = column.dictionary_encode()
    codes, names = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
    begins = np.flatnonzero(np.diff(codes, prepend=-1))
    for place in begins:
        name, row = names[codes[place]], before + int(place)
        if row and not place and name == next(reversed(first_rows)):
            continue  # the rows of one prompt, cut by the read
        if name in first_rows:
            raise DataError(
                f"{path}: prompt {name!r} begins at row {first_rows[name]} and again at row "
                f"{row}. Rows of a prompt must be adjacent and prompt ids unique; materialize "
                "candidate_pool again."
            )
        first_rows[name] = row


def _digests(column: pa.Array) -> Ints:
    texts = column.cast(pa.binary()).to_pylist()
    digests = b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<i8")


def _codes(column: pa.Array, known: dict[str, int]) -> NDArray[np.int32]:
    """Return the values as indices into `known`, which grows."""
    encoded = column.dictionary_encode()
    place = [known.setdefault(value, len(known)) for value in encoded.dictionary.to_pylist()]
    return np.array(place, dtype=np.int32)[encoded.indices.to_numpy()]


def _check_table(table: CandidateTable, path: Path) -> None:
    num_P = np.diff(table.start_P)
    if (num_P < 2).any():
        lonely = np.flatnonzero(num_P < 2)
        first = table.prompt_ids[lonely[0]]
        raise DataError(
            f"{path}: prompt {first!r} has one completion ({len(lonely)} such prompts); a "
            "comparison needs two. Set min_candidates to 2 or more for the candidate pool."
        )
    prompt_R = np.repeat(np.arange(table.num_prompts), num_P)
    key_R = np.sort(prompt_R * len(table.models) + table.model_R)
    double = np.flatnonzero(key_R[1:] == key_R[:-1])
    if len(double):
        prompt, model = divmod(int(key_R[double[0]]), len(table.models))
        raise DataError(
            f"{path}: prompt {table.prompt_ids[prompt]!r} has two completions of model "
            f"{table.models[model]!r}: is its id used twice? Prompt ids must be unique."
        )
    infinite = np.flatnonzero(np.isinf(table.score_R))
    if len(infinite):
        raise DataError(
            f"{path}: {table.describe(int(infinite[0]))} has the overall score "
            f"{table.score_R[infinite[0]]} ({len(infinite)} such rows); allowed are finite "
            "numbers, or none. Materialize its annotations again."
        )
