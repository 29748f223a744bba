"""The production instance on a real Postgres: several writers at once, and the same verdicts."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from activeuf_core.paths import Layout
from activeuf_dagster.instance import ensure_instance
from tests.graph.conftest import EXPERIMENT, write_yaml
from tests.graph.test_staleness import edit, verdicts

WRITERS = ("exp-a", "exp-b", "exp-c", "exp-d")
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name)
INITDB = str(BINARIES[-1] / "initdb") if BINARIES else shutil.which("initdb")


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """A Postgres of its own on a Unix socket; yields libpq's variables."""
    if INITDB is None:
        pytest.skip("no PostgreSQL on this machine: apt-get install postgresql")
    pytest.importorskip("dagster_postgres")
    folder = Path(tempfile.mkdtemp(prefix="activeuf-pg-", dir="/tmp"))  # a socket's path is short
    control = str(Path(INITDB).with_name("pg_ctl"))
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    try:
        user = _as_somebody(folder)
        _run(user, INITDB, "-D", f"{folder}/data", "-A", "trust", "-U", "activeuf", "--no-sync")
        start = ("-w", "-D", f"{folder}/data", "-l", f"{folder}/log", "-o", options, "start")
        _run(user, control, *start)
        try:
            yield {"PGHOST": str(folder), "PGUSER": "activeuf", "PGDATABASE": "postgres"}
        finally:
            _run(user, control, "-D", f"{folder}/data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _as_somebody(folder: Path) -> list[str]:
    """Return a prefix for commands: Postgres refuses to run as root."""
    if os.geteuid() != 0:
        return []
    names = [account.pw_name for account in pwd.getpwall()]
    account = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(folder, account.pw_uid, account.pw_gid)
    ids = (f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}")
    return ["setpriv", *ids, "--clear-groups"]


def _run(user: list[str], *command: str) -> None:
    # pg_ctl's server keeps its streams, so a pipe would never end.
    done = subprocess.run([*user, *command], cwd="/", stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, command


@pytest.fixture
def instance(
    folder: Path, cluster: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """The small project, one experiment larger, on an instance in that cluster."""
    write_yaml(folder / "configs/experiments/exp-d.yaml", {**EXPERIMENT, "seed": 4})
    for name, value in {**cluster, "ACTIVEUF_DAGSTER": "postgres"}.items():
        monkeypatch.setenv(name, value)
    ensure_instance(Layout.default())
    with dg.DagsterInstance.get() as found:
        yield found


@pytest.mark.slow
def test_four_writers_at_once(folder: Path, instance: dg.DagsterInstance) -> None:
    assert type(instance.event_log_storage).__name__ == "PostgresEventLogStorage"
    command = (sys.executable, "-m", "tests.graph.writer")
    writers = [
        subprocess.Popen([*command, name], stderr=subprocess.PIPE, text=True) for name in WRITERS
    ]
    said = [writer.communicate(timeout=120)[1] for writer in writers]

    assert [writer.returncode for writer in writers] == [0] * len(WRITERS), said
    assert not any("locked" in text for text in said)
    assert not list((folder / "dagster_home").rglob("*.db"))
    assert {run.status.value for run in instance.get_runs()} == {"SUCCESS"}
    for asset in ("dpo_model", "scores"):
        assert instance.get_materialized_partitions(dg.AssetKey(asset)) == set(WRITERS)
    assert verdicts(instance) == {}

    edit(
        folder / "configs/experiments/exp-b.yaml",
        lambda body: body["dpo_model"].update(learning_rate=0.5),
    )
    assert verdicts(instance) == {("dpo_model", "exp-b"): "STALE"}
