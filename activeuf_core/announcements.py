"""Recoveries side by side: one plans at a time, and each knows what the others are about to make.

In: a home folder. Out: a lock around plan and launch, and the nodes that recoveries in the
foreground announced. Both are `flock`s, so that the kernel itself forgets a process that was
killed. A recovery through a daemon announces nothing here: its backfill does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import IO

from activeuf_core.artifacts import try_lock
from activeuf_core.errors import LaunchError
from activeuf_core.paths import Layout
from activeuf_core.recipes import Node

PATIENCE_S = 600.0
"""How long to wait for another recovery to have planned: some seconds, or a lost database."""
POLL_S = 0.2


@contextlib.contextmanager
def planning_alone(
    layout: Layout,
    on_wait: Callable[[str], None] = lambda holder: None,
    patience_s: float = PATIENCE_S,
) -> Iterator[None]:
    """Hold the lock around plan and launch; `on_wait` is told who holds it, once.

    Raises: LaunchError when nobody lets go of it.
    """
    layout.recoveries.mkdir(parents=True, exist_ok=True)
    path = layout.recoveries / "lock"
    end, told = time.monotonic() + patience_s, False
    with path.open("a+", encoding="utf-8") as handle:
        while not try_lock(handle):
            handle.seek(0)
            holder = handle.read() or "somebody"
            if time.monotonic() > end:
                raise LaunchError(
                    f"{holder} has been planning a recovery for more than {patience_s:g} s (lock "
                    f"{path}). Wait for it, or end it; what it launched goes on."
                )
            if not told:
                on_wait(holder)
                told = True
            time.sleep(POLL_S)
        _write(handle, whoami())
        try:
            yield
        finally:
            _write(handle, "")


@contextlib.contextmanager
def announced(layout: Layout, nodes: Iterable[Node]) -> Iterator[None]:
    """Within a block, tell other recoveries that this process makes some nodes."""
    layout.recoveries.mkdir(parents=True, exist_ok=True)
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.urandom(3).hex()}.json"
    path = layout.recoveries / name
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        _write(handle, json.dumps({"holder": whoami(), "nodes": list(nodes)}))
        partial.replace(path)  # the lock moves with the file: nobody sees it unlocked
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def announcements(layout: Layout) -> dict[Node, str]:
    """Return what recoveries in the foreground make now, and which; remove what the dead left."""
    found: dict[Node, str] = {}
    for path in sorted(layout.recoveries.glob("*.json")):
        with contextlib.suppress(FileNotFoundError), path.open("r+", encoding="utf-8") as handle:
            if try_lock(handle):
                path.unlink(missing_ok=True)
                continue
            body = json.loads(handle.read())
            found |= dict.fromkeys(map(tuple, body["nodes"]), body["holder"])
    return found


def whoami() -> str:
    """Return how this process is called in messages."""
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime())
    return f"the recovery of pid {os.getpid()} on {socket.gethostname()}, begun {started}"


def _write(handle: IO[str], text: str) -> None:
    handle.seek(0)
    handle.truncate()
    handle.write(text)
    handle.flush()
