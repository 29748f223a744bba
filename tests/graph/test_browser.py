"""The real UI in a real browser: materialize a partition, see it succeed, see its plot."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from activeuf_core.paths import PROJECT
from activeuf_dagster.instance import TEMPLATE
from tests.graph.browser import PATIENCE_MS, free_port, needs_chromium, opened, running, when_up

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = needs_chromium


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    """A Dagster UI with its daemon on the small project, whose pool has three real rows."""
    rows = [
        {"prompt_id": str(n), "prompt": "Name a colour. " * n, "completions": []} for n in (1, 2, 3)
    ]
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "configs/datasets/other.yaml").unlink()
    shutil.copy(TEMPLATE, folder / "dagster_home" / "dagster.yaml")
    port, log = str(free_port()), folder / "ui.log"
    workspace = str(PROJECT / "workspace.yaml")
    command = [sys.executable, "-m", "dagster", "dev", "-w", workspace, "--port", port]
    with running(log, command) as server:
        yield when_up(f"http://127.0.0.1:{port}", server, log)


def test_a_partition_is_materialized_by_clicking(url: str) -> None:
    with opened("prompts") as page:
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
