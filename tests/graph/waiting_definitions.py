"""Definitions with one asset that waits for a file: a run for tests to kill, cancel and find."""

from __future__ import annotations

import os
import time
from pathlib import Path

import dagster as dg

FOLDER = Path(os.environ["WAITING_FOLDER"])


@dg.asset
def waiting() -> None:
    """Leave the worker's pid, then wait for the file `go`."""
    (FOLDER / f"worker-{os.getpid()}").touch()
    while not (FOLDER / "go").exists():
        time.sleep(0.05)


defs = dg.Definitions(
    assets=[waiting],
    jobs=[dg.define_asset_job("wait", [waiting])],
    executor=dg.in_process_executor,
)
