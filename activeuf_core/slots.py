"""The slots of one machine, shared by all orchestrators that use the same home.

A slot is a locked file. The lock belongs to the open file, which a job inherits: a slot is free
again when the job has ended, however it ended, and whether or not its orchestrator still lives.
Standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class Slots:
    """A number of slots in a folder; who uses another number shares those that both have."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count

    @contextlib.contextmanager
    def taken(self, wanted: int) -> Iterator[list[int] | None]:
        """Yield the open files of so many slots, for a job to inherit within the block; None when
        so many are not free.
        """
        files: list[int] = []
        try:
            if wanted:
                self._folder.mkdir(parents=True, exist_ok=True)
            for number in range(self._count):
                if len(files) == wanted:
                    break
                files += _locked(self._folder / f"{number}.lock")
            yield files if len(files) == wanted else None
        finally:
            for handle in files:  # the job has its own hold on them now
                os.close(handle)


def _locked(path: Path) -> list[int]:
    """Return a locked open file, or nothing when another holds the lock."""
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return []
    return [handle]
