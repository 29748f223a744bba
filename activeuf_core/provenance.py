"""Where a result came from: the code's commit and the versions of the libraries that were really
loaded.
"""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
import sys

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
