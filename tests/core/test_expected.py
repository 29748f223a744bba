"""Expected recipes in bulk: the same fingerprints as one recipe at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from activeuf_core.artifact_index import ArtifactIndex
from activeuf_core.artifacts import ArtifactStore, Manifest
from activeuf_core.catalog import Catalog
from activeuf_core.expected import ExpectedBook
from activeuf_core.paths import Layout
from activeuf_core.recipes import Node, Recipe, RecipeBook
from activeuf_core.stages import STAGES
from tests.graph.conftest import write_small_project

GSM8K: Node = ("gsm8k_score", "exp-a")
SCORES: Node = ("scores", "exp-a")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """The small project's."""
    write_small_project(tmp_path)
    return Catalog.load(tmp_path / "configs", Layout(tmp_path / "home"))


@pytest.fixture
def plain(catalog: Catalog, tmp_path: Path) -> RecipeBook:
    """The recipes one by one."""
    return RecipeBook(catalog, ArtifactStore(Layout(tmp_path / "home")))


def expected(plain: RecipeBook) -> ExpectedBook:
    return ExpectedBook(plain.catalog, ArtifactIndex(plain.store.layout))


def publish(plain: RecipeBook, node: Node) -> Recipe:
    recipe = plain.recipe(*node)
    output = plain.store.layout.home / "output"
    output.mkdir(parents=True)
    (output / "a").write_text("a")
    full = plain.catalog.resolved(*node).full
    plain.store.publish(
        Manifest(*node, recipe.fingerprint, recipe.version, recipe.generation, full, recipe.inputs),
        output,
    )
    return recipe


def all_nodes(catalog: Catalog) -> list[Node]:
    return [(s.asset, key) for s in STAGES for key in catalog.partitions(s.asset)]


def test_fingerprints_are_those_of_the_recipes(plain: RecipeBook) -> None:
    publish(plain, GSM8K)
    plain.store.next_generation("prompts", plain.recipe("prompts", "tiny").base)
    plain.forget_all()
    book = expected(plain)
    for node in all_nodes(plain.catalog):
        assert book.fingerprint(*node) == plain.recipe(*node).fingerprint, node
        assert book.recipe(*node).fingerprint == plain.recipe(*node).fingerprint, node


def test_what_will_be_made_counts_as_there(plain: RecipeBook) -> None:
    book = expected(plain)
    book.expect(*GSM8K)
    before = book.fingerprint(*SCORES)
    assert before != plain.recipe(*SCORES).fingerprint
    publish(plain, GSM8K)
    plain.forget_all()
    assert before == plain.recipe(*SCORES).fingerprint


def test_what_a_node_is_made_from_is_what_its_manifest_says(plain: RecipeBook) -> None:
    publish(plain, GSM8K)
    book = expected(plain)
    assert book.index.past(*GSM8K[:1], book.fingerprint(*GSM8K)) == book.made_from(*GSM8K)
    board = ("leaderboard", "all")
    assert book.configs_beside(*board, {})[1] == plain.recipe(*board).config


def test_settings_beside_an_earlier_config_are_those_of_the_recipe(plain: RecipeBook) -> None:
    features = ("features", "tiny")
    full = dict(plain.catalog.resolved(*features).full)
    del full["storage"]  # an earlier version did not have it
    before, now = expected(plain).configs_beside(*features, {**full, "batch_size": 2})
    assert before == now and "dtype" in now
    assert not {"storage", "batch_size"} & now.keys()
