"""What a full disk means for an orchestrator: nothing new is begun, and what runs is watched.

A submission begins with a file on disk, so that without space there is none; a step that was done
and could not be written down is found out again from the queue. So a full disk ends nothing: the
same step is tried at the next poll, and people are told.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import time
from collections.abc import Iterator

log = logging.getLogger("activeuf.slurm")
FULL = (errno.ENOSPC, errno.EDQUOT)
TELL_EVERY_S = 60.0


class FullDisk:
    """Lets a block fail for want of space, and says so once a minute."""

    def __init__(self) -> None:
        self._told: float | None = None

    @contextlib.contextmanager
    def survived(self) -> Iterator[None]:
        """Run a block that is tried again later. Raises: OSError for any other reason."""
        try:
            yield
        except OSError as error:
            if error.errno not in FULL:
                raise
            if self._told is None or time.monotonic() - self._told > TELL_EVERY_S:
                self._told = time.monotonic()
                log.warning(
                    "%s. Nothing new is submitted until there is space again; the jobs go on and "
                    "are watched.",
                    error,
                )
