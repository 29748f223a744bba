"""What holds for every test: no network, no accounts, a home of its own; and the shared data."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parent.parent

QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "TOKENIZERS_PARALLELISM": "false",
    "MPLBACKEND": "Agg",
}
"""Set for the tests and everything that they start."""
FOREIGN = (
    "ACTIVEUF_ALLOW_NETWORK_SQLITE",
    "ACTIVEUF_BEHAVIOUR",
    "ACTIVEUF_CLUSTER",
    "ACTIVEUF_CONFIGS",
    "ACTIVEUF_CRASH_AT",
    "ACTIVEUF_CRASH_MARK",
    "ACTIVEUF_DAGSTER",
    "ACTIVEUF_HOME",
    "ACTIVEUF_SETTINGS",
    "ACTIVEUF_STAGE_PYTHON",
    "ACTIVEUF_TRACKING",
    "DAGSTER_HOME",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "PGDATABASE",
    "PGHOST",
    "PGSERVICE",
    "PGUSER",
    "WANDB_API_KEY",
    "WANDB_ENTITY",
    "WANDB_PROJECT",
)
"""A person's settings, and what code under test sets for itself: gone before every test."""


class NetworkUseError(AssertionError):
    """A test tried to reach another machine. No OSError: that would pass for a bad connection."""


def pytest_configure() -> None:
    """Set the environment before a test module is imported."""
    os.environ.update(QUIET)
    # Threads of several libraries on few cores wait for one another more than they work.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test a home of its own and no account."""
    for name in FOREIGN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ACTIVEUF_HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that leaves this machine, and every look-up of a name that would."""
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
    look_up = socket.getaddrinfo

    def guarded_look_up(host: Any, *args: Any, **options: Any) -> Any:
        _require_loopback(host)
        return look_up(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data for tests; a test that asks for it skips where there is none."""
    named = os.environ.get("ACTIVEUF_SHARED_DATA")
    folder = Path(named) if named else PROJECT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(
            f"no shared data at {folder}; set ACTIVEUF_SHARED_DATA to a folder that has them"
        )
    return folder


def _guarded(method: Any) -> Any:
    def call(self: socket.socket, *args: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _require_loopback(args[-1][0])
        return method(self, *args)

    return call


def _require_loopback(host: Any) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost", socket.gethostname()):
        return
    try:
        is_here = (
            ipaddress.ip_address(name).is_loopback or ipaddress.ip_address(name).is_unspecified
        )
    except ValueError:
        is_here = False
    if not is_here:
        raise NetworkUseError(f"a test tried to reach {name!r}; tests may only reach this machine")
