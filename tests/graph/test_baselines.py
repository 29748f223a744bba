"""Baselines are partitions like any other, and nothing is bought for them."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from activeuf_core.errors import ConfigError
from activeuf_core.recipes import Node
from activeuf_core.recovery import Wish
from activeuf_core.stages import STAGES
from activeuf_dagster.planning import closure
from activeuf_dagster.project import Project
from activeuf_dagster.recovering import make_plan
from activeuf_dagster.selections import assets_of
from tests.fakes.launcher import InstantLauncher, instant_launchers
from tests.graph.conftest import write_yaml
from tests.graph.test_engine import completed, run
from tests.graph.test_staleness import materialize_all, ours, verdicts

SCORES = {"gsm8k": 0.758, "rewardbench2": {"score": 0.29, "parts": {"Ties": 0.095}}}
PUBLISHED = {"baseline": "published", "source": "a paper", "scores": SCORES}
UNTRAINED = {"baseline": "untrained", "base_model": "base"}
EXPERIMENT_ASSETS = [stage.asset for stage in STAGES if stage.dimension == "experiment"]


@pytest.fixture
def project(folder: Path) -> Project:
    """The small project with a base model as it is, and published scores."""
    declare(folder)
    return Project.load()


def declare(folder: Path, **changes: object) -> None:
    experiments = folder / "configs/experiments"
    write_yaml(experiments / "sft.yaml", {**UNTRAINED, **changes})
    write_yaml(experiments / "paper.yaml", PUBLISHED)


def nodes(*experiments: str) -> list[Node]:
    return [(asset, one) for asset in EXPERIMENT_ASSETS for one in experiments]


def test_a_baseline_pulls_nothing_of_any_dataset(project: Project) -> None:
    above = closure(project.book(), nodes("sft", "paper"))
    assert {asset for asset, _ in above} == set(EXPERIMENT_ASSETS)


def test_untrained_models_are_scored_and_published_scores_are_not(
    project: Project, launcher: InstantLauncher
) -> None:
    events = run(project, launcher, nodes("sft", "paper"))
    assert set(completed(events)) == set(nodes("sft", "paper"))
    light = {unit.asset for job in launcher.jobs if job.weight == 0 for unit in job.units}
    heavy = [job for job in launcher.jobs if job.weight > 0]
    assert {"dpo_model", "reward_model", "preference_dataset"} <= light
    assert {unit.partition for job in heavy for unit in job.units} == {"sft"}


def test_a_base_model_is_an_identity_with_a_place(project: Project) -> None:
    found = project.catalog.resolved("reward_model", "sft")
    assert found.full["base_model"]["name"] == "base"
    assert found.locations["base"].endswith("/base")
    assert found.identity["seed"] == 4


def test_the_data_of_an_untrained_model_s_scores_are_those_of_its_defaults(folder: Path) -> None:
    shared = {"dpo_model": {"base_model": "base"}, "benchmarks": {"all": {"limit": 3}}}
    write_yaml(folder / "configs/defaults/shared.yaml", {**shared, "dataset": "tiny"})
    write_yaml(
        folder / "configs/experiments/sft.yaml", {"baseline": "untrained", "extends": "shared"}
    )
    assert Project.load().catalog.resolved("gsm8k_score", "sft").full["limit"] == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**PUBLISHED, "source": ""}, "key 'source'"),
        ({**PUBLISHED, "scores": {"gsm8": 0.5}}, "key 'scores': unknown benchmark 'gsm8'"),
        ({**PUBLISHED, "scores": {"gsm8k": 75.8}}, r"75\.8"),
        ({**PUBLISHED, "extends": "paper"}, "extend no defaults"),
        ({"baseline": "untrained"}, "key 'base_model' is missing"),
        ({**UNTRAINED, "base_model": "bse"}, "models.yaml does not declare"),
        ({**UNTRAINED, "loop": {}}, "unknown key 'loop'"),
        ({"baseline": "none"}, "allowed: published, untrained"),
    ],
)
def test_wrong_baselines_are_refused_by_name(folder: Path, content: dict, message: str) -> None:
    write_yaml(folder / "configs/experiments/sft.yaml", content)
    with pytest.raises(ConfigError, match=message) as caught:
        Project.load()
    assert "sft.yaml" in str(caught.value)


def test_dagster_and_the_plan_treat_them_like_any_experiment(
    folder: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Project, "launchers", instant_launchers)
    declare(folder)
    assert materialize_all(instance)
    assert verdicts(instance) == {}
    assert ours(instance) == set()
    declare(folder, seed=5)
    assert verdicts(instance) == {("reward_model", "sft"): "STALE"}
    assert ("dpo_model", "sft") not in ours(instance)


def test_recovering_evals_makes_a_baseline_s_and_only_what_they_need(
    project: Project, instance: dg.DagsterInstance
) -> None:
    wish = Wish(assets=assets_of(["evals"]))
    plan = make_plan(instance, project, ["sft"], wish)
    made = {asset for asset, _ in plan.recovery.to_run}
    assert made == set(EXPERIMENT_ASSETS) - {"preference_dataset"}


def test_the_leaderboard_says_what_they_are(project: Project) -> None:
    rows = project.catalog.leaderboard_config({"sft": "1", "paper": "2", "exp-a": "3"})["rows"]
    kinds = {row["experiment"]: row.get("baseline", "") for row in rows}
    assert kinds == {"sft": "untrained", "paper": "published", "exp-a": ""}
