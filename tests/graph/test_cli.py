"""The command line."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from activeuf_core.errors import ConfigError
from activeuf_dagster.cli import app
from activeuf_dagster.foreground import Wave, contiguous_ranges, waves
from activeuf_dagster.planning import nodes_of
from activeuf_dagster.project import Project
from tests.fakes.launcher import instant_launchers


@pytest.fixture(autouse=True)
def _instant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Project, "launchers", instant_launchers)


def activeuf(*arguments: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, arguments)


def test_check_says_what_is_declared(folder: Path) -> None:
    done = activeuf("check")
    assert done.exit_code == 0
    assert "3 experiments: exp-a, exp-b, exp-c" in done.output


def test_materialize_then_status_then_nothing_to_do(folder: Path) -> None:
    assert activeuf("materialize", "exp-a").exit_code == 0
    rows = json.loads(activeuf("status", "exp-a", "--json").stdout)
    assert rows and all(row["fresh"] for row in rows)
    again = activeuf("materialize", "exp-a")
    assert f"{len(rows)} of {len(rows)} asset partitions are fresh." in again.output


def test_status_says_why(folder: Path) -> None:
    rows = json.loads(activeuf("status", "exp-a", "--json").stdout)
    reasons = {row["asset"]: row["reason"] for row in rows}
    assert reasons["prompts"] == "missing"
    assert reasons["dpo_model"] == "reads preference_dataset[exp-a], which is not fresh"


def test_a_failure_shows_its_reason_and_fails_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = functools.partialmethod(instant_launchers, fails={("dpo_model", "exp-a")})
    monkeypatch.setattr(Project, "launchers", failing)
    done = activeuf("materialize", "exp-a")
    assert done.exit_code == 1
    assert "dpo_model[exp-a]: FAILED (DataError): told to fail" in done.output
    assert "gsm8k_score[exp-a]: not tried, because dpo_model[exp-a] failed" in done.output


def test_force_makes_what_is_fresh_again(folder: Path) -> None:
    activeuf("materialize", "exp-a")
    assert "36/" not in activeuf("materialize", "exp-a").output
    forced = activeuf("materialize", "exp-a", "--force")
    assert forced.exit_code == 0
    assert "dpo_model[exp-a] complete, 0.1 s" in forced.output


def test_an_unknown_experiment_is_named_with_its_neighbour(folder: Path) -> None:
    done = activeuf("status", "exp-aa")
    assert isinstance(done.exception, ConfigError)
    assert "did you mean 'exp-a'" in str(done.exception)


def test_a_wave_is_a_contiguous_range_of_one_kind_of_partition(project: Project) -> None:
    book = project.book()
    found = waves(nodes_of(book, ["exp-a", "exp-c"]), project)
    assert [wave.first for wave in found] == ["tiny", "tiny--a", "tiny", "exp-a", "exp-c"]
    assert found[1] == Wave(("completions", "annotations"), "tiny--a", "tiny--b")
    assert found[-1].assets[-1] == "leaderboard"


def test_contiguous_ranges_split_at_holes() -> None:
    found = contiguous_ranges({"a", "b", "d"}, ["a", "b", "c", "d"])
    assert list(found) == [("a", "b"), ("d", "d")]
