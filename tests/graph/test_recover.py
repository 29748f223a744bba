"""`activeuf recover` in this process: what it says, what it makes, what it leaves to others."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner, Result

from activeuf_core.announcements import announced
from activeuf_core.evals.benchmarks import BENCHMARKS
from activeuf_core.paths import PROJECT
from activeuf_core.recipes import Node
from activeuf_core.stages import STAGES
from activeuf_dagster.backfill import Backfill, open_backfills
from activeuf_dagster.cli import app
from activeuf_dagster.exact_waves import exact_waves
from activeuf_dagster.foreground import Wave
from activeuf_dagster.project import Project
from activeuf_dagster.recovering import BY_TAG, RECOVERY_TAG, why_ended
from tests.fakes.launcher import instant_launchers

PAYLOAD = PROJECT / "tests" / "fakes" / "payload.py"
OF_DATASET = 7
OWN = sum(stage.dimension == "experiment" for stage in STAGES)
OF_EXPERIMENT = OF_DATASET + OWN + 1
"""Partitions of one experiment with all that it reads, and the leaderboard."""
ALL = OF_DATASET + 3 * OWN + 1
"""Those of all three experiments, which share a data set."""


@pytest.fixture(autouse=True)
def _instant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Project, "launchers", instant_launchers)


def activeuf(*arguments: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, arguments)


def to_run(*arguments: str) -> set[Node]:
    """Return what a recovery would run."""
    printed = json.loads(activeuf("recover", *arguments, "--dry-run", "--json").stdout)
    return {(row["asset"], row["partition"]) for row in printed["to_run"]}


def fail(monkeypatch: pytest.MonkeyPatch, *nodes: Node) -> None:
    """Make some stages fail from now on."""
    monkeypatch.setattr(
        Project, "launchers", functools.partialmethod(instant_launchers, fails=set(nodes))
    )


def test_recover_makes_all_and_then_nothing(folder: Path) -> None:
    first = activeuf("recover", "exp-a")
    assert first.exit_code == 0, first.output
    assert f"All {OF_EXPERIMENT} asset partitions are fresh." in first.output
    assert "Nothing has to run." in activeuf("recover", "exp-a").output


def test_a_dry_run_does_nothing(folder: Path) -> None:
    assert len(to_run("exp-a")) == OF_EXPERIMENT
    assert len(to_run("exp-a")) == OF_EXPERIMENT
    said = activeuf("recover", "exp-a", "--dry-run").output
    assert "    4 missing: reads dpo_model" not in said
    assert "1  gsm8k_score           missing: reads dpo_model, which is not fresh" in said


def test_a_failure_is_told_and_tried_again_with_what_waits_for_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, ("dpo_model", "exp-a"))
    first = activeuf("recover", "exp-a")
    assert first.exit_code == 1
    assert "dpo_model[exp-a]: failed: DataError" in first.output
    assert first.output.count("dpo_model[exp-a]: FAILED (DataError)") == 1
    scores = {"gsm8k_score", "minerva_math_score", "ifeval_score", "truthfulqa_score"}
    waits = {*scores, "dpo_model", "scores", "wandb_summary"}
    expected = {(asset, "exp-a") for asset in waits} | {("leaderboard", "all")}
    assert to_run("exp-a") == to_run("exp-a", "--only", "failed") == expected
    assert to_run("exp-a", "--only", "missing") == set()
    assert to_run("exp-a", "--select", "training") == {("dpo_model", "exp-a")}


def test_named_selections_are_the_scripts_of_old(folder: Path) -> None:
    assert activeuf("recover", "exp-a", "--select", "training").exit_code == 0
    assert to_run("exp-a", "--select", "training") == set()
    evals = to_run("exp-a", "--select", "evals")
    assert {asset for asset, _ in evals} >= {"gsm8k_score", "rewardbench2_score", "wandb_summary"}
    assert "leaderboard" not in {asset for asset, _ in evals}
    assert to_run("exp-b", "--select", "loop") == {("preference_dataset", "exp-b")}


def test_a_lost_database_is_recorded_again_and_nothing_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    activeuf("recover", "--all")
    (folder / "another").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "another"))
    done = activeuf("recover", "--all", "--json")
    printed = json.loads(done.stdout)
    assert (printed["to_run"], printed["recorded"], printed["to_record"]) == ([], ALL, ALL)
    with dg.DagsterInstance.get() as instance:
        assert instance.get_runs_count() == 0
    assert json.loads(activeuf("recover", "--all", "--json").stdout)["to_record"] == 0


def test_runs_in_the_foreground_are_found_together(folder: Path) -> None:
    activeuf("recover", "exp-a")
    with dg.DagsterInstance.get() as instance:
        tags = [run.tags for run in instance.get_runs()]
    assert len({one[RECOVERY_TAG] for one in tags}) == 1
    assert {one[BY_TAG] for one in tags} == {"recover"}


def test_what_a_backfill_makes_is_not_launched_twice(folder: Path) -> None:
    first = activeuf("recover", "exp-a", "--daemon", "--max-parallel", "3")
    assert f"of {OF_EXPERIMENT} partitions is with Dagster's daemon" in first.output
    second = activeuf("recover", "exp-a")
    assert "Nothing has to run." in second.output
    assert "stands still" in second.output
    assert f"{OF_EXPERIMENT} are not fresh and left out" in second.output
    third = json.loads(activeuf("recover", "exp-b", "--daemon", "--json").stdout)
    with dg.DagsterInstance.get() as instance:
        assert len(open_backfills(instance)) == 2
    left_out = {row.asset for row in BENCHMARKS if row.optional}
    assert {row["asset"] for row in third["to_run"]} == left_out  # which wait for nothing
    waits = {row["asset"]: row["why"] for row in third["left_out"]}
    assert "needs candidate_pool[tiny]: on its way in backfill" in waits["dpo_model"]


def test_a_backfill_carries_the_settings_of_its_runs(folder: Path) -> None:
    activeuf("recover", "exp-a", "--daemon", "--max-parallel", "3", "--cluster", "mine")
    with dg.DagsterInstance.get() as instance:
        (found,) = open_backfills(instance)
        stored = instance.get_backfill(found.backfill_id)
    assert stored is not None
    config = {"config": {"cluster": "mine", "max_parallel": 3}}
    names = ("datasets", "experiments", "pool_members")
    assert stored.run_config == {"ops": dict.fromkeys(names, config)}
    assert stored.title == f"recover: {OF_EXPERIMENT} partitions ({OF_EXPERIMENT} missing)"


def test_what_another_recovery_makes_here_is_left_to_it(folder: Path) -> None:
    nodes = sorted(to_run("exp-a"))
    with announced(Project.load().layout, nodes):
        assert to_run("exp-a") == set()
        said = activeuf("recover", "exp-a").output
    assert "Nothing has to run." in said
    assert "on its way in the recovery of pid" in said
    assert len(to_run("exp-a")) == OF_EXPERIMENT


def test_two_at_once_make_everything_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    behaviour = folder / "behaviour"
    behaviour.mkdir()
    (behaviour / "default").write_text("0.3")
    monkeypatch.setenv("ACTIVEUF_BEHAVIOUR", str(behaviour))
    monkeypatch.setenv("ACTIVEUF_STAGE_PYTHON", str(PAYLOAD))
    monkeypatch.setenv("ACTIVEUF_TRACKING", "none")
    command = (sys.executable, "-m", "activeuf_dagster.cli", "recover", "exp-a", "--foreground")
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [one.communicate(timeout=120)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    lines = [tuple(line.split()[:2]) for line in (behaviour / "log").read_text().splitlines()]
    assert len(lines) == len(set(lines)) == OF_EXPERIMENT
    assert sum("Nothing has to run." in text for text in said) == 1


def test_what_an_orphaned_job_makes_is_waited_for_by_what_needs_it(folder: Path) -> None:
    activeuf("recover", "exp-a", "--select", "preference_dataset")
    project = Project.load()
    dpo = project.book().recipe("dpo_model", "exp-a")
    with project.book().store.claim(dpo.asset, dpo.fingerprint):
        printed = json.loads(activeuf("recover", "exp-a", "--dry-run", "--json").stdout)
        running = [row for row in printed["to_run"] if row["state"] == "running"]
        assert [row["asset"] for row in running] == ["dpo_model"]
        assert running[0]["why"].endswith("_score[exp-a] needs it")
        assert to_run("exp-a", "--select", "dpo_model") == set()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--select", "evil"], "did you mean 'evals'"),
        (["--only", "frehs"], "unknown state 'frehs'"),
        (["--all", "--max-parallel", "0"], "--max-parallel is 0; allowed: a number from 1"),
        ([], "which of 3 experiments?"),
        (["exp-a", "--all"], "which of 3 experiments?"),
        (["exp-z"], "unknown experiment 'exp-z'"),
    ],
)
def test_wrong_words_are_named(folder: Path, words: list[str], message: str) -> None:
    assert message in str(activeuf("recover", *words).exception)


def test_exact_waves_hold_their_nodes_and_no_others(project: Project) -> None:
    nodes = [
        ("prompts", "tiny"),
        ("dpo_model", "exp-a"),
        ("dpo_model", "exp-b"),
        ("reward_model", "exp-c"),
        ("leaderboard", "all"),
    ]
    assert exact_waves(nodes, project) == [
        Wave(("prompts",), "tiny", "tiny"),
        Wave(("dpo_model",), "exp-a", "exp-b"),
        Wave(("reward_model",), "exp-c", "exp-c"),
        Wave(("leaderboard",), "", ""),
    ]


def test_a_backfill_that_lost_its_partitions_is_explained() -> None:
    nothing: frozenset[Node] = frozenset()
    error = "LoadError: The following partitions have been removed: {'x'}\nTraceback …"
    last = Backfill("abc", "FAILED", "", {}, 0.0, nothing, nothing, nothing, error=error)
    said = why_ended(last)
    assert "reload it" in said
    assert "Traceback" not in said
