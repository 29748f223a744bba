"""Batches divided among the processes of a scoring: each is answered once, and all get the answers.

The batches are formed before they are divided, so they are those of one process alone, and so are
the answers, to the bit. Neighbours go to different processes: batches that are sorted by length are
divided evenly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from activeuf_core import processes
from activeuf_core.errors import DataError

Answer = TypeVar("Answer")
Batch = Sequence[int]


def answer_batches(
    batches: Sequence[Batch],
    answer: Callable[[Batch], Sequence[Answer]],
    report: Callable[[int], None],
    what: str,
) -> dict[int, Answer]:
    """Return what `answer` says of every member of every batch, by member, in every process.

    Args: report: is told how many members are answered, in all processes as far as this one can
    tell. what: tells these questions from others; processes that disagree about it are out of step.
    Raises: DataError in every process when one of them failed, after all have met: none waits for
    the failed one, and none takes another benchmark's answers for its own.
    """
    this = processes.current()
    total = sum(map(len, batches))
    found: dict[int, Answer] = {}
    is_done = False
    try:
        for batch in this.share(batches):
            found.update(zip(batch, answer(batch), strict=True))
            report(min(total, len(found) * this.count))
        is_done = True
    finally:
        parts = processes.gather((_digest(what), is_done, found))
    if {name for name, _, _ in parts} != {_digest(what)}:
        raise DataError(
            "the processes of this scoring work on different questions, because one of them failed "
            "earlier. Its log, below rank-<number> of the run folder, says why."
        )
    failed = [str(rank) for rank, (_, is_whole, _) in enumerate(parts) if not is_whole]
    if failed:
        raise DataError(
            f"process {', '.join(failed)} of {this.count} failed. Its log, below rank-<number> of "
            "the run folder, says why."
        )
    return {member: said for _, _, answers in parts for member, said in answers.items()}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
