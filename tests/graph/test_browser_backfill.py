"""A sweep in the real UI, its jobs on a real cluster: three are killed, and clicking mends it."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from activeuf_dagster.cli import app
from tests.graph.browser import PATIENCE_MS, impatient_ui, needs_chromium, opened, shoot
from tests.graph.conftest import write_yaml
from tests.slurm.conftest import cluster, rig, slurm_installed  # noqa: F401  (fixtures)
from tests.slurm.rig import ASSET, Rig

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [needs_chromium, pytest.mark.slow, pytest.mark.browser, pytest.mark.slurm]

SWEEP = "acquisition"
METHODS, SIZES = ("deltaucb", "dts", "random"), (16, 32, 8)
POINTS = tuple(f"{SWEEP}-method={method}-batch_size={size}" for method in METHODS for size in SIZES)
IN_ALL = len(POINTS) + 3
KILLED = (POINTS[0], POINTS[4], POINTS[8])
"""No two are neighbours, so Dagster cuts their backfill into three runs."""
SHOWN = re.compile(r"^(Failed|Materialized|Materializing|Missing) \((\d+)\)$")


@dataclass(frozen=True)
class Desk:
    """A sweep's project on a cluster, and the address of its UI."""

    rig: Rig
    url: str

    @property
    def partitions(self) -> str:
        """The address of the page with the asset's partitions."""
        return f"{self.url}/assets/{ASSET}?view=partitions"

    def planned(self) -> dict[str, str]:
        """Return what `activeuf plan` says of every point of the sweep."""
        done = run_command("plan", SWEEP, "--select", ASSET, "--json")
        return {row["partition"]: row["state"] for row in json.loads(done)["nodes"]}

    def wait_for_all_at_work(self, points: Sequence[str] = POINTS) -> None:
        """Wait until a payload works on every one of these points."""
        self.rig.wait_until(lambda: all(self.rig.workers((ASSET, point)) for point in points))

    def slurm_id(self, point: str) -> str:
        """Return SLURM's id of the job that works on a point, `17_4` for a task of an array."""
        raw = self.rig.workers((ASSET, point))[-1].slurm_job_id
        return next(job.job_id for job in self.rig.jobs() if job.raw_id == raw)


@pytest.fixture
def desk(tmp_path: Path, rig: Rig) -> Iterator[Desk]:  # noqa: F811
    """The small project's three experiments and a sweep of nine points, whose payloads wait."""
    parameters = {
        "dataset": {"value": "tiny"},
        "dpo_model.base_model": {"value": "base"},
        "reward_model.base_model": {"value": "base"},
        "loop.acquisition.method": {"values": list(METHODS)},
        "loop.batch_size": {"values": list(SIZES)},
    }
    sweep = {"method": "grid", "parameters": parameters}
    write_yaml(rig.folder / "configs" / "sweeps" / f"{SWEEP}.yaml", sweep)
    rig.tell("waits")
    with impatient_ui(tmp_path) as url:
        yield Desk(rig, url)


def test_three_killed_jobs_are_made_again_by_clicking(desk: Desk) -> None:
    with opened("backfill-green") as page:
        launch(page, desk)
        desk.wait_for_all_at_work()
        assert set(desk.planned().values()) == {"running"}
        kill_three(desk)
        desk.rig.go()
        assert wait_for(page, desk, Failed=3, Materialized=6)["Materializing"] == 0
        shoot(page, "backfill-failed")
        assert shown_as_failed(page) == set(KILLED)
        assert {p for p, state in desk.planned().items() if state == "failed"} == set(KILLED)
        assert Counter(desk.planned().values()) == {"failed": 3, "fresh": 6}
        launch(page, desk, only_failed_and_missing=3)
        wait_for(page, desk, Failed=0, Materialized=9)
        assert set(desk.planned().values()) == {"fresh"}
    assert len(desk.rig.jobs()) == len(POINTS) + len(KILLED)
    assert len(desk.rig.tokens()) == 2, (
        "one array each, although the second backfill has three runs"
    )


@pytest.mark.parametrize("words", [f"{SWEEP}-", "size=32"], ids=["one-run", "three-runs"])
def test_cancelling_a_backfill_cancels_its_jobs(desk: Desk, words: str) -> None:
    points = [point for point in POINTS if words in point]
    with opened("backfill-cancelled") as page:
        launch(page, desk, words)
        desk.wait_for_all_at_work(points)
        page.goto(f"{desk.url}/runs?view=backfills")
        page.get_by_text("View", exact=True).first.click()
        page.get_by_text("Partition selection").wait_for()
        with_arrow = page.get_by_role("img", name="expand_more")
        page.get_by_role("button").filter(has=with_arrow).click()
        page.get_by_role("menuitem", name="Cancel backfill").click()
        page.get_by_role("button", name="Cancel backfill").click()
        desk.rig.wait_until(lambda: not desk.rig.left_over())
        wait_for(page, desk, Materializing=0, Missing=12)
        assert set(desk.planned().values()) == {"missing"}
    assert Counter(job.state for job in desk.rig.jobs()) == {"CANCELLED": len(points)}


def launch(
    page: Page, desk: Desk, words: str = f"{SWEEP}-", only_failed_and_missing: int = 0
) -> None:
    """Start a backfill by clicking: filter the partitions by words, take all points that the filter
    leaves, or what of them is failed or missing, if so many are expected.
    """
    count = sum(words in point for point in POINTS)
    page.goto(desk.partitions)
    page.get_by_role("button", name="Materialize").first.click()
    everything = page.get_by_role("button", name="All", exact=True)
    confirm = page.get_by_role("button", name="Confirm")
    everything.or_(confirm).wait_for()
    if confirm.count():  # what is upstream lies in the store, but Dagster has no record of it yet
        confirm.click()
    everything.click()
    page.get_by_text(f"{IN_ALL} partitions selected", exact=True).click()
    page.get_by_text(f"Select all ({IN_ALL})").click()  # takes the mark off each
    page.get_by_placeholder("Filter partitions").fill(words)
    page.get_by_text(f"Select all ({count})").click()
    page.keyboard.press("Escape")
    if only_failed_and_missing:
        page.get_by_text("Backfill only failed and missing partitions within selection").click()
        page.get_by_text(f"Only {only_failed_and_missing} failed and missing partitions").wait_for()
    page.get_by_role("button", name="Launch backfill").click()
    page.get_by_text("Created backfill").wait_for()


def kill_three(desk: Desk) -> None:
    """End three jobs, two as somebody else would and one as we offer it, and wait until the
    orchestrator has seen it.
    """
    for point in KILLED[:2]:
        desk.rig.cluster.run("scancel", desk.slurm_id(point), check=True)
    run_command("jobs", "cancel", f"{ASSET}[{KILLED[2]}]")
    desk.rig.wait_until(lambda: Counter(desk.planned().values())["failed"] == 3)


def run_command(*words: str) -> str:
    """Run our command line; return what it says."""
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.stdout


def wait_for(page: Page, desk: Desk, **wanted: int) -> Mapping[str, int]:
    """Load the page of partitions until it shows these numbers; return all that it shows."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    shown: dict[str, int] = {}
    while not shown or any(shown[name] != number for name, number in wanted.items()):
        assert time.monotonic() < deadline, f"{shown} and not {wanted}; see *.log in the folder"
        page.goto(desk.partitions)
        page.get_by_text(re.compile(r"^Missing \(\d")).wait_for()
        page.wait_for_timeout(500)
        words = page.get_by_text(SHOWN).all_inner_texts()
        shown = {found[1]: int(found[2]) for found in map(SHOWN.match, words) if found}
    return shown


def shown_as_failed(page: Page) -> set[str]:
    """Return the partitions that the page lists when only failed ones are to be shown."""
    for name in ("Materialized", "Materializing", "Missing"):
        page.get_by_text(re.compile(rf"^{name} \(")).click()
    page.get_by_text("3 Partitions Selected").wait_for()
    return {point for point in POINTS if page.get_by_text(point, exact=True).count()}
