"""Artifacts: complete means that the manifest and the files agree; everything else is named."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from multiprocessing.queues import Queue
from pathlib import Path

import pytest

from activeuf_core.artifacts import ArtifactStore, Manifest
from activeuf_core.errors import ArtifactError
from activeuf_core.paths import Layout


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(Layout(tmp_path / "home"))


def manifest(fingerprint: str = "f1", **more: object) -> Manifest:
    return Manifest("prompts", "demo", fingerprint, "1", 0, {"limit": 3}, {}, **more)


def publish(store: ArtifactStore, fingerprint: str = "f1", text: str = "rows") -> Path:
    output = store.layout.home / "work" / fingerprint
    (output / "sub").mkdir(parents=True)
    (output / "rows.txt").write_text(text)
    (output / "sub" / "plot.png").write_bytes(b"png")
    store.publish(manifest(fingerprint), output)
    return store.layout.artifact("prompts", fingerprint)


def test_a_published_artifact_is_complete_and_remembers_its_recipe(store: ArtifactStore) -> None:
    publish(store)
    found = store.inspect("prompts", "f1", digests=True).manifest
    assert found is not None
    assert found.config == {"limit": 3}
    assert [file.path for file in found.files] == ["rows.txt", "sub/plot.png"]


def test_what_was_never_published_is_missing(store: ArtifactStore) -> None:
    assert store.inspect("prompts", "f1").reason == "missing"
    with pytest.raises(ArtifactError, match="Materialize prompts"):
        store.require("prompts", "f1")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda d: (d / "rows.txt").unlink(), "broken: rows.txt is gone"),
        (lambda d: (d / "rows.txt").write_text("ro"), "broken: rows.txt has 2 bytes"),
        (lambda d: (d / "manifest.json").unlink(), "broken: no manifest"),
        (lambda d: (d / "manifest.json").write_text('{"asset": '), "broken: manifest unreadable"),
        (lambda d: (d / "manifest.json").write_text("[]"), "broken: manifest unreadable"),
    ],
)
def test_damage_is_named(
    store: ArtifactStore, damage: Callable[[Path], object], reason: str
) -> None:
    damage(publish(store))
    assert store.inspect("prompts", "f1").reason.startswith(reason)


def test_an_edited_manifest_breaks_its_seal(store: ArtifactStore) -> None:
    path = publish(store) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "config": {"limit": 4}}))
    assert "seal" in store.inspect("prompts", "f1").reason


def test_equal_size_but_other_content_shows_when_digests_are_read(store: ArtifactStore) -> None:
    (publish(store) / "rows.txt").write_text("ROWS")
    assert store.inspect("prompts", "f1").is_complete
    assert store.inspect("prompts", "f1", digests=True).reason.startswith("corrupt: rows.txt")


def test_a_folder_in_anothers_place_is_foreign(store: ArtifactStore) -> None:
    publish(store, "f1").rename(store.layout.artifact("prompts", "f2"))
    assert store.inspect("prompts", "f2").reason.startswith("foreign")


def test_a_complete_artifact_is_never_overwritten(store: ArtifactStore) -> None:
    folder = publish(store)
    output = store.layout.home / "again"
    output.mkdir()
    (output / "rows.txt").write_text("other")
    store.publish(manifest(), output)
    assert (folder / "rows.txt").read_text() == "rows"


def test_a_broken_one_is_set_aside_and_replaced(store: ArtifactStore) -> None:
    folder = publish(store)
    (folder / "rows.txt").unlink()
    output = store.layout.home / "again"
    output.mkdir()
    (output / "rows.txt").write_text("new")
    store.publish(manifest(), output)
    assert (folder / "rows.txt").read_text() == "new"
    assert len(list(store.layout.trash.iterdir())) == 1


def test_an_empty_output_is_not_published(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match="without writing a file"):
        store.publish(manifest(), tmp_path / "empty")
    assert store.inspect("prompts", "f1").reason == "missing"


def test_generations_count_up(store: ArtifactStore) -> None:
    assert store.generation("prompts", "r") == 0
    assert [store.next_generation("prompts", "r") for _ in range(2)] == [1, 2]
    assert store.generation("prompts", "r") == 2


def _hold(home: Path, ready: Queue, release: Queue) -> None:
    with ArtifactStore(Layout(home)).claim("prompts", "f1") as ours:
        ready.put(ours)
        release.get()


def test_a_claim_holds_between_processes_and_ends_with_its_process(store: ArtifactStore) -> None:
    context = multiprocessing.get_context("spawn")
    ready, release = context.Queue(), context.Queue()
    holder = context.Process(target=_hold, args=(store.layout.home, ready, release))
    holder.start()
    assert ready.get(timeout=60) is True
    assert store.is_claimed("prompts", "f1")
    holder.kill()
    holder.join()
    assert not store.is_claimed("prompts", "f1")


def test_failed_blocking_checks_are_listed() -> None:
    checks = tuple(
        {"name": n, "passed": p, "blocking": b}
        for n, p, b in [("a", 0, 1), ("b", 0, 0), ("c", 1, 1)]
    )
    assert manifest(checks=checks).failed_blocking_checks == ("a",)
