"""`activeuf gc` on a small project: what it lists, what it removes, when it refuses."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.dagster_run import DagsterRunStatus
from typer.testing import CliRunner, Result

from activeuf_core.errors import ConfigError
from activeuf_core.paths import Layout
from activeuf_dagster.cli import app
from activeuf_dagster.cli_gc import in_bytes
from activeuf_dagster.ongoing import Watch
from activeuf_dagster.project import Project
from tests.fakes.launcher import instant_launchers
from tests.graph.conftest import EXPERIMENT, write_yaml

TARGET = ("dpo_model", "f" * 32)


@pytest.fixture
def made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small project with one experiment materialized."""
    monkeypatch.setattr(Project, "launchers", instant_launchers)
    assert activeuf("materialize", "exp-a").exit_code == 0
    return folder


def activeuf(*arguments: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, arguments)


def gc(*arguments: str) -> dict[str, Any]:
    return json.loads(activeuf("gc", "--json", *arguments).stdout)


def names(printed: dict[str, Any], **wanted: object) -> set[str]:
    """Return the assets of the garbage that has some values."""
    return {
        row["name"].partition("/")[0]
        for row in printed["garbage"]
        if row["kind"] == "artifacts" and all(row[key] == value for key, value in wanted.items())
    }


def edit(folder: Path, **settings: object) -> None:
    path = folder / "configs" / "experiments" / "exp-a.yaml"
    write_yaml(path, {**EXPERIMENT, "seed": ord("a"), **settings})


def test_a_fresh_home_has_nothing_to_remove(made: Path) -> None:
    assert "There is nothing to remove." in activeuf("gc").output


def test_an_edited_setting_leaves_its_model_and_what_reads_it(made: Path) -> None:
    edit(made, dpo_model={"base_model": "base", "epochs": 7})
    printed = gc()
    assert {"dpo_model", "gsm8k_score", "scores"} < names(printed)
    assert not {"preference_dataset", "reward_model", "features"} & names(printed)
    assert printed["reclaimed_bytes"] == 0 < printed["removable_bytes"]


def test_yes_removes_and_the_plan_still_calls_the_rest_fresh(made: Path) -> None:
    edit(made, dpo_model={"base_model": "base", "epochs": 7})
    printed = gc("--yes")
    assert printed["reclaimed_bytes"] == printed["removable_bytes"] > 0
    assert gc()["garbage"] == []
    rows = json.loads(activeuf("plan", "exp-a", "--json").stdout)["nodes"]
    states = {row["asset"]: row["state"] for row in rows}
    assert states["reward_model"] == "fresh" and states["dpo_model"] == "stale"


def test_a_config_that_is_edited_back_makes_the_artifact_again(made: Path) -> None:
    edit(made, dpo_model={"base_model": "base", "epochs": 7})
    gc("--yes")
    edit(made)
    assert activeuf("materialize", "exp-a").exit_code == 0
    assert "Nothing has to run." in activeuf("plan", "exp-a").output


def test_views_point_nowhere_no_more(made: Path) -> None:
    view = Layout(made / "home").experiment("exp-a")
    before = {path for path in view.rglob("*") if path.is_symlink()}
    edit(made, dpo_model={"base_model": "base", "epochs": 7})
    gc("--yes")
    links = {path for path in view.rglob("*") if path.is_symlink()}
    assert links < before and all(path.exists() for path in links)


def test_partitions_that_nobody_declares_need_a_word(made: Path) -> None:
    (made / "configs" / "experiments" / "exp-a.yaml").unlink()
    printed = activeuf("gc", "--yes", "--include", "artifacts").output
    assert "Removed 1 things" in printed  # the leaderboard
    assert "stay until --older-than DAYS is given" in " ".join(printed.split())
    assert "dpo_model" in names(gc("--yes", "--older-than", "0"), removed=True)


def test_another_folder_of_configs_counts_when_it_is_named(made: Path) -> None:
    shutil.copytree(made / "configs", made / "others")
    (made / "configs" / "experiments" / "exp-a.yaml").unlink()
    assert "dpo_model" in names(gc())
    assert "dpo_model" not in names(gc("--configs", str(made / "others")))


def test_a_wrong_file_or_an_empty_folder_removes_nothing(made: Path) -> None:
    path = made / "configs" / "experiments" / "exp-b.yaml"
    path.write_text("dataset: [")
    assert isinstance(activeuf("gc", "--yes").exception, ConfigError)
    shutil.rmtree(made / "configs" / "experiments")
    refused = activeuf("gc", "--yes").exception
    assert isinstance(refused, ConfigError) and "declares no experiment" in str(refused)


def test_an_unknown_kind_is_refused(folder: Path) -> None:
    refused = activeuf("gc", "--include", "trahs").exception
    assert isinstance(refused, ConfigError) and "did you mean 'trash'" in str(refused)


@pytest.mark.parametrize(("seconds", "keeps"), [(-100.0, True), (100.0, False)])
def test_what_began_before_the_last_edit_keeps_everything(
    project: Project,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    keeps: bool,
) -> None:
    began = time.time() + seconds
    monkeypatch.setattr(Watch, "_going_on", lambda watch: [(began, "run 1234abcd")])
    reason = Watch(instance, project.layout, [project.configs], time.time() + 1)(TARGET)
    assert reason.startswith("run 1234abcd, begun at") is keeps


def test_runs_that_have_not_ended_go_on(project: Project, instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(_job(), status=DagsterRunStatus.STARTED)
    instance.create_run_for_job(_job(), status=DagsterRunStatus.SUCCESS)
    watch = Watch(instance, project.layout, [project.configs], time.time() + 1)
    assert [what for _, what in watch._going_on()] == [f"run {run.run_id[:8]}"]


def test_files_that_change_meanwhile_keep_everything(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activeuf_dagster.ongoing.LOOK_EVERY_S", 0.0)
    watch = Watch(instance, project.layout, [project.configs], time.time() + 1)
    assert watch(TARGET) == ""
    (project.configs / "experiments" / "exp-b.yaml").unlink()
    assert "changed meanwhile" in watch(TARGET)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2 * 10**13, "20.0 TB")]
)
def test_sizes(size: int, text: str) -> None:
    assert in_bytes(size) == text


def _job() -> dg.JobDefinition:
    @dg.op
    def nothing() -> None: ...

    @dg.job
    def some_job() -> None:
        nothing()

    return some_job
