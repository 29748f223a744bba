"""Named places where a test kills the process that reaches them: proof that any moment may be the
last.

`ACTIVEUF_CRASH_AT=name` or `name:n` (the n-th time) in the environment kills the process there with
SIGKILL, once for all processes: the file that `ACTIVEUF_CRASH_MARK` names is made first, and says
that the fault fired. Without the variable a place costs one look into the environment. Standard
library only.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

_reached: dict[str, int] = {}


def reach(name: str) -> None:
    """Die here if the environment says so."""
    wanted = os.environ.get("ACTIVEUF_CRASH_AT")
    if not wanted:
        return
    place, _, turn = wanted.partition(":")
    if place != name:
        return
    _reached[name] = _reached.get(name, 0) + 1
    if _reached[name] < int(turn or 1):
        return
    mark = os.environ.get("ACTIVEUF_CRASH_MARK")
    if mark:
        try:
            os.close(os.open(Path(mark), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return  # it fired before: the process that takes over lives
    os.kill(os.getpid(), signal.Signals[os.environ.get("ACTIVEUF_CRASH_WITH", "SIGKILL")])
