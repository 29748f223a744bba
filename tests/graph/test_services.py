"""The scripts that keep the production instance's services up, on the real graph."""

from __future__ import annotations

import inspect
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster._core.execution import asset_backfill

from activeuf_core.paths import PROJECT
from activeuf_dagster import cli

SCRIPTS = PROJECT / "slurm" / "services"
NAMES = ("code", "daemon", "webserver")
QUERY = "{workspaceOrError{... on Workspace{locationEntries{locationOrLoadError{__typename}}}}}"

pytestmark = pytest.mark.slow


def script(name: str, *arguments: str) -> list[str]:
    """Run a script; return the lines that it says."""
    done = subprocess.run(
        [SCRIPTS / name, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def url(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the webserver will be; what was started is stopped."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="activeuf-", dir="/tmp") as home:
        settings = folder / "production.env"
        settings.write_text(f"DAGSTER_HOME={home}\nACTIVEUF_UI_PORT={port}\n")
        monkeypatch.setenv("ACTIVEUF_SETTINGS", str(settings))
        try:
            yield f"http://127.0.0.1:{port}/graphql"
        finally:
            script("stop.sh")


def loaded(url: str) -> list[str]:
    """Return what became of each code location, as soon as the webserver answers."""
    body = json.dumps({"query": QUERY}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    end = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(request) as answer:
                entries = json.load(answer)["data"]["workspaceOrError"]["locationEntries"]
            return [entry["locationOrLoadError"]["__typename"] for entry in entries]
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def pid(name: str) -> int:
    """Return the pid of a service that runs."""
    (folder,) = script("service.sh", "folder")
    return int((Path(folder) / f"{name}.pid").read_text())


def test_start_brings_back_what_died_and_stop_ends_all(url: str) -> None:
    script("start.sh")
    assert loaded(url) == ["RepositoryLocation"]
    os.kill(pid("daemon"), signal.SIGKILL)
    said = [line.partition(" (")[0].partition(",")[0] for line in script("start.sh")]
    assert said == ["code: runs already", "daemon: started", "webserver: runs already"]
    assert sorted(script("stop.sh")) == [f"{name}: stopped" for name in NAMES]
    assert sorted(script("stop.sh")) == [f"{name}: does not run" for name in NAMES]


def test_the_reason_is_said_where_the_instance_is_refused(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTIVEUF_DAGSTER", "mysql")
    done = subprocess.run([SCRIPTS / "start.sh"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "ACTIVEUF_DAGSTER is 'mysql'" in done.stderr
    monkeypatch.delenv("ACTIVEUF_DAGSTER")


def test_every_script_is_right_for_bash() -> None:
    for path in SCRIPTS.glob("*.sh"):
        assert subprocess.run(["bash", "-n", path], check=False).returncode == 0, path
        assert os.access(path, os.X_OK)


def test_a_code_location_that_does_not_load_ends_no_backfill() -> None:
    name = "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR"
    assert name in inspect.getsource(asset_backfill)  # an upgrade may give it another name
    assert f"export {name}=1" in (SCRIPTS / "service.sh").read_text()
    assert f'os.environ["{name}"] = "1"' in inspect.getsource(cli)
