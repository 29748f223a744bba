"""The plan, from what is known: eight states, what changed, what is shared, what it would cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.artifact_index import MISSING, ArtifactIndex, Look, Past
from activeuf_core.catalog import Catalog
from activeuf_core.expected import ExpectedBook
from activeuf_core.paths import Layout
from activeuf_core.plan import (
    TO_RUN,
    Change,
    Knowledge,
    changes_between,
    price,
    sharing,
    statuses,
)
from activeuf_core.recipes import Node
from tests.graph.conftest import write_small_project

LOOP: Node = ("preference_dataset", "exp-a")
DPO: Node = ("dpo_model", "exp-a")
GSM8K: Node = ("gsm8k_score", "exp-a")
IFEVAL: Node = ("ifeval_score", "exp-a")
SCORES: Node = ("scores", "exp-a")
COMPLETE = Look(seconds=60.0, gpus=2.0)


class Archive:
    """What earlier artifacts were made from."""

    def __init__(self, known: Mapping[str, Past], configs: Mapping[str, Mapping[str, Any]]) -> None:
        self.known, self.configs = known, configs

    def past(self, asset: str, fingerprint: str) -> Past | None:
        """Return what an artifact was made from."""
        del asset
        return self.known.get(fingerprint)

    def config(self, asset: str, fingerprint: str) -> Mapping[str, Any] | None:
        """Return an artifact's whole config."""
        del asset
        return self.configs.get(fingerprint)


class AllMissing(dict[tuple[str, str], Look]):
    """Looks: what is not told is missing."""

    def __missing__(self, target: tuple[str, str]) -> Look:
        return MISSING


@pytest.fixture
def book(tmp_path: Path) -> ExpectedBook:
    """The expected recipes of the small project."""
    write_small_project(tmp_path)
    layout = Layout(tmp_path / "home")
    return ExpectedBook(Catalog.load(tmp_path / "configs", layout), ArtifactIndex(layout))


def target(book: ExpectedBook, node: Node) -> tuple[str, str]:
    return node[0], book.fingerprint(*node)


def knowledge(book: ExpectedBook, complete: tuple[Node, ...] = (), **more: Any) -> Knowledge:
    """Return what is known when some nodes are complete and recorded."""
    found = AllMissing({target(book, node): COMPLETE for node in complete})
    recorded = {node: book.fingerprint(*node) for node in complete}
    return dataclasses.replace(Knowledge(found, recorded, Archive({}, {})), **more)


def states(book: ExpectedBook, known: Knowledge, nodes: tuple[Node, ...] = (LOOP, DPO)) -> dict:
    return {node: one.state for node, one in statuses(book, nodes, known).items()}


def test_nothing_is_there_at_first(book: ExpectedBook) -> None:
    found = statuses(book, (LOOP, DPO), knowledge(book))
    assert {one.state for one in found.values()} == {"missing"}
    assert found[DPO].reason == "reads preference_dataset[exp-a], which is not fresh"


def test_complete_and_recorded_is_fresh(book: ExpectedBook) -> None:
    assert set(states(book, knowledge(book, (LOOP, DPO))).values()) == {"fresh"}


def test_complete_without_a_record_has_only_to_be_recorded(book: ExpectedBook) -> None:
    known = knowledge(book, (LOOP, DPO), recorded={})
    assert set(states(book, known).values()) == {"unrecorded"}
    assert price(statuses(book, (LOOP, DPO), known), {}).partitions == 0


def test_a_complete_artifact_is_not_made_again_because_its_input_is_gone(
    book: ExpectedBook,
) -> None:
    assert states(book, knowledge(book, (DPO,))) == {LOOP: "missing", DPO: "fresh"}


def test_an_artifact_that_is_gone_is_missing_and_says_so(book: ExpectedBook) -> None:
    known = knowledge(book, recorded={LOOP: book.fingerprint(*LOOP)})
    found = statuses(book, (LOOP,), known)[LOOP]
    assert (found.state, found.reason) == ("missing", "its artifact is gone")


def test_made_before_from_something_else_is_stale(book: ExpectedBook) -> None:
    known = knowledge(book, (LOOP,))
    known = dataclasses.replace(known, recorded={**known.recorded, DPO: "0" * 32})
    assert states(book, known)[DPO] == "stale"


def test_a_running_job_is_named(book: ExpectedBook) -> None:
    running = {target(book, DPO): "job 7, attempt 2"}.get
    found = statuses(book, (LOOP, DPO), knowledge(book, (LOOP,), running=running))
    assert (found[DPO].state, found[DPO].reason) == ("running", "job 7, attempt 2")


def test_a_failure_is_remembered_until_something_upstream_changes(book: ExpectedBook) -> None:
    failure = {target(book, DPO): "DataError: no"}.get
    assert states(book, knowledge(book, (LOOP,), failure=failure))[DPO] == "failed"
    assert states(book, knowledge(book, (), failure=failure))[DPO] == "missing"


def test_a_broken_artifact_says_what_is_wrong(book: ExpectedBook) -> None:
    failure = {target(book, DPO): "DataError: once, before it was made"}.get
    known = knowledge(book, (LOOP,), failure=failure)
    known.found[target(book, DPO)] = Look("broken: a.txt is gone")  # type: ignore[index]
    found = statuses(book, (LOOP, DPO), known)[DPO]
    assert (found.state, found.reason) == ("broken", "broken: a.txt is gone")


def test_what_reads_a_failed_blocking_check_cannot_be_made(book: ExpectedBook) -> None:
    known = knowledge(book)
    known.found[target(book, LOOP)] = Look(failed_checks=("not_empty",))  # type: ignore[index]
    found = statuses(book, (LOOP, DPO, GSM8K), known)
    assert found[DPO].reason == "preference_dataset[exp-a] failed its blocking checks: not_empty"
    assert [found[node].state for node in (DPO, GSM8K)] == ["blocked", "blocked"]
    assert "blocked" not in TO_RUN


def test_a_table_counts_on_what_will_be_made(book: ExpectedBook) -> None:
    nodes = (LOOP, DPO, GSM8K, SCORES)
    found = statuses(book, nodes, knowledge(book, (LOOP, DPO)))
    assert found[SCORES].reason == "reads gsm8k_score[exp-a], which is not fresh"
    assert book.made_from(*SCORES).inputs["gsm8k_score"] == [found[GSM8K].fingerprint]
    assert book.made_from(*SCORES).inputs["ifeval_score"] == []


def test_a_table_of_nothing_is_blocked(book: ExpectedBook) -> None:
    found = statuses(book, (SCORES,), knowledge(book))
    assert found[SCORES].reason == "none of what it reads is there or can be made"


def test_changes_name_keys_versions_and_inputs(book: ExpectedBook) -> None:
    now, full = book.made_from(*DPO), book.catalog.resolved(*DPO).full
    before = Past("0", 1, "another", {"preference_dataset": ["f" * 32]})
    old = {**full, "epochs": 9, "lora": {"rank": 4}}
    found = {one.what: one for one in changes_between(before, now, lambda: (old, full))}
    assert found["version"] == Change("version", "0", "1")
    assert (found["epochs"].before, found["epochs"].now) == (9, 3)
    assert found["lora.rank"].before == 4
    assert found["generation"] == Change("generation", 1, 0)
    assert found["preference_dataset"].before == "ffffffff"


def test_a_stale_node_says_what_changed_with_both_values(book: ExpectedBook) -> None:
    full, old = book.catalog.resolved(*DPO).full, "0" * 32
    past = dataclasses.replace(book.made_from(*DPO), config_digest="another")
    archive = Archive({old: past}, {old: {**full, "epochs": 9}})
    known = knowledge(book, (LOOP,), archive=archive)
    known = dataclasses.replace(known, recorded={**known.recorded, DPO: old})
    assert statuses(book, (LOOP, DPO), known)[DPO].reason == "epochs: 9 → 3.0"


def test_the_price_comes_from_what_such_artifacts_took(book: ExpectedBook) -> None:
    past = {
        ("dpo_model", name): Look("", seconds, 2.0)
        for name, seconds in (("a", 1800.0), ("b", 5400.0))
    }
    cost = price(statuses(book, (LOOP, DPO), knowledge(book)), past)
    assert (cost.distinct, cost.hours, cost.gpu_hours) == (2, 1.0, 2.0)
    assert cost.unknown == ("preference_dataset",)


def test_partitions_with_the_same_recipe_share_an_artifact(book: ExpectedBook) -> None:
    found = statuses(book, (LOOP, DPO), knowledge(book))
    twin = {("dpo_model", "exp-b"): found[DPO], **found}
    shared = sharing(twin, TO_RUN)
    assert (shared.partitions, shared.artifacts, shared.shared) == (3, 2, 1)
