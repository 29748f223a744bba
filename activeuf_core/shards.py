"""Finished rows of a long stage, kept in a folder so that an interrupted run goes on where it was.

In: rows, as they are done. Out: numbered Parquet files, each written whole or not at all. What was
added less than `interval_s` ago is lost with the process, nothing else. The folder belongs to one
artifact (its checkpoints), so its rows were made by the same recipe. Several processes of a stage
write files of their own into it; batches are dealt out to them by turns, never divided, so what
comes out does not depend on how many there are.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from activeuf_core import processes
from activeuf_core.errors import DataError
from activeuf_core.schemas import iterate_rows, write_rows
from activeuf_core.stage import StageContext

log = logging.getLogger("activeuf")

INTERVAL_S = 20.0


class Shards:
    """A growing set of rows on disk; as a context manager it writes what is left at the end."""

    def __init__(
        self,
        folder: Path,
        schema: pa.Schema,
        *,
        rank: int = 0,
        interval_s: float = INTERVAL_S,
        before_write: Callable[[], None] | None = None,
    ) -> None:
        """Open the folder.

        Args: rank: of the process, whose files bear it. before_write: called before rows are
        written, to make sure of what they point to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._schema = schema
        self._interval_s = interval_s
        self._before_write = before_write
        self._suffix = f"-{rank}.parquet" if rank else ".parquet"
        self._waiting: list[Mapping[str, Any]] = []
        self._last_write = time.monotonic()
        numbers = (int(path.stem.partition("-")[0]) for path in self._paths())
        self._count = 1 + max(numbers, default=-1)
        self.written: list[Path] = []
        """The files that this process wrote."""

    def rows(self) -> Iterator[dict[str, Any]]:
        """Read every row that was written. A file that cannot be read is passed over, and said."""
        for path in self._paths():
            try:
                yield from iterate_rows(path)
            except DataError as error:
                log.warning("%s; what it held is computed again.", error)

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add finished rows; from time to time they go to disk."""
        self._waiting.extend(rows)
        if time.monotonic() - self._last_write >= self._interval_s:
            self.write()

    def write(self) -> None:
        """Write what was added since the last time."""
        self._last_write = time.monotonic()
        if not self._waiting:
            return
        if self._before_write:
            self._before_write()
        path = self._folder / f"{self._count:06d}{self._suffix}"
        partial = path.with_suffix(".partial")
        write_rows(partial, self._schema, self._waiting)
        _sync(partial)
        os.replace(partial, path)
        self.written.append(path)
        self._waiting = []
        self._count += 1

    def clear(self) -> None:
        """Forget every row."""
        for path in self._paths():
            path.unlink()

    def __enter__(self) -> Shards:
        """Return the shards themselves."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is left: rows that were added are finished, whatever went wrong after them."""
        self.write()

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("*.parquet"))


class Worklist:
    """Batches to compute, less those that an earlier attempt at the same artifact finished.

    A context manager, at whose end all processes of the stage meet and have all rows. `done` maps
    the key columns' values of a row to the row; before the end, it lacks what others are at.
    """

    def __init__(
        self, context: StageContext, schema: pa.Schema, key: tuple[str, ...], total: int, unit: str
    ) -> None:
        """Read what is finished.

        Args: key: columns that tell the rows apart. total, unit: for the progress.
        """
        self._context = context
        self._processes = processes.current()
        self._shards = Shards(context.checkpoints / "rows", schema, rank=self._processes.rank)
        self._num_batches = 0
        self._key = key
        self._total = total
        self._unit = unit
        self.done = {self._key_of(row): row for row in self._shards.rows()}
        self.num_resumed = len(self.done)

    def work(
        self,
        keys: Sequence[tuple[Any, ...]],
        batches: Iterable[Sequence[int]],
        compute: Callable[[Sequence[int]], Sequence[Mapping[str, Any]]],
    ) -> None:
        """Compute the batches of this process's share that are not done.

        Args: keys: of all rows. batches: indices into `keys`; the same ones in every attempt and
        process, so that a batch is never computed with other neighbours. compute: from indices to
        their rows.
        """
        for batch in batches:
            self._num_batches += 1
            if not self._processes.owns(self._num_batches - 1):
                continue
            if not all(keys[index] in self.done for index in batch):
                rows = compute(batch)
                self._shards.add(rows)
                self.done.update({self._key_of(row): dict(row) for row in rows})
            self._context.progress(self._num_done(), self._total, self._unit)

    def __enter__(self) -> Worklist:
        """Return the worklist itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is finished, whatever happened; if nothing did, take what the others wrote.

        Raises: DataError when one of their files cannot be read.
        """
        self._shards.write()
        if kind is None:
            self._join()

    def _join(self) -> None:
        """Read by name: where folders are shared over a network, a listing can be out of date."""
        for rank, written in enumerate(processes.gather(self._shards.written)):
            for path in written if rank != self._processes.rank else ():
                self.done.update({self._key_of(row): row for row in iterate_rows(path)})

    def _num_done(self) -> int:
        """Return how many rows are done, the others' taken to be as many as this process's."""
        new = len(self.done) - self.num_resumed
        return min(self._total, self.num_resumed + new * self._processes.count)

    def _key_of(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row[column] for column in self._key)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
