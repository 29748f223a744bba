"""`dagster dev` as a child that ends when we are told to: UI, code server and daemon.

It ends by SIGINT alone, which whoever starts us in the background may have had ignored, and leaves
its daemon behind when it is killed. So it gets a process group of its own and a SIGINT that is
heeded; what is left after a grace time is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from types import FrameType

from activeuf_core.paths import PROJECT

GRACE_S = 20.0
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _ToldToEnd(Exception):
    """A signal asked us to end."""


def serve(host: str, port: int) -> int:
    """Serve until told to end; return an exit code: that of the server, or 0 when we ended it."""
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(PROJECT / "workspace.yaml")]
    for number in ENDS:
        signal.signal(number, _end)
    with subprocess.Popen(
        [*command, "--host", host, "--port", str(port)],
        cwd=PROJECT,
        process_group=0,
        preexec_fn=_heed_interrupts,
    ) as server:
        try:
            return server.wait()
        except _ToldToEnd:
            return 0
        finally:
            _finish(server)


def _finish(server: subprocess.Popen[bytes]) -> None:
    for number in ENDS:  # a second signal does not interrupt this
        signal.signal(number, signal.SIG_IGN)
    for number, patience_s in ((signal.SIGINT, GRACE_S), (signal.SIGTERM, GRACE_S / 4)):
        if server.poll() is None:
            server.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(patience_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: FrameType | None) -> None:
    raise _ToldToEnd(signal.Signals(number).name)
