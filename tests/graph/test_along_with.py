"""What the leaderboard reads along with the scores: never waited for, and none of others'."""

from __future__ import annotations

from activeuf_core.artifact_index import ArtifactIndex
from activeuf_core.expected import ExpectedBook
from activeuf_dagster.project import Project
from tests.fakes.launcher import InstantLauncher
from tests.graph.test_engine import run

BOARD = ("leaderboard", "all")


def test_a_loop_without_scores_does_not_concern_the_leaderboard(
    project: Project, launcher: InstantLauncher
) -> None:
    launcher.fails = {("dpo_model", "exp-b"), ("reward_model", "exp-b")}
    run(project, launcher)
    inputs = project.book().recipe(*BOARD).inputs
    assert set(inputs["scores"]) == set(inputs["preference_dataset"]) == {"exp-a", "exp-c"}


def test_it_is_no_upstream_that_somebody_waits_for(project: Project) -> None:
    assert {asset for asset, _ in project.book().upstream(*BOARD)} == {"scores"}


def test_a_plan_expects_the_same_recipe(project: Project, launcher: InstantLauncher) -> None:
    run(project, launcher)
    expected = ExpectedBook(project.catalog, ArtifactIndex(project.layout))
    assert expected.fingerprint(*BOARD) == project.book().fingerprint(*BOARD)
