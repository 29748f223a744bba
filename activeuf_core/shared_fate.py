"""One fate for the processes of a stage: one that fails ends all, and its reason is the reason.

In: the unit's folder, which every process sees. Out: `failure.json` of the process that failed
first; or `again.json`, by which one asks that all be started afresh, since processes that lost one
of theirs cannot be put together again. A process that computes on a GPU may wait for a dead one
where no exception reaches it: a thread looks for these files, and ends it.

Of a process alone nothing is watched. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from activeuf_core import processes
from activeuf_core.artifacts import write_json
from activeuf_core.paths import UnitFolder

log = logging.getLogger("activeuf")
LOOK_EVERY_S = 1.0
PR_SET_PDEATHSIG = 1
EXIT_FAILED = 1
LOST = "ProcessLost"
"""Kind of the failure of a unit one of whose processes ended without a word: it was killed."""
CONNECTION = re.compile(r"gloo|NCCL|TCPStore|Connection (reset|closed|refused)", re.IGNORECASE)
Signature = tuple[int, int] | None


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the one that started it is gone."""
    with contextlib.suppress(OSError, AttributeError):  # not Linux: the starter's own care remains
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def bind() -> None:
    """Let this process end with torch's launcher, which starts processes in sessions of their own:
    a signal to its group does not reach them.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        die_with_parent()


def leave(exit_code: int = EXIT_FAILED) -> NoReturn:
    """End this process at once, as if it had crashed: whoever started them ends the others, which
    may be waiting for it.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)  # an orderly end would wait for the others too


def record_failure(unit: UnitFolder, record: Mapping[str, Any]) -> None:
    """Write why the unit failed, unless another process did before: what fails after it, fails
    because of it.
    """
    ours = processes.current()
    if ours.count == 1:
        write_json(unit.failure, record)
        return
    draft = unit.path / f"failure-{ours.rank}.json"
    write_json(draft, _explained(record, ours.rank))
    if not unit.again.exists():
        with contextlib.suppress(FileExistsError):
            os.link(draft, unit.failure)


def _explained(record: Mapping[str, Any], rank: int) -> dict[str, Any]:
    """Return a record that says what a lost connection means."""
    if not record["kind"].endswith(("RuntimeError", "BackendError", "NetworkError")):
        return dict(record)
    if not CONNECTION.search(record["message"]):
        return dict(record)
    message = (
        f"process {rank} of this stage lost another one, which ended without saying why. The "
        "kernel does this when memory runs out, and a node when it fails: look in the log for the "
        f"process that ended first. ({record['message']})"
    )
    return {**record, "kind": LOST, "message": message, "retryable": True}


def ask_for_another_start(unit: UnitFolder, reason: str) -> NoReturn:
    """Ask whoever started the stage to start all of its processes once more, and end."""
    log.warning("all processes are to be started again: %s", reason)
    write_json(unit.again, {"reason": reason, "rank": processes.current().rank})
    leave()


@contextlib.contextmanager
def watched(unit: UnitFolder) -> Iterator[None]:
    """While the stage works on a unit, end this process when another one has given it up."""
    if processes.current().count == 1:
        yield
        return
    is_over = threading.Event()
    stale = {path: _signature(path) for path in (unit.failure, unit.again)}
    thread = threading.Thread(target=_watch, args=(stale, is_over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()


def _watch(stale: Mapping[Path, Signature], is_over: threading.Event) -> None:
    while not is_over.wait(LOOK_EVERY_S):
        for path, before in stale.items():
            now = _signature(path)
            if now is not None and now != before:
                log.error("another process of this stage has given up: see %s", path)
                leave()


def _signature(path: Path) -> Signature:
    """Tell two files of one name apart: one may have been left by an earlier run."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
