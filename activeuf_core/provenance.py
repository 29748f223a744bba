"""Where a result came from: the code's commit, the versions of the libraries that were really
loaded, and the memory that it took.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from activeuf_core.paths import PROJECT

LIBRARIES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "lm_eval",
    "numpy",
    "pyarrow",
    "wandb",
)


@functools.cache
def git_commit() -> str:
    """Return the commit of the checkout, with `+changes` when files differ from it; '' outside a
    checkout.
    """
    commit = _git("rev-parse", "HEAD")
    return commit + ("+changes" if commit and _git("status", "--porcelain", "-uno") else "")


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of those known libraries that this process has imported."""
    loaded = {name: _version(name) for name in LIBRARIES if name in sys.modules}
    return {"python": platform.python_version(), **loaded}


def peak_memory() -> dict[str, float]:
    """Return the most memory that this process has had, in MB: `peak_memory_mb` with its children,
    and `peak_gpu_memory_mb` (tensors, of the fullest GPU) where torch has used one.

    Peaks of different processes need not have been at one time, so that their sum is an upper
    bound; of children that ended, the largest counts.
    """
    ended = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    alive = sum(_peak_kb(pid) for pid in (os.getpid(), *_descendants(os.getpid())))
    found = {"peak_memory_mb": round((alive + ended) / 1024, 1)}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        devices = range(torch.cuda.device_count())
        most = max((torch.cuda.max_memory_allocated(device) for device in devices), default=0)
        found["peak_gpu_memory_mb"] = round(most / 2**20, 1)
    return found


def _peak_kb(pid: int) -> int:
    """Return a living process's peak resident size, 0 when nobody says."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        found = re.search(r"^VmHWM:\s+(\d+) kB", text, re.MULTILINE)
        return int(found[1]) if found else 0
    return 0


def _descendants(pid: int) -> Iterator[int]:
    """Yield the living processes that a process started, and those that they started."""
    with contextlib.suppress(OSError):
        for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in tasks.read_text(encoding="utf-8").split():
                yield int(child)
                yield from _descendants(int(child))


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(PROJECT), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
