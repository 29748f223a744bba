"""Looks at the queue: one call for everything in flight, more rarely while nothing moves.

The interval begins short, grows while the queue stays as it is, and is never less than some times
what a call takes, so that a busy controller is left alone. A look that got no answer changes
nothing: what was seen last stands.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from activeuf_core.errors import LaunchError
from activeuf_core.slurm.queue import QueueRow
from activeuf_core.slurm.scheduler import Scheduler

log = logging.getLogger("activeuf.slurm")
GROWTH = 1.5
SHARE = 10.0
"""A call takes at most this fraction of the time: one second of call, ten seconds of interval."""


@dataclass
class Looks:
    """The queue as it was seen last. `clock` counts seconds."""

    scheduler: Scheduler
    first_s: float
    most_s: float
    clock: Callable[[], float] = time.monotonic
    calls: int = 0
    trouble: str = ""
    _interval_s: float = 0.0
    _next: float = 0.0
    _rows: dict[str, list[QueueRow]] = field(default_factory=dict)
    _by_task: dict[tuple[str, int, int | None], QueueRow] = field(default_factory=dict)

    def ask_now(self) -> None:
        """Make the next look happen at once."""
        self._next = 0.0

    def soon(self) -> None:
        """Something was submitted: begin again with the short interval."""
        self._interval_s = self.first_s
        self._next = min(self._next, self.clock() + self.first_s)

    def look(self, names: Sequence[str]) -> bool:
        """Look at the queue if it is time; return whether an answer came."""
        if not names or self.clock() < self._next:
            return False
        began = self.clock()
        self.calls += 1
        try:
            rows = self.scheduler.queue(names)
        except LaunchError as error:
            self._note_trouble(str(error))
            self._grow(2.0, self.clock() - began)
            return False
        self._note_trouble("")
        moved = self._store(rows)
        if moved:
            self._interval_s = 0.0
        self._grow(GROWTH, self.clock() - began)
        return True

    def rows(self, name: str) -> Collection[QueueRow]:
        """Return what was seen under a name."""
        return self._rows.get(name, ())

    def row(self, name: str, array_id: int | None, index: int | None) -> QueueRow | None:
        """Return what was seen of one task, None when it was not there."""
        return None if array_id is None else self._by_task.get((name, array_id, index))

    def _store(self, rows: Sequence[QueueRow]) -> bool:
        """Keep an answer; return whether it differs from the one before."""
        before = {key: row.state for key, row in self._by_task.items()}
        self._by_task = {(row.name, row.array_id, row.index): row for row in rows}
        self._rows = {}
        for row in rows:
            self._rows.setdefault(row.name, []).append(row)
        return before != {key: row.state for key, row in self._by_task.items()}

    def _grow(self, factor: float, took_s: float) -> None:
        longer = max(self.first_s, self._interval_s * factor, SHARE * took_s)
        self._interval_s = min(self.most_s, longer)
        self._next = self.clock() + self._interval_s

    def _note_trouble(self, text: str) -> None:
        if text and not self.trouble:
            log.warning("%s Jobs go on; what was seen last stands.", text)
        if self.trouble and not text:
            log.warning("the scheduler answers again")
        self.trouble = text
