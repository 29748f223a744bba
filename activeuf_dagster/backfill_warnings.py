"""Whether an open backfill targets what no config file declares any more: for commands that do
without Dagster.

Dagster ends such a backfill at its next look and cancels its runs. Whether any backfill is open is
read from its SQLite file in a millisecond; only then, or on Postgres, Dagster itself is asked.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from activeuf_core.config import read_yaml
from activeuf_dagster.instance import sqlite_folder, storage_of
from activeuf_dagster.project import Project

RUNS = Path("history") / "runs.db"
OPEN = "SELECT count(*) FROM bulk_actions WHERE status IN ('REQUESTED', 'CANCELING', 'FAILING')"


def backfill_warnings(project: Project) -> list[str]:
    """Return what is wrong with open backfills, and what to do; nothing where no instance is."""
    home = Path(os.environ.get("DAGSTER_HOME") or project.layout.dagster).absolute()
    if not _may_have_open_ones(home):
        return []
    import dagster as dg

    from activeuf_dagster.instance import ensure_instance
    from activeuf_dagster.recovering import unknown_targets

    ensure_instance(project.layout)
    with dg.DagsterInstance.get() as instance:
        return unknown_targets(instance, project)


def _may_have_open_ones(home: Path) -> bool:
    file = home / "dagster.yaml"
    config = read_yaml(file) if file.exists() else {}
    if storage_of(config) != "sqlite":
        return True
    path = sqlite_folder(config, home) / RUNS
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as database:
            return bool(database.execute(OPEN).fetchone()[0])
    except sqlite3.Error:  # Dagster knows more about its files than we do
        return True
