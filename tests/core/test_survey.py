"""What is known of many artifacts at once: complete, running, failed, replaced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from activeuf_core.artifacts import ArtifactStore, Manifest
from activeuf_core.attempts import Attempts
from activeuf_core.catalog import Catalog
from activeuf_core.paths import Layout, RunFolder
from activeuf_core.recipes import Recipe, RecipeBook
from activeuf_core.slurm.waves import Ledger, Owner, Wave
from activeuf_core.survey import survey
from tests.graph.conftest import write_small_project


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    """An empty store."""
    write_small_project(tmp_path)
    return ArtifactStore(Layout(tmp_path / "home"))


@pytest.fixture
def recipe(store: ArtifactStore, tmp_path: Path) -> Recipe:
    """The recipe of one node."""
    catalog = Catalog.load(tmp_path / "configs", store.layout)
    return RecipeBook(catalog, store).recipe("prompts", "tiny")


def target(recipe: Recipe) -> tuple[str, str]:
    return recipe.asset, recipe.fingerprint


def publish(store: ArtifactStore, recipe: Recipe, fingerprint: str) -> None:
    output = store.layout.home / "output"
    output.mkdir(parents=True)
    (output / "rows.json").write_text(json.dumps([]))
    manifest = Manifest(recipe.asset, recipe.partition, fingerprint, "1", 0, recipe.config, {})
    store.publish(manifest, output)


def open_attempt(store: ArtifactStore, recipe: Recipe) -> Ledger:
    """Let a wave with one job own an artifact."""
    ledger = Ledger(store.layout)
    ledger.open(Wave("w", "c", ("job",), {}, Owner.this_process(), 0.0), ["run"])
    Attempts(store.layout).open(*target(recipe), 0, job_id="job", wave="w")
    return ledger


def test_nothing_is_missing_without_a_look(store: ArtifactStore, recipe: Recipe) -> None:
    known = survey(store, [recipe], {})
    assert known.found[target(recipe)].reason == "missing"
    assert not known.running and not known.failures and not known.earlier


def test_what_is_complete_comes_with_its_manifest(store: ArtifactStore, recipe: Recipe) -> None:
    publish(store, recipe, recipe.fingerprint)
    assert survey(store, [recipe], {}).found[target(recipe)].is_complete


def test_digests_find_what_sizes_do_not(store: ArtifactStore, recipe: Recipe) -> None:
    publish(store, recipe, recipe.fingerprint)
    (store.layout.artifact(*target(recipe)) / "rows.json").write_text("{}")
    assert survey(store, [recipe], {}).found[target(recipe)].is_complete
    found = survey(store, [recipe], {}, digests=True).found[target(recipe)]
    assert found.reason.startswith("corrupt: rows.json")


def test_a_job_of_an_open_wave_runs_until_it_has_ended(
    store: ArtifactStore, recipe: Recipe
) -> None:
    ledger = open_attempt(store, recipe)
    assert survey(store, [recipe], {}).running == {target(recipe): "job job, attempt 1"}
    ended = RunFolder(store.layout.run("job")).ended
    ended.parent.mkdir(parents=True)
    ended.write_text("{}")
    assert survey(store, [recipe], {}).running == {}
    ended.unlink()
    ledger.close("w", "over")
    assert survey(store, [recipe], {}).running == {}


def test_a_lock_shows_a_process_of_this_machine(store: ArtifactStore, recipe: Recipe) -> None:
    with store.claim(*target(recipe)):
        assert "a process" in survey(store, [recipe], {}).running[target(recipe)]
    assert survey(store, [recipe], {}).running == {}


def test_failures_are_counted(store: ArtifactStore, recipe: Recipe) -> None:
    for _ in range(3):
        store.note_failure(*target(recipe), "DataError", "row 3\nmore")
    assert survey(store, [recipe], {}).failures == {target(recipe): "DataError (3 times): row 3"}


def test_what_was_recorded_before_is_kept_for_comparison(
    store: ArtifactStore, recipe: Recipe
) -> None:
    publish(store, recipe, "0" * 32)
    known = survey(store, [recipe], {recipe.node: "0" * 32})
    assert known.earlier[recipe.asset, "0" * 32].fingerprint == "0" * 32
