"""Dagster's own verdict on what is stale or missing, after edits of files, agrees with ours."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from activeuf_dagster import materialization
from activeuf_dagster.code_location import build
from activeuf_dagster.foreground import run_wave, waves
from activeuf_dagster.graph import dagster_partition
from activeuf_dagster.planning import nodes_of, statuses
from activeuf_dagster.project import Project
from activeuf_dagster.sensors import changed_observations
from tests.fakes.launcher import instant_launchers

Verdicts = dict[tuple[str, str], str]


@pytest.fixture(autouse=True)
def _instant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Project, "launchers", instant_launchers)


def materialize_all(instance: dg.DagsterInstance) -> bool:
    """Bring everything up to date through real Dagster runs; return whether all succeeded."""
    project = Project.load()
    book = project.book()
    found = statuses(instance, book, nodes_of(book, project.catalog.experiments))
    todo = [node for node, status in found.items() if not status.is_fresh]
    results = [run_wave(build(project), instance, wave) for wave in waves(todo, project)]
    return all(results)


def verdicts(instance: dg.DagsterInstance) -> Verdicts:
    """Return Dagster's verdict on every node that is not fresh, after its sensor has looked at the
    files.
    """
    project = Project.load()
    for event in changed_observations(instance, project):
        instance.report_runless_asset_event(event)
    graph = build(project).resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    nodes = nodes_of(project.book(), project.catalog.experiments)
    found = {
        n: resolver.get_status(dg.AssetKey(n[0]), dagster_partition(n[1])).value for n in nodes
    }
    return {node: verdict for node, verdict in found.items() if verdict != "FRESH"}


def ours(instance: dg.DagsterInstance) -> set[tuple[str, str]]:
    """Return the nodes that our own planning calls not fresh."""
    project = Project.load()
    book = project.book()
    found = statuses(instance, book, nodes_of(book, project.catalog.experiments))
    return {node for node, status in found.items() if not status.is_fresh}


def edit(path: Path, change: Callable[[dict], object]) -> None:
    """Change a YAML file in place."""
    body = yaml.safe_load(path.read_text())
    change(body)
    path.write_text(yaml.safe_dump(body))


def test_after_materializing_everything_is_fresh(
    folder: Path, instance: dg.DagsterInstance
) -> None:
    assert materialize_all(instance)
    assert verdicts(instance) == {}
    assert ours(instance) == set()


def test_before_anything_all_is_missing(folder: Path, instance: dg.DagsterInstance) -> None:
    assert set(verdicts(instance).values()) == {"MISSING"}


def test_a_learning_rate_concerns_one_model_of_one_experiment(
    folder: Path, instance: dg.DagsterInstance
) -> None:
    materialize_all(instance)
    edit(
        folder / "configs/experiments/exp-b.yaml",
        lambda b: b["dpo_model"].update(learning_rate=0.5),
    )
    assert verdicts(instance) == {("dpo_model", "exp-b"): "STALE"}
    downstream = {f"{name}_score" for name in ("gsm8k", "minerva_math", "ifeval", "truthfulqa")}
    downstream |= {"dpo_model", "scores", "wandb_summary"}
    assert ours(instance) == {(asset, "exp-b") for asset in downstream} | {("leaderboard", "all")}


def test_an_edit_taken_back_costs_nothing(folder: Path, instance: dg.DagsterInstance) -> None:
    materialize_all(instance)
    path = folder / "configs/experiments/exp-b.yaml"
    before = path.read_text()
    edit(path, lambda b: b["dpo_model"].update(learning_rate=0.5))
    path.write_text(before)
    assert verdicts(instance) == {}
    assert ours(instance) == set()


def test_a_written_out_default_changes_nothing(folder: Path, instance: dg.DagsterInstance) -> None:
    materialize_all(instance)
    edit(
        folder / "configs/experiments/exp-b.yaml",
        lambda b: b["dpo_model"].update(learning_rate=2e-5),
    )
    assert verdicts(instance) == {}
    assert ours(instance) == set()


def test_changed_data_concern_their_dataset_only(
    folder: Path, instance: dg.DagsterInstance
) -> None:
    materialize_all(instance)
    (folder / "pool.jsonl").write_text('{"prompt_id": "2"}\n')
    stale = {asset for asset, _ in verdicts(instance)}
    assert stale == {"prompts", "completions"}


def test_re_materializing_after_an_edit_makes_all_fresh_again(
    folder: Path, instance: dg.DagsterInstance
) -> None:
    materialize_all(instance)
    edit(folder / "configs/experiments/exp-a.yaml", lambda b: b["loop"].update(batch_size=8))
    assert verdicts(instance) == {("preference_dataset", "exp-a"): "STALE"}
    assert materialize_all(instance)
    assert verdicts(instance) == {}
    assert ours(instance) == set()


def test_a_lost_database_is_refilled_from_the_store(
    folder: Path, instance: dg.DagsterInstance
) -> None:
    materialize_all(instance)
    another = dg.DagsterInstance.ephemeral()
    assert materialize_all(another)
    assert verdicts(another) == {}


def test_inputs_that_dagster_does_not_know_are_recorded_with_their_reader(
    folder: Path, instance: dg.DagsterInstance
) -> None:
    materialize_all(instance)
    another = dg.DagsterInstance.ephemeral()
    project = Project.load()
    wave = waves([("scores", "exp-a")], project)[0]
    assert run_wave(build(project), another, wave)
    assert another.get_materialized_partitions(dg.AssetKey("prompts")) == {"tiny"}


def test_a_config_edited_while_its_run_goes_on_is_stale_after_it(
    folder: Path, instance: dg.DagsterInstance
) -> None:
    materialize_all(instance)
    old = Project.load()
    edit(folder / "configs/experiments/exp-b.yaml", lambda b: b["dpo_model"].update(epochs=5))
    assert verdicts(instance) == {("dpo_model", "exp-b"): "STALE"}
    wave = waves([("dpo_model", "exp-b")], old)[0]
    assert run_wave(build(old), instance, wave)
    assert verdicts(instance) == {("dpo_model", "exp-b"): "STALE"}


def test_failed_partitions_fail_the_run_and_others_are_recorded(
    folder: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = functools.partialmethod(instant_launchers, fails={("dpo_model", "exp-b")})
    monkeypatch.setattr(Project, "launchers", failing)
    assert not materialize_all(instance)
    assert instance.get_materialized_partitions(dg.AssetKey("dpo_model")) == {"exp-a", "exp-c"}
    assert instance.get_materialized_partitions(dg.AssetKey("reward_model")) == {
        "exp-a",
        "exp-b",
        "exp-c",
    }
    assert materialization.RANGE_START_TAG in next(iter(instance.get_runs())).tags
