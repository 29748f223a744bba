"""The plan beside what Dagster's UI shows: the same, but for the differences that are named here.

The UI's "stale" and "missing" are the verdicts of `CachingStaleStatusResolver`, which is what its
GraphQL field `staleStatus` asks. Where the two differ, they do by design:

    downstream of stale  the plan follows fingerprints all the way, Dagster one step at a time
    the store            Dagster never looks at it: what is gone from there stays fresh in the UI
    unrecorded           complete in the store, and to Dagster missing, or stale if it knew another
    failed               Dagster's word for it is missing; the failed run shows beside it
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from activeuf_core.artifacts import ArtifactStore
from activeuf_core.recipes import Node
from activeuf_core.stages import stage_of
from activeuf_dagster.planning import nodes_of, statuses
from activeuf_dagster.project import Project
from tests.fakes.launcher import instant_launchers
from tests.graph.test_staleness import edit, materialize_all, verdicts

Pair = tuple[str, str]
AGREE: frozenset[Pair] = frozenset({("missing", "MISSING"), ("stale", "STALE")})
SCORED = ("gsm8k_score", "minerva_math_score", "ifeval_score", "truthfulqa_score")


@pytest.fixture(autouse=True)
def _instant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Project, "launchers", instant_launchers)


@pytest.fixture
def made(folder: Path, instance: dg.DagsterInstance) -> Path:
    """The small project's folder, everything in it materialized."""
    assert materialize_all(instance)
    return folder


def pairs(instance: dg.DagsterInstance) -> dict[Node, Pair]:
    """Return the plan's word and the UI's for every node that is not fresh in both."""
    seen = verdicts(instance)
    project = Project.load()
    book = project.book()
    found = statuses(instance, book, nodes_of(book, project.catalog.experiments))
    both = {node: (one.state, seen.get(node, "FRESH")) for node, one in found.items()}
    return {node: pair for node, pair in both.items() if pair != ("fresh", "FRESH")}


def by_pair(found: dict[Node, Pair]) -> dict[Pair, set[str]]:
    """Return the assets of each pair of words."""
    kinds: dict[Pair, set[str]] = {}
    for (asset, _), pair in found.items():
        kinds.setdefault(pair, set()).add(asset)
    return kinds


def test_before_anything_both_say_missing(folder: Path, instance: dg.DagsterInstance) -> None:
    assert set(pairs(instance).values()) == {("missing", "MISSING")}


def test_after_everything_both_say_fresh(made: Path, instance: dg.DagsterInstance) -> None:
    assert pairs(instance) == {}


def test_an_edited_key_is_stale_in_both_and_what_reads_it_in_the_plan(
    made: Path, instance: dg.DagsterInstance
) -> None:
    edit(made / "configs/experiments/exp-b.yaml", lambda b: b["dpo_model"].update(epochs=5))
    assert by_pair(pairs(instance)) == {
        ("stale", "STALE"): {"dpo_model"},
        ("stale", "FRESH"): {*SCORED, "scores", "wandb_summary", "leaderboard"},
    }


@pytest.fixture
def next_version() -> Iterator[None]:
    """Raise the version of the reward model's stage."""
    stage = stage_of("reward_model")
    before = stage.version
    object.__setattr__(stage, "version", "next")
    yield
    object.__setattr__(stage, "version", before)


def test_a_new_version_is_stale_in_both_and_what_reads_it_in_the_plan(
    made: Path, instance: dg.DagsterInstance, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("next_version")
    found = pairs(instance)
    assert {key for (asset, key), pair in found.items() if pair in AGREE} == {
        "exp-a",
        "exp-b",
        "exp-c",
    }
    assert by_pair(found) == {
        ("stale", "STALE"): {"reward_model"},
        ("stale", "FRESH"): {"rewardbench2_score", "scores", "wandb_summary", "leaderboard"},
    }


def test_a_deleted_or_truncated_artifact_is_seen_by_the_plan_alone(
    made: Path, instance: dg.DagsterInstance
) -> None:
    project = Project.load()
    book = project.book()
    loop, model = ("preference_dataset", "exp-a"), ("dpo_model", "exp-b")
    ArtifactStore(project.layout).discard(loop[0], book.fingerprint(*loop))
    folder = project.layout.artifact(model[0], book.fingerprint(*model))
    os.truncate(folder / "value.json", 0)
    assert pairs(instance) == {loop: ("missing", "FRESH"), model: ("broken", "FRESH")}


def test_after_the_database_is_lost_dagster_misses_what_is_in_the_store(
    made: Path, instance: dg.DagsterInstance
) -> None:
    found = pairs(dg.DagsterInstance.ephemeral())
    assert set(found.values()) == {("unrecorded", "MISSING")}
    assert len(found) == len(nodes_of(Project.load().book(), Project.load().catalog.experiments))


def test_what_another_instance_made_is_stale_to_one_that_knew_an_earlier_one(
    made: Path, instance: dg.DagsterInstance
) -> None:
    edit(made / "configs/experiments/exp-b.yaml", lambda b: b["dpo_model"].update(epochs=5))
    assert materialize_all(dg.DagsterInstance.ephemeral())
    assert by_pair(pairs(instance)) == {
        ("unrecorded", "STALE"): {"dpo_model"},
        ("unrecorded", "FRESH"): {*SCORED, "scores", "wandb_summary", "leaderboard"},
    }


def test_a_renamed_experiment_is_new_to_dagster_and_mostly_there_to_the_plan(
    made: Path, instance: dg.DagsterInstance
) -> None:
    experiments = made / "configs/experiments"
    (experiments / "exp-b.yaml").rename(experiments / "exp-z.yaml")
    found = pairs(instance)
    assert found.pop(("leaderboard", "all")) == ("stale", "FRESH")  # it names its experiments
    assert {key for _, key in found} == {"exp-z"}
    kinds = by_pair(found)
    assert kinds[("missing", "MISSING")] == {"wandb_summary"}  # its run is named after it
    assert "dpo_model" in kinds[("unrecorded", "MISSING")] and len(kinds) == 2


def test_what_failed_is_missing_to_dagster_and_so_is_what_waits_for_it(
    folder: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = functools.partialmethod(instant_launchers, fails={("dpo_model", "exp-b")})
    monkeypatch.setattr(Project, "launchers", failing)
    assert not materialize_all(instance)
    found = pairs(instance)
    assert found.pop(("dpo_model", "exp-b")) == ("failed", "MISSING")
    kinds = by_pair(found)
    assert kinds[("missing", "MISSING")] == set(SCORED)
    assert kinds.keys() - AGREE == {("stale", "FRESH")}  # tables that were made without it


def test_a_forced_re_run_of_equal_content_leaves_what_reads_it_alone(
    made: Path, instance: dg.DagsterInstance
) -> None:
    project = Project.load()
    node = ("features", "tiny")
    ArtifactStore(project.layout).discard(node[0], project.book().fingerprint(*node))
    assert materialize_all(instance)
    assert pairs(instance) == {}
