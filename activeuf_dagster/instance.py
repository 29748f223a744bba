"""The embedded Dagster instance: SQLite in the project's home, no account, no telemetry."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from activeuf_core.paths import PROJECT, Layout

TEMPLATE = PROJECT / "configs" / "dagster.yaml"


def ensure_instance(layout: Layout) -> Path:
    """Return DAGSTER_HOME, setting it to the embedded instance where the user has not chosen one.

    The instance's `dagster.yaml` is the project's, copied once; edits to the copy stay.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or layout.dagster).absolute()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        shutil.copy(TEMPLATE, home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    return home
