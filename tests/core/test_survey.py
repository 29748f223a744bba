"""What is known of many artifacts at once: complete, running and how far, failed and how often."""

from __future__ import annotations

from pathlib import Path

import pytest

from activeuf_core.artifact_index import ArtifactIndex
from activeuf_core.artifacts import ArtifactStore, Manifest, write_json
from activeuf_core.attempts import Attempts
from activeuf_core.catalog import Catalog
from activeuf_core.expected import ExpectedBook
from activeuf_core.launchers.base import Target
from activeuf_core.paths import Layout, RunFolder
from activeuf_core.plan import Knowledge
from activeuf_core.recipes import RecipeBook
from activeuf_core.references import orphans
from activeuf_core.slurm.waves import Ledger, Owner, Wave
from activeuf_core.survey import Orphaned, orphaned, survey
from tests.graph.conftest import write_small_project


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    """An empty store."""
    write_small_project(tmp_path)
    return ArtifactStore(Layout(tmp_path / "home"))


@pytest.fixture
def target(store: ArtifactStore, tmp_path: Path) -> Target:
    """The artifact of one node."""
    catalog = Catalog.load(tmp_path / "configs", store.layout)
    return ("prompts", RecipeBook(catalog, store).recipe("prompts", "tiny").fingerprint)


def known(store: ArtifactStore) -> Knowledge:
    return survey(ArtifactIndex(store.layout), {})


def open_attempt(store: ArtifactStore, target: Target) -> Ledger:
    """Let the second job of a wave own an artifact."""
    ledger = Ledger(store.layout)
    wave = Wave("w", "alps", ("other", "job"), {}, Owner.this_process(), 0.0)
    ledger.open(wave, ["run", "run"])
    Attempts(store.layout).open(*target, 0, job_id="job", wave="w")
    return ledger


def say_progress(store: ArtifactStore, target: Target) -> None:
    unit = RunFolder(store.layout.run("job")).unit(f"{target[0]}-{target[1][:12]}")
    said = {"done": 40, "total": 64, "unit": "prompts", "elapsed_s": 300, "eta_s": 180.0}
    write_json(unit.progress, said)


def test_nothing_is_missing_without_a_look(store: ArtifactStore, target: Target) -> None:
    found = known(store)
    assert found.found[target].reason == "missing"
    assert found.running(target) is None and found.failure(target) is None


def test_a_job_of_an_open_wave_runs_until_it_has_ended(
    store: ArtifactStore, target: Target
) -> None:
    ledger = open_attempt(store, target)
    assert known(store).running(target) == "job job, attempt 1"
    ended = RunFolder(store.layout.run("job")).ended
    write_json(ended, {})
    assert known(store).running(target) is None
    ended.unlink()
    ledger.close("w", "over")
    assert known(store).running(target) is None


def test_a_job_that_said_its_end_runs_no_more_though_nobody_closed_it(
    store: ArtifactStore, target: Target
) -> None:
    open_attempt(store, target)
    status = RunFolder(store.layout.run("job")).status
    write_json(status, {"state": "running"})
    assert known(store).running(target) == "job job, attempt 1"
    write_json(status, {"state": "failed"})
    assert known(store).running(target) is None


def test_a_job_is_named_with_its_id_on_the_cluster_and_its_progress(
    store: ArtifactStore, target: Target
) -> None:
    open_attempt(store, target).mark_submitted("w", 23)
    say_progress(store, target)
    said = "job job (SLURM 23_1 on alps), attempt 1: 40 of 64 prompts, about 3 min left"
    assert known(store).running(target) == said


def test_a_lock_shows_a_process_of_this_machine(store: ArtifactStore, target: Target) -> None:
    with store.claim(*target):
        assert known(store).running(target) == "a process on this machine works on it"
        say_progress(store, target)
        assert "job job on this machine: 40 of 64" in str(known(store).running(target))
    assert known(store).running(target) is None


def test_failures_are_counted_and_dated(store: ArtifactStore, target: Target) -> None:
    for _ in range(3):
        store.note_failure(*target, "DataError", "row 3\nmore")
    why = str(known(store).failure(target))
    assert why.startswith("DataError (3 times, last 20") and why.endswith("): row 3")


def test_looks_are_those_that_were_asked_for(store: ArtifactStore, target: Target) -> None:
    found = known(store).found
    assert len(found) == 0
    assert found[target].reason == "missing"
    assert list(found) == [target]


def test_orphans_are_counted_as_they_are_listed(store: ArtifactStore, tmp_path: Path) -> None:
    catalog = Catalog.load(tmp_path / "configs", store.layout)
    for name in ("a" * 32, "b" * 32):
        output = store.layout.home / "output"
        output.mkdir(parents=True)
        (output / "rows").write_text(name)
        store.publish(Manifest("prompts", "tiny", name, "1", 0, {}, {}), output)
    (store.layout.artifact("prompts", "b" * 32) / "manifest.json").unlink()
    store.layout.artifact("no_stage", "c" * 32).mkdir(parents=True)
    listed = orphans(store, RecipeBook(catalog, store))
    counted = orphaned(ExpectedBook(catalog, ArtifactIndex(store.layout)))
    assert counted == Orphaned(len(listed), sum(one.size for one in listed))
    assert counted == Orphaned(3, 64)
