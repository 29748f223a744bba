"""What may be launched without being asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from activeuf_core.automation import (
    Allowance,
    Budget,
    Launch,
    LaunchLedger,
    Wanted,
    allow,
    read_automation,
)
from activeuf_core.errors import ConfigError
from activeuf_core.paths import PROJECT, Layout

NOW, HOUR = 1_000_000.0, 3600.0


def wanted(*hours: float | None, jobs: int = 1) -> list[Wanted]:
    return [Wanted(("dpo_model", f"e{n}"), f"f{n}", one, jobs) for n, one in enumerate(hours)]


def allowed(budget: Budget, nodes: list[Wanted], *launches: Launch) -> Allowance:
    return allow(budget, nodes, launches, NOW)


def launch(hours_ago: float, gpu_hours: float) -> Launch:
    return Launch(NOW - hours_ago * HOUR, "b", gpu_hours)


def test_all_is_allowed_within_the_budget() -> None:
    found = allowed(Budget(gpu_hours_per_day=5), wanted(2.0, 3.0))
    assert (len(found.nodes), found.gpu_hours, found.because) == (2, 5.0, "")


def test_what_comes_after_the_first_that_is_too_dear_waits() -> None:
    found = allowed(Budget(gpu_hours_per_day=5), wanted(2.0, 4.0, 0.5))
    assert [node for _, node in found.nodes] == ["e0"]
    assert found.because == (
        "dpo_model[e1] would take 4.00 GPU-hours, and of the day's 5 3.00 are left"
    )


def test_the_day_rolls_and_the_total_does_not() -> None:
    long_ago, today = launch(25, 7), launch(2, 1)
    assert len(allowed(Budget(gpu_hours_per_day=3), wanted(2.0), long_ago, today).nodes) == 1
    found = allowed(Budget(gpu_hours_in_total=9), wanted(2.0), long_ago, today)
    assert "of the 9 in total 1.00 are left" in found.because


def test_an_asset_that_was_never_made_counts_what_the_file_says() -> None:
    budget = Budget(gpu_hours_per_day=3, gpu_hours_if_unknown=2)
    assert len(allowed(budget, wanted(None, None)).nodes) == 1


def test_partitions_of_one_artifact_cost_once() -> None:
    same = [Wanted(("features", name), "f", 2.0) for name in ("a", "b")]
    assert allowed(Budget(gpu_hours_per_day=2), same).gpu_hours == 2.0


def test_jobs_per_tick_count_what_goes_to_a_cluster() -> None:
    budget = Budget(jobs_per_tick=2)
    assert len(allowed(budget, wanted(0.0, 0.0, 0.0)).nodes) == 2
    assert len(allowed(budget, wanted(None, None, None, jobs=0)).nodes) == 3


def test_no_cap_is_no_cap() -> None:
    assert len(allowed(Budget(gpu_hours_per_day=None), wanted(1e6)).nodes) == 1


def test_the_ledger_keeps_launches_and_forgets_half_a_line(tmp_path: Path) -> None:
    ledger = LaunchLedger(Layout(tmp_path))
    assert ledger.read() == []
    ledger.add(Launch(1.0, "abc", 2.0, {"features": ["f"]}))
    with ledger.path.open("a") as handle:
        handle.write('{"at": 2')
    ledger.add(Launch(3.0, "def", 2.0))
    assert ledger.read() == [Launch(1.0, "abc", 2.0, {"features": ["f"]}), Launch(3.0, "def", 2.0)]


def test_the_file_is_strict_and_the_projects_own_is_right(tmp_path: Path) -> None:
    assert read_automation(tmp_path) == read_automation(PROJECT / "configs")
    (tmp_path / "automation.yaml").write_text("budget: {gpu_hours: 3}\n")
    with pytest.raises(ConfigError, match=r"automation\.yaml.*gpu_hours"):
        read_automation(tmp_path)
