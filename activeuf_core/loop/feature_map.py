"""The features of the candidates, read a batch at a time from a memory map.

In: features.npy, an array (rows, D) in the row order of the candidate pool, and its index. Out:
rows on demand.
Cost: the memory of the rows that are asked for; pages that were read are handed back to the
system.
Shapes: R candidate rows, N rows asked for, D feature size.
"""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from activeuf_core.errors import DataError
from activeuf_core.features.precision import STORED, decode, precision_of
from activeuf_core.loop.candidates import CandidateTable, Ints, batches

SAMPLED_ROWS = 64
"""Rows that tell one feature matrix from another: 0.3 MB of reading, whatever its size."""

Floats = NDArray[np.floating[Any]]


class FeatureMap:
    """The features of the candidates, read row by row from a memory map.

    After each read the pages are handed back, so that a pool of any size takes the memory of one
    batch.
    """

    def __init__(self, path: Path, index: Path, table: CandidateTable) -> None:
        """Open the map and compare it with the candidate pool.

        Raises: DataError when the file is not an array of one row per candidate in a precision of
        features, or its index names other rows.
        """
        self._table = table
        self._path = path
        self._map = _open_map(path)
        found = f"{path} has shape {self._map.shape} and type {self._map.dtype}"
        if self._map.ndim != 2 or not self._map.shape[1] or precision_of(self._map.dtype) is None:
            raise DataError(
                f"{found}; expected (candidates, feature size) as {', '.join(STORED)}. "
                "Materialize features again."
            )
        if len(self._map) != table.num_rows:
            raise DataError(
                f"{found}, but the candidate pool has {table.num_rows} rows. They must be row for "
                "row the same: materialize features for this pool again."
            )
        _check_index(index, table)

    @property
    def size(self) -> int:
        """Size of a feature (D)."""
        return self._map.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of what `read` returns."""
        return decode(self._map[:0]).dtype

    def digest(self) -> str:
        """Return a digest of shape, type and some rows: other features have another one."""
        rows = np.unique(np.linspace(0, len(self._map) - 1, SAMPLED_ROWS).astype(np.int64))
        found = hashlib.sha256(f"{self._map.shape} {self._map.dtype.name}".encode())
        found.update(np.ascontiguousarray(self._map[rows]).tobytes())
        _give_back(self._map)
        return found.hexdigest()

    def read(self, rows: Ints) -> Floats:
        """Return the features of some rows, copied: shape (len(rows), D).

        Raises: DataError naming the first row that holds a value that is NaN or infinite.
        """
        features = decode(np.asarray(self._map[rows]))
        _give_back(self._map)
        finite = np.isfinite(features).all(axis=1)
        if not finite.all():
            wrong = int(np.argmin(finite))
            place = int(np.argmin(np.isfinite(features[wrong])))
            raise DataError(
                f"{self._path}: {self._table.describe(int(rows[wrong]))} has a feature that is NaN "
                f"or infinite: value {place} of {self.size} is {features[wrong, place]}. "
                "Materialize features again, with `storage: float32` if they overflow float16."
            )
        return features


def _open_map(path: Path) -> NDArray[Any]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path}: cannot be read as a NumPy array ({error}). Materialize features again."
        ) from error


def _check_index(path: Path, table: CandidateTable) -> None:
    """Compare the index of the features with the pool, row for row."""
    done = 0
    model_names = np.array(table.models, dtype=object)
    prompt_R = np.repeat(np.arange(table.num_prompts), np.diff(table.start_P))
    for part in batches(path, ("prompt_id", "model")):
        rows = slice(done, done + part.num_rows)
        expected = (
            pa.array([table.prompt_ids[p] for p in prompt_R[rows]]),
            pa.array(model_names[table.model_R[rows]]),
        )
        for column, wanted in zip(("prompt_id", "model"), expected, strict=True):
            if len(wanted) != part.num_rows or not part.column(column).equals(wanted):
                raise DataError(
                    f"{path}: rows {done} to {done + part.num_rows - 1} name another "
                    f"{column} than the candidate pool. The features belong to another pool; "
                    "materialize features again."
                )
        done += part.num_rows
    if done != table.num_rows:
        raise DataError(
            f"{path} has {done} rows, the candidate pool {table.num_rows}. Materialize features "
            "for this pool again."
        )


def _give_back(array: NDArray[Any]) -> None:
    """Drop the pages of a memory map that were read; they stay in the system's file cache."""
    if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        array.base.madvise(mmap.MADV_DONTNEED)
