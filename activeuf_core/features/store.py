"""The feature matrix on disk while it is filled, and the record of which of its rows are done.

In: vectors by row number. Out: `features.npy`, a plain NumPy file that any reader can memory-map,
in the order of the candidates; per row its token count and whether it was cut. Both live in the
checkpoints, so that an interrupted run goes on: a row counts as done once its vector is on disk and
its record after it. Each process of a stage fills a sparse store of its own, because machines that
share a folder must not write into one page of one file; the first takes over what the others have.
Shapes: C candidates of the whole pool, D feature size.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from activeuf_core.features.precision import STORED
from activeuf_core.paths import FEATURES
from activeuf_core.shards import Shards

PART = "process-"
COPIED_AT_ONCE = 4096
RECORD = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("num_tokens", pa.int32(), nullable=False),
        pa.field("truncated", pa.bool_(), nullable=False),
    ]
)


class FeatureStore:
    """Vectors of all candidates; as a context manager it records what is done at the end."""

    def __init__(self, folder: Path, num_rows: int, size: int, storage: str, rank: int = 0) -> None:
        """Open the store of an earlier attempt, or a new one when it has another shape.

        Args: rank: of the process that fills it.
        """
        part = folder / f"{PART}{rank}" if rank else folder
        part.mkdir(exist_ok=True)
        self.path = part / FEATURES
        shape, kind = (num_rows, size), STORED[storage]
        self._folder = folder
        self._open = lambda rank: FeatureStore(folder, num_rows, size, storage, rank)
        self._shards = Shards(part / "rows", RECORD, before_write=self._flush)
        found = _reopen(self.path, shape, kind)
        if found is None:
            self._shards.clear()
            found = np.lib.format.open_memmap(self.path, "w+", kind, shape)
        self.features_CD: np.memmap = found
        self.num_tokens_C = np.zeros(num_rows, dtype=np.int32)
        self.truncated_C = np.zeros(num_rows, dtype=bool)
        self._is_elsewhere_C = np.zeros(num_rows, dtype=bool)
        for record in self._shards.rows():
            self._note(record["row"], record["num_tokens"], record["truncated"])

    def is_done(self, row: int) -> bool:
        """Whether a row has its vector, here or where `leave` says."""
        return bool(self.num_tokens_C[row] or self._is_elsewhere_C[row])

    @property
    def num_done(self) -> int:
        """Number of rows that are done."""
        return int(np.count_nonzero((self.num_tokens_C > 0) | self._is_elsewhere_C))

    def leave(self, is_done_C: np.ndarray) -> None:
        """Take rows as done that another store has."""
        self._is_elsewhere_C |= is_done_C

    def absorb(self) -> None:
        """Take over what other processes' stores have, and remove those."""
        for part in sorted(self._folder.glob(f"{PART}*")):
            other = self._open(int(part.name.removeprefix(PART)))
            rows_R = np.flatnonzero(other.num_tokens_C)
            for rows in np.array_split(rows_R, len(rows_R) // COPIED_AT_ONCE + 1):
                lengths, cuts = other.num_tokens_C[rows], other.truncated_C[rows]
                self.add(rows.tolist(), other.features_CD[rows], lengths.tolist(), cuts.tolist())
            self._shards.write()  # before what it was copied from goes
            shutil.rmtree(part)

    def add(
        self,
        rows: Sequence[int],
        features_BD: np.ndarray,
        num_tokens: Sequence[int],
        truncated: Sequence[bool],
    ) -> None:
        """Put the vectors of a batch in their places, shape (B, D)."""
        self.features_CD[rows] = features_BD
        records = []
        for row, count, is_cut in zip(rows, num_tokens, truncated, strict=True):
            self._note(row, count, is_cut)
            records.append({"row": row, "num_tokens": count, "truncated": is_cut})
        self._shards.add(records)

    def publish(self, target: Path) -> None:
        """Move the finished matrix to `target`: the last thing to do, nothing can go on after it.

        It is moved, not linked: damage to a published file must not reach the next attempt's start.
        """
        self._flush()
        shutil.move(self.path, target)

    def __enter__(self) -> FeatureStore:
        """Return the store itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Record what is done, whatever happened."""
        self._shards.write()

    def _note(self, row: int, num_tokens: int, truncated: bool) -> None:
        self.num_tokens_C[row] = num_tokens
        self.truncated_C[row] = truncated

    def _flush(self) -> None:
        self.features_CD.flush()


def _reopen(path: Path, shape: tuple[int, int], kind: np.dtype) -> np.memmap | None:
    """Return the matrix of an earlier attempt; None when there is none of this shape."""
    try:
        np.lib.format.open_memmap(path, "r")  # refuses a short file, which "r+" would fill up
        found = np.lib.format.open_memmap(path, "r+")
    except (OSError, ValueError):
        return None
    return found if (found.shape, found.dtype) == (shape, kind) else None
