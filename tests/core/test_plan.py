"""The plan, from what is known: seven states, what changed, and what it would cost."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from activeuf_core.artifacts import ArtifactStore, Inspection, Manifest
from activeuf_core.catalog import Catalog
from activeuf_core.paths import Layout
from activeuf_core.plan import Change, Knowledge, changes_between, price, statuses
from activeuf_core.recipes import Node, Recipe, RecipeBook
from tests.graph.conftest import write_small_project

LOOP: Node = ("preference_dataset", "exp-a")
DPO: Node = ("dpo_model", "exp-a")


@pytest.fixture
def book(tmp_path: Path) -> RecipeBook:
    """The recipes of the small project."""
    write_small_project(tmp_path)
    layout = Layout(tmp_path / "home")
    return RecipeBook(Catalog.load(tmp_path / "configs", layout), ArtifactStore(layout))


def manifest(recipe: Recipe, book: RecipeBook, seconds: float = 60.0) -> Manifest:
    return Manifest(
        asset=recipe.asset,
        partition=recipe.partition,
        fingerprint=recipe.fingerprint,
        version=recipe.version,
        generation=recipe.generation,
        config=book.catalog.resolved(*recipe.node).full,
        inputs=recipe.inputs,
        provenance={"seconds": seconds, "gpus": 2},
    )


def knowledge(book: RecipeBook, complete: tuple[Node, ...] = (), **more: object) -> Knowledge:
    """Return what is known when some nodes are complete and recorded."""
    found = {}
    for node in (LOOP, DPO):
        recipe = book.recipe(*node)
        look = (
            Inspection(manifest(recipe, book)) if node in complete else Inspection(None, "missing")
        )
        found[recipe.asset, recipe.fingerprint] = look
    recorded = {node: book.recipe(*node).fingerprint for node in complete}
    return dataclasses.replace(Knowledge(found=found, recorded=recorded), **more)


def states(book: RecipeBook, known: Knowledge) -> dict[Node, str]:
    return {node: one.state for node, one in statuses(book, (LOOP, DPO), known).items()}


def target(book: RecipeBook, node: Node) -> tuple[str, str]:
    return node[0], book.recipe(*node).fingerprint


def test_nothing_is_there_at_first(book: RecipeBook) -> None:
    found = statuses(book, (LOOP, DPO), knowledge(book))
    assert {one.state for one in found.values()} == {"missing"}
    assert found[DPO].reason == "reads preference_dataset[exp-a], which is not fresh"


def test_complete_and_recorded_is_fresh(book: RecipeBook) -> None:
    assert set(states(book, knowledge(book, (LOOP, DPO))).values()) == {"fresh"}


def test_complete_without_a_record_has_only_to_be_recorded(book: RecipeBook) -> None:
    known = knowledge(book, (LOOP, DPO), recorded={})
    assert set(states(book, known).values()) == {"unrecorded"}
    assert price(statuses(book, (LOOP, DPO), known), ()).partitions == 0


def test_what_reads_a_missing_node_is_not_fresh(book: RecipeBook) -> None:
    assert states(book, knowledge(book, (DPO,))) == {LOOP: "missing", DPO: "stale"}


def test_made_before_from_something_else_is_stale(book: RecipeBook) -> None:
    known = knowledge(book, (LOOP,))
    known = dataclasses.replace(known, recorded={**known.recorded, DPO: "0" * 32})
    assert states(book, known)[DPO] == "stale"


def test_a_running_job_is_named(book: RecipeBook) -> None:
    running = {target(book, DPO): "job 7, attempt 2"}
    found = statuses(book, (LOOP, DPO), knowledge(book, (LOOP,), running=running))
    assert (found[DPO].state, found[DPO].reason) == ("running", "job 7, attempt 2")


def test_a_failure_is_remembered_until_something_upstream_changes(book: RecipeBook) -> None:
    failures = {target(book, DPO): "DataError: no"}
    assert states(book, knowledge(book, (LOOP,), failures=failures))[DPO] == "failed"
    assert states(book, knowledge(book, (), failures=failures))[DPO] == "missing"


def test_a_broken_artifact_says_what_is_wrong(book: RecipeBook) -> None:
    known = knowledge(book, (LOOP,))
    broken = Inspection(None, "broken: a.txt is gone")
    failures = {target(book, DPO): "DataError: once, before it was made"}
    found_now = {**known.found, target(book, DPO): broken}
    known = dataclasses.replace(known, found=found_now, failures=failures)
    found = statuses(book, (LOOP, DPO), known)[DPO]
    assert (found.state, found.reason) == ("broken", "broken: a.txt is gone")


def test_changes_name_keys_versions_and_inputs(book: RecipeBook) -> None:
    recipe = book.recipe(*DPO)
    before = dataclasses.replace(
        manifest(recipe, book),
        version="0",
        config={**book.catalog.resolved(*DPO).full, "epochs": 9, "lora": {"rank": 4}},
        inputs={"preference_dataset": {"exp-a": "f" * 32}},
    )
    found = {
        one.what: one for one in changes_between(before, recipe, book.catalog.resolved(*DPO).full)
    }
    assert found["version"] == Change("version", "0", "1")
    assert (found["epochs"].before, found["epochs"].now) == (9, 3)
    assert found["lora.rank"].before == 4
    assert found["preference_dataset"].before == "ffffffff"


def test_the_price_comes_from_what_such_artifacts_took(book: RecipeBook) -> None:
    past = [manifest(book.recipe(*DPO), book, seconds) for seconds in (1800.0, 5400.0)]
    cost = price(statuses(book, (LOOP, DPO), knowledge(book)), past)
    assert (cost.distinct, cost.hours, cost.gpu_hours) == (2, 1.0, 2.0)
    assert cost.unknown == ("preference_dataset",)
