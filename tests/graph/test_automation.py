"""What recovers by itself: looks on a real instance, and once under a real daemon."""

from __future__ import annotations

import functools
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from activeuf_core.announcements import planning_alone
from activeuf_core.automation import Launch, LaunchLedger
from activeuf_core.recipes import Node
from activeuf_dagster import automation
from activeuf_dagster.automation import AUTOMATION, NAME, tick
from activeuf_dagster.backfill import Backfill, open_backfills, recent_backfills
from activeuf_dagster.project import Project
from activeuf_dagster.recovering import BY_TAG
from activeuf_dagster.sensor_switch import is_on, last_tick, turn
from tests.fakes.launcher import instant_launchers
from tests.graph.conftest import write_yaml
from tests.graph.test_recover import OF_EXPERIMENT, activeuf
from tests.graph.test_recover_daemon import World, world  # noqa: F401 - a fixture


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Jobs are made at once."""
    monkeypatch.setattr(Project, "launchers", instant_launchers)
    return monkeypatch


def look(now: float | None = None) -> str:
    """Look as the sensor does; return what it says."""
    with dg.DagsterInstance.get() as instance:
        return tick(instance, Project.load().catalog, now or time.time())


def launched() -> Backfill:
    """Return the one backfill that is open."""
    with dg.DagsterInstance.get() as instance:
        (found,) = open_backfills(instance)
    return found


def end(backfill: Backfill, status: BulkActionStatus) -> None:
    with dg.DagsterInstance.get() as instance:
        stored = instance.get_backfill(backfill.backfill_id)
        assert stored is not None
        instance.update_backfill(stored.with_status(status))


def allow(folder: Path, experiments: tuple[str, ...] = ("exp-a",), **budget: object) -> None:
    body = {"experiments": list(experiments), "budget": budget}
    write_yaml(folder / "configs" / "automation.yaml", body)


def test_what_is_missing_is_launched_once_and_then_left_alone(folder: Path) -> None:
    allow(folder)
    assert look().startswith("Backfill ")
    found = launched()
    assert (found.tags[BY_TAG], len(found.targets)) == (AUTOMATION, OF_EXPERIMENT)
    assert "are left alone: on its way in backfill" in look()
    assert launched() == found


def test_what_was_launched_and_is_not_there_waits_for_a_person(folder: Path) -> None:
    allow(folder)
    look()
    found = launched()
    end(found, BulkActionStatus.CANCELED)
    assert f"not made by backfill {found.backfill_id}: it waits for a person" in look()


def test_failures_are_left_alone_with_what_needs_them(
    folder: Path, instant: pytest.MonkeyPatch
) -> None:
    allow(folder)
    failing = functools.partialmethod(instant_launchers, fails={("dpo_model", "exp-a")})
    instant.setattr(Project, "launchers", failing)
    activeuf("recover", "exp-a")
    said = look()
    assert "Nothing to launch" in said
    assert "failed, which waits for a person: DataError" in said


def test_the_budget_stops_it_and_says_so(folder: Path) -> None:
    allow(folder, gpu_hours_per_day=4, gpu_hours_if_unknown=1)
    left = OF_EXPERIMENT - 4
    assert f"{left} more wait: annotations[tiny--b] would take 1.00 GPU-hours" in look()
    assert len(launched().targets) == 4
    end(launched(), BulkActionStatus.COMPLETED_SUCCESS)
    ledger = LaunchLedger(Project.load().layout)
    ledger.path.unlink()
    ledger.add(Launch(time.time(), "x", 4.0))
    said = look()
    assert f"The budget is used up, {OF_EXPERIMENT} partitions wait" in said
    assert "of the day's 4 0.00 are left" in said
    assert look(time.time() + 25 * 3600).startswith("Backfill ")


def test_a_backfill_is_never_larger_than_allowed(folder: Path) -> None:
    allow(folder, jobs_per_tick=3)
    assert f"{OF_EXPERIMENT - 3} more wait: jobs_per_tick is 3, the next ones wait." in look()
    assert len(launched().targets) == 3


def test_partitions_that_the_code_server_has_not_read_wait(folder: Path) -> None:
    before = Project.load().catalog
    (folder / "configs/experiments/new.yaml").write_text(
        (folder / "configs/experiments/exp-b.yaml").read_text()
    )
    allow(folder, experiments=("*",), gpu_hours_per_day=None)
    with dg.DagsterInstance.get() as instance:
        tick(instance, before, time.time())
    assert {key for _, key in launched().targets} == {
        *("tiny", "tiny--a", "tiny--b", "exp-a", "exp-b", "exp-c", "all")
    }


def test_it_rests_after_dagster_ended_its_backfill(folder: Path) -> None:
    allow(folder)
    look()
    end(launched(), BulkActionStatus.FAILED)
    assert look().startswith("Nothing is launched for 60 minutes after Dagster ended")
    assert "waits for a person" in look(time.time() + 3601)


def test_wrong_files_and_other_recoveries_are_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automation, "PATIENCE_S", 0.0)
    with planning_alone(Project.load().layout):
        assert "LaunchError: the recovery of pid" in look()
    allow(folder, gpu_hours=3)
    assert "ConfigError" in look()


def test_the_command_is_the_switch(folder: Path) -> None:
    assert activeuf("automation", "status").output.startswith("Automation is off.")
    assert "Automation is on, but no daemon lives" in activeuf("automation", "on").output
    assert "cap: 24" in activeuf("automation", "off").output
    with dg.DagsterInstance.get() as instance:
        assert not is_on(instance, NAME)
        assert last_tick(instance, NAME) is None


def test_a_name_that_stands_for_nothing_is_refused_before_it_is_on(folder: Path) -> None:
    write_yaml(folder / "configs" / "automation.yaml", {"experiments": ["exp-z"]})
    assert "unknown experiment 'exp-z'" in str(activeuf("automation", "on").exception)


@pytest.mark.slow
def test_under_a_real_daemon_it_makes_what_is_missing(world: World) -> None:  # noqa: F811
    write_yaml(world.folder / "configs" / "automation.yaml", {"experiments": ["n-3"]})
    instance = world.services.instance
    turn(instance, NAME, on=True)
    world.services.start()
    made: set[Node] = set()

    def is_done() -> bool:
        found = recent_backfills(instance, {BY_TAG: AUTOMATION})
        return bool(found) and found[-1].status == "COMPLETED_SUCCESS"

    world.services.wait_until(is_done, timeout_s=180)
    made = world.made()
    assert {("dpo_model", "n-3"), ("leaderboard", "all")} <= made
    assert {key for _, key in made} == {"tiny", "tiny--a", "tiny--b", "n-3", "all"}
    assert "Automation is on." in activeuf("automation", "status").output
