"""Lazy judging: the overall scores of selected completions, asked for when the oracle needs them.

In: rows of the candidate pool that the loop selected, a judge, the pool's texts. Out: their overall
scores, in the table where `judging: eager` has had them from the start, so that everything else is
the same. No more is judged than the budget can buy. Scores are part of the checkpoint: an
interrupted loop asks for none of them twice, even without the judge's cache.
Cost: the judge's; the texts are written once into a file that can be read at any row (as long as
the texts themselves), 60 µs per row read.
Shapes: N pairs, R candidate rows.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from activeuf_core.annotations.cases import Case
from activeuf_core.errors import DataError
from activeuf_core.loop.candidates import CandidateTable, batches
from activeuf_core.loop.oracle import ANNOTATIONS_PER_COMPARISON

if TYPE_CHECKING:
    from activeuf_core.annotations.raters import Rater

log = logging.getLogger("activeuf")

TEXTS = "texts.arrow"
COLUMNS = ("prompt_id", "model", "prompt", "completion")
ROWS, SCORES = "judged.rows", "judged.scores"

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class LazyJudge:
    """Fills the scores of a candidate table as they are needed."""

    def __init__(self, table: CandidateTable, texts: PoolTexts, rater: Rater) -> None:
        """Start with nothing judged.

        Raises: DataError when the pool has scores: it belongs to `judging: eager`.
        """
        if not np.isnan(table.score_R).all():
            raise DataError(
                "judging is lazy, but the candidate pool has overall scores already. Materialize "
                "candidate_pool again, or set judging: eager for the dataset."
            )
        self._table = table
        self._texts = texts
        self._rater = rater
        self._is_judged_R = np.zeros(table.num_rows, dtype=np.bool_)

    def scores_of(
        self, rows_N2: Ints, is_identical_N: Bools, annotations_left: int | None
    ) -> Floats:
        """Return the overall scores of pairs, NaN where missing, identical or not affordable.

        Pairs are judged in their order for as long as the oracle would buy them: one with a
        missing score costs nothing, so another may take its place.
        """
        wanted = np.flatnonzero(~is_identical_N)
        left = annotations_left
        while len(wanted):
            count = len(wanted) if left is None else left // ANNOTATIONS_PER_COMPARISON
            now, wanted = wanted[:count], wanted[count:]
            if not len(now):
                break
            self._judge(np.unique(rows_N2[now]))
            if left is not None:
                is_bought_N = ~np.isnan(self._table.score_R[rows_N2[now]]).any(axis=1)
                left -= ANNOTATIONS_PER_COMPARISON * int(is_bought_N.sum())
        return self._table.score_R[rows_N2]

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what was judged, for a checkpoint."""
        rows = np.flatnonzero(self._is_judged_R)
        return {ROWS: rows, SCORES: self._table.score_R[rows]}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from the state of a checkpoint."""
        self._is_judged_R[state[ROWS]] = True
        self._table.score_R[state[ROWS]] = state[SCORES]

    def facts(self) -> dict[str, int]:
        """Return what judging cost."""
        return self._rater.facts()

    def _judge(self, rows: Ints) -> None:
        """Judge the rows that are not judged yet."""
        new = rows[~self._is_judged_R[rows]]
        if not len(new):
            return
        judged = self._rater.rate([self._texts.case(int(row)) for row in new])
        scores = [one.overall_score for one in judged]
        self._table.score_R[new] = [np.nan if score is None else score for score in scores]
        self._is_judged_R[new] = True


class PoolTexts:
    """The pool's prompts and completions by row, read through a memory map."""

    def __init__(self, pool: Path, table: CandidateTable, folder: Path) -> None:
        """Open the file of texts in `folder`; write it when an earlier attempt left none, or one
        that is torn or of another pool.
        """
        self._path = folder / TEXTS
        self._start_P = table.start_P
        texts = self._open() if self._path.exists() else None
        if texts is None or texts.num_rows != table.num_rows:
            self._write(pool)
            texts = self._open()
        if texts is None:
            raise DataError(f"{self._path}: was written and cannot be read; is the disk full?")
        self._texts = texts

    def case(self, row: int) -> Case:
        """Return a candidate as the judge sees it."""
        first = int(self._start_P[np.searchsorted(self._start_P, row, side="right") - 1])
        prompt_id, model, completion = (
            self._texts[name][row].as_py() for name in ("prompt_id", "model", "completion")
        )
        prompt = self._texts["prompt"][first].as_py()
        return Case(prompt_id, model, prompt, completion, [], None, None)

    def remove(self) -> None:
        """Remove the file: the loop has ended."""
        del self._texts
        self._path.unlink()

    def _open(self) -> pa.Table | None:
        """Map the file; None when it is not whole."""
        try:
            with pa.memory_map(str(self._path)) as source:
                return pa.ipc.open_file(source).read_all()
        except (OSError, pa.ArrowInvalid) as error:
            log.warning("%s: cannot be used (%s); writing it again.", self._path, error)
            return None

    def _write(self, pool: Path) -> None:
        """Write the texts uncompressed, a prompt with the first of its rows only."""
        log.info("writing the pool's texts to %s", self._path)
        partial = self._path.with_suffix(".partial")
        schema = None
        with partial.open("wb") as file:
            writer = None
            for batch in self._parts(pool):
                schema = schema or batch.schema
                writer = writer or pa.ipc.new_file(file, schema)
                writer.write_batch(batch)
            if writer is not None:
                writer.close()
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self._path)

    def _parts(self, pool: Path) -> Iterator[pa.RecordBatch]:
        starts = self._start_P[:-1]
        before = 0
        for batch in batches(pool, COLUMNS):
            rows = np.arange(before, before + batch.num_rows)
            is_first = np.isin(rows, starts, assume_unique=True)
            place = pa.array(np.arange(batch.num_rows), mask=~is_first)  # null: takes a null
            columns = [batch.column(name) for name in COLUMNS]
            columns[COLUMNS.index("prompt")] = batch.column("prompt").take(place)
            yield pa.RecordBatch.from_arrays(columns, names=list(COLUMNS))
            before += batch.num_rows
