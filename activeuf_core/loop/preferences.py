"""The preference dataset: comparisons as rows of `schemas.PREFERENCE`, in the order in which they
were labelled.

In: comparisons (rows of the candidate pool) and the pool's texts, read in one pass. Out:
preferences.parquet, and the lengths of both sides. Cost: memory for the texts of the selected
completions only.
Shapes: N comparisons.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from activeuf_core.loop.candidates import CandidateTable
from activeuf_core.loop.state import Comparisons
from activeuf_core.schemas import PREFERENCE, ROW_GROUP, assistant_message, write_rows

TEXT_COLUMNS = ("prompt_id", "source", "prompt", "completion")

Ints = NDArray[np.int64]


@dataclass
class WrittenPreferences:
    """What was seen while the rows were written."""

    num_rows: int = 0
    num_equal_sides: int = 0
    """Rows whose chosen and rejected texts are the same."""
    num_chosen_longer: int = 0
    """Rows whose chosen text has more characters."""
    num_inverted: int = 0
    """Rows whose chosen side has the lower overall score."""


def write_preferences(
    path: Path, pool: Path, table: CandidateTable, comparisons: Comparisons
) -> WrittenPreferences:
    """Write the preference dataset; return what its checks need to know."""
    texts = _Texts(pool, np.concatenate([comparisons["chosen_row"], comparisons["rejected_row"]]))
    seen = WrittenPreferences()
    write_rows(path, PREFERENCE, _rows(texts, table, comparisons, seen))
    return seen


class _Texts:
    """The texts of some rows of the pool, by row number."""

    def __init__(self, pool: Path, rows: Ints) -> None:
        wanted = np.sort(rows)
        self._parts: list[pa.RecordBatch] = []
        self._rows: list[Ints] = []
        first = 0
        for batch in pq.ParquetFile(pool).iter_batches(ROW_GROUP, columns=list(TEXT_COLUMNS)):
            low, high = np.searchsorted(wanted, (first, first + batch.num_rows))
            if high > low:
                # take() copies, so that the texts nobody selected are freed with the batch.
                self._parts.append(batch.take(pa.array(wanted[low:high] - first)))
                self._rows.append(wanted[low:high])
            first += batch.num_rows
        self._part_starts = np.array([rows[0] for rows in self._rows], dtype=np.int64)

    def get(self, row: int, *columns: str) -> tuple[Any, ...]:
        """Return values of one row."""
        part = int(np.searchsorted(self._part_starts, row, side="right")) - 1
        place = int(np.searchsorted(self._rows[part], row))
        return tuple(self._parts[part].column(column)[place].as_py() for column in columns)


def _rows(
    texts: _Texts, table: CandidateTable, comparisons: Comparisons, seen: WrittenPreferences
) -> Iterator[dict[str, Any]]:
    for comparison in comparisons:
        chosen_row, rejected_row = int(comparison["chosen_row"]), int(comparison["rejected_row"])
        prompt_id, source, prompt, chosen = texts.get(chosen_row, *TEXT_COLUMNS)
        (rejected,) = texts.get(rejected_row, "completion")
        chosen_score, rejected_score = (
            float(table.score_R[chosen_row]),
            float(table.score_R[rejected_row]),
        )
        seen.num_rows += 1
        seen.num_equal_sides += chosen == rejected
        seen.num_chosen_longer += len(chosen) > len(rejected)
        seen.num_inverted += chosen_score < rejected_score
        yield {
            "prompt_id": prompt_id,
            "source": source,
            "prompt": prompt,
            "chosen": assistant_message(chosen),
            "rejected": assistant_message(rejected),
            "chosen_model": table.models[table.model_R[chosen_row]],
            "rejected_model": table.models[table.model_R[rejected_row]],
            "chosen_score": chosen_score,
            "rejected_score": rejected_score,
            "batch_index": int(comparison["batch_index"]),
        }
