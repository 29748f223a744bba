"""Chromium, and the web interface that it looks at: for tests that click.

In: a project in the environment (ACTIVEUF_CONFIGS, ACTIVEUF_HOME, DAGSTER_HOME).
Out: pages, and a screenshot of each in `.activeuf/screenshots` (or $ACTIVEUF_SCREENSHOTS).
Cost: 5 s until the interface is up, a second for Chromium.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest
import yaml

from activeuf_core.paths import PROJECT
from activeuf_dagster.instance import TEMPLATE
from tests.graph.services import DAGSTER, impatient

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
PATIENCE_MS = 120_000
SCREENSHOTS = Path(os.environ.get("ACTIVEUF_SCREENSHOTS", PROJECT / ".activeuf" / "screenshots"))
WEBSERVER = str(Path(sys.executable).with_name("dagster-webserver"))
IMPATIENT_DAEMON = (
    "from dagster._daemon import controller\n"
    "controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1\n"
    "from dagster._daemon.cli import main\n"
    "main()\n"
)
"""Looks at backfills every second instead of every thirty, for which there is no setting (dagster
1.13.27).
"""

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"
)


@contextlib.contextmanager
def opened(name: str) -> Iterator[Page]:
    """Open a page for a block; what it shows at the end becomes the screenshot `name`."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(PATIENCE_MS)
        try:
            yield page
        finally:
            shoot(page, name)
            browser.close()


def shoot(page: Page, name: str) -> None:
    """Make a screenshot of what a page shows."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


@contextlib.contextmanager
def impatient_ui(folder: Path) -> Iterator[str]:
    """Run code server, daemon and web server for a block, all of which look every second; give the
    address. They write logs into `folder`.
    """
    home = Path(os.environ["DAGSTER_HOME"])
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text(yaml.safe_dump(impatient(TEMPLATE)))
    with dg.DagsterInstance.from_config(str(home)):
        pass  # its tables: several processes that make them at once leave them broken
    code, web = free_port(), free_port()
    workspace = folder / "workspace.yaml"
    server = {"host": "127.0.0.1", "port": code, "location_name": "activeuf"}
    workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
    definitions = ("-m", "activeuf_dagster.definitions", "--location-name", "activeuf")
    loads = ("-w", str(workspace))
    with contextlib.ExitStack() as stack:
        address = ("--host", "127.0.0.1", "--port", str(code))
        begin = stack.enter_context
        begin(running(folder / "code.log", [DAGSTER, "api", "grpc", *address, *definitions]))
        _wait_for_listener(code)
        daemon = [sys.executable, "-c", IMPATIENT_DAEMON, "run", *loads]
        begin(running(folder / "daemon.log", daemon))
        log = folder / "web.log"
        webserver = begin(running(log, [WEBSERVER, "--port", str(web), *loads]))
        yield when_up(f"http://127.0.0.1:{web}", webserver, log)


@contextlib.contextmanager
def running(log: Path, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command, and all that it starts, for a block."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, cwd=PROJECT, start_new_session=True
        )
    try:
        yield process
    finally:
        _end(process, signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            _end(process, signal.SIGKILL)
            process.wait()


def _end(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def when_up(address: str, server: subprocess.Popen[bytes], log: Path) -> str:
    """Return an address as soon as somebody answers there."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/server_info", timeout=5):
                return address
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"the UI did not start:\n{log.read_text(errors='replace')[-3000:]}")


def _wait_for_listener(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise AssertionError("the code server did not start; see code.log in the test's folder")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
