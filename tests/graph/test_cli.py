"""The command line."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from activeuf_core.errors import ConfigError
from activeuf_core.stages import STAGES
from activeuf_dagster.cli import app, main
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


def plan(*arguments: str) -> dict[str, dict]:
    """Return the plan's rows by asset."""
    printed = json.loads(activeuf("plan", *arguments, "--json").stdout)
    return {row["asset"]: row for row in printed["nodes"]}


def test_materialize_then_plan_then_nothing_to_do(folder: Path) -> None:
    assert activeuf("materialize", "exp-a").exit_code == 0
    printed = json.loads(activeuf("plan", "exp-a", "--json").stdout)
    rows = printed["nodes"]
    assert {row["state"] for row in rows} == {"fresh"}
    assert printed["price"]["partitions"] == 0
    again = activeuf("materialize", "exp-a")
    assert f"{len(rows)} of {len(rows)} asset partitions are complete." in again.output


def test_the_plan_says_why(folder: Path) -> None:
    rows = plan("exp-a")
    assert rows["prompts"]["reason"] == "missing"
    assert rows["dpo_model"]["reason"] == "reads preference_dataset[exp-a], which is not fresh"


def test_the_plan_names_the_key_that_changed_with_both_values(folder: Path) -> None:
    activeuf("materialize", "exp-a")
    path = folder / "configs" / "experiments" / "exp-a.yaml"
    path.write_text(
        path.read_text().replace("base_model: base", "base_model: base\n  epochs: 7", 1)
    )
    rows = plan("exp-a")
    assert rows["dpo_model"]["state"] == "stale"
    assert rows["dpo_model"]["changes"] == [{"what": "epochs", "before": 3, "now": 7}]
    assert rows["reward_model"]["state"] == "fresh"
    assert rows["gsm8k_score"]["reason"].endswith("reads dpo_model[exp-a], which is not fresh")
    assert rows["leaderboard"]["reason"].startswith("scores: ")


def test_the_plan_names_failures_and_how_often(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = functools.partialmethod(instant_launchers, fails={("dpo_model", "exp-a")})
    monkeypatch.setattr(Project, "launchers", failing)
    for _ in range(2):
        activeuf("materialize", "exp-a")
    row = plan("exp-a")["dpo_model"]
    assert row["state"] == "failed"
    assert row["reason"].startswith("DataError (2 times, last 20")
    assert row["reason"].endswith("): told to fail")


def test_the_plan_can_be_narrowed(folder: Path) -> None:
    assert set(plan("exp-*", "--select", "dpo_model", "--only", "missing")) == {"dpo_model"}
    assert plan("--only", "fresh") == {}
    wrong = activeuf("plan", "--only", "frehs")
    assert "did you mean 'fresh'" in str(wrong.exception)


def test_what_is_shared_is_made_once(folder: Path) -> None:
    twin = folder / "configs" / "experiments"
    (twin / "exp-d.yaml").write_text((twin / "exp-a.yaml").read_text())
    price = json.loads(activeuf("plan", "exp-a", "exp-d", "--json").stdout)["price"]
    own = sum(stage.dimension == "experiment" for stage in STAGES)
    assert price["partitions"] - price["distinct"] == own - 1  # a W&B run is an experiment's own


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


def test_everything_is_materialized_only_when_that_is_said(folder: Path) -> None:
    silent = activeuf("materialize")
    assert "which of 3 experiments?" in str(silent.exception)
    assert activeuf("materialize", "--all").exit_code == 0
    assert "Nothing has to run." in activeuf("plan").output


def test_an_unknown_experiment_is_named_with_its_neighbour(folder: Path) -> None:
    done = activeuf("plan", "exp-aa")
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


def test_a_home_that_cannot_be_written_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").touch()
    monkeypatch.setenv("ACTIVEUF_HOME", str(folder / "file" / "home"))
    monkeypatch.setattr(sys, "argv", ["activeuf", "plan", "exp-a"])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().err
    assert "NotADirectoryError" in said
    assert "writable" in said


def test_the_price_is_known_from_other_partitions(folder: Path) -> None:
    activeuf("materialize", "exp-a")
    price = json.loads(activeuf("plan", "exp-b", "--json").stdout)["price"]
    assert price["partitions"] > 0 and price["unknown"] == []


def test_the_plan_takes_named_selections(folder: Path) -> None:
    printed = json.loads(activeuf("plan", "exp-a", "--select", "training", "--json").stdout)
    assert {row["asset"] for row in printed["nodes"]} == {"dpo_model", "reward_model"}
