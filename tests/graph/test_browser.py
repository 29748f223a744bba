"""The real UI in a real browser: materialize a partition, see it succeed, see its plot."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from activeuf_core.paths import PROJECT
from activeuf_dagster.instance import TEMPLATE

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
PATIENCE_MS = 120_000
SCREENSHOTS = Path(os.environ.get("ACTIVEUF_SCREENSHOTS", PROJECT / ".activeuf" / "screenshots"))

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"
)


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    """A Dagster UI with its daemon on the small project, whose pool has three real rows."""
    rows = [
        {"prompt_id": str(n), "prompt": "Name a colour. " * n, "completions": []} for n in (1, 2, 3)
    ]
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "configs/datasets/other.yaml").unlink()
    shutil.copy(TEMPLATE, folder / "dagster_home" / "dagster.yaml")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "-w",
        str(PROJECT / "workspace.yaml"),
        "--port",
        str(port),
    ]
    with (folder / "ui.log").open("wb") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=PROJECT, start_new_session=True
        )
    try:
        yield _when_up(f"http://127.0.0.1:{port}", server, folder / "ui.log")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def test_a_partition_is_materialized_by_clicking(url: str) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(PATIENCE_MS)
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        try:
            _materialize_by_clicking(page, url)
        finally:
            page.screenshot(path=SCREENSHOTS / "prompts.png", full_page=True)
            browser.close()


def _materialize_by_clicking(page: Page, url: str) -> None:
    page.goto(f"{url}/assets/prompts?view=partitions")
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_role("button", name="All", exact=True).click()
    with page.expect_response(lambda answer: "op=LaunchPipelineExecution" in answer.url):
        page.get_by_role("button", name="Launch").click()
    _wait_until_materialized(page, f"{url}/assets/prompts?view=partitions&partition=tiny")
    page.get_by_text("[Show Markdown]").first.click()
    plot = page.locator('img[src^="data:image/png"]').first
    plot.wait_for(state="visible")
    assert plot.evaluate("image => image.complete && image.naturalWidth > 100")


def _wait_until_materialized(page: Page, address: str) -> None:
    """Load the partition's page until it shows a materialization: the daemon starts the run."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while time.monotonic() < deadline:
        page.goto(address)
        page.get_by_text("Missing (").wait_for()
        if page.get_by_text("Materialized (1)").count():
            return
        page.wait_for_timeout(2000)
    raise AssertionError("the partition was not materialized; see ui.log in the test's folder")


def _when_up(address: str, server: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/server_info", timeout=5):
                return address
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"the UI did not start:\n{log.read_text(errors='replace')[-3000:]}")
