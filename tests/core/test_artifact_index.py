"""The index of manifests: believed exactly as long as nothing was touched."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from activeuf_core import artifact_index
from activeuf_core.artifact_index import ArtifactIndex, Look
from activeuf_core.artifacts import ArtifactStore, Manifest
from activeuf_core.paths import MANIFEST, Layout

PRINT = "a" * 32
TARGET = ("prompts", PRINT)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    """A store with one artifact, old enough to be indexed."""
    monkeypatch.setattr(artifact_index, "SETTLED_S", -60.0)
    found = ArtifactStore(Layout(tmp_path))
    publish(found, PRINT)
    return found


def publish(store: ArtifactStore, fingerprint: str, name: str = "rows.json", **config: str) -> None:
    output = store.layout.home / "output"
    output.mkdir(parents=True)
    (output / name).write_text("[1]")
    checks = ({"name": "not_empty", "passed": False, "blocking": True},)
    made = {"seconds": 7.5, "gpus": 2}
    store.publish(
        Manifest(
            "prompts",
            "tiny",
            fingerprint,
            "1",
            3,
            {"a": 1, **config},
            {"x": {"p": "q"}},
            checks=checks,
            provenance=made,
        ),
        output,
    )


def look(store: ArtifactStore, **options: bool) -> Look:
    """Look with a new index, and save it."""
    index = ArtifactIndex(store.layout, **options)
    found = index.look(*TARGET)
    index.save()
    return found


@pytest.fixture
def reads(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The artifacts whose manifests are read, from now on, after a first look."""
    look(store)
    seen: list[str] = []
    inspect = ArtifactStore.inspect

    def spying(self: ArtifactStore, asset: str, fingerprint: str, **options: bool) -> object:
        seen.append(fingerprint)
        return inspect(self, asset, fingerprint, **options)

    monkeypatch.setattr(ArtifactStore, "inspect", spying)
    return seen


def test_a_second_look_reads_nothing_and_says_the_same(
    store: ArtifactStore, reads: list[str]
) -> None:
    assert look(store) == Look("", 7.5, 2.0, ("not_empty",))
    assert reads == []


def test_what_it_was_made_from_comes_from_the_index_too(
    store: ArtifactStore, reads: list[str]
) -> None:
    past = ArtifactIndex(store.layout).past(*TARGET)
    assert past is not None and reads == []
    assert (past.version, past.generation, past.inputs) == ("1", 3, {"x": ["q"]})
    assert ArtifactIndex(store.layout).config(*TARGET) == {"a": 1} and reads == []
    assert ArtifactIndex(store.layout).config("prompts", "b" * 32) is None


def edit_in_place(folder: Path) -> None:
    """Change one digit; size, inode and modification time stay."""
    path = folder / MANIFEST
    before = path.stat()
    path.write_text(path.read_text().replace('"seconds": 7.5', '"seconds": 9.5'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def truncate(folder: Path) -> None:
    """Cut the manifest in half."""
    path = folder / MANIFEST
    os.truncate(path, path.stat().st_size // 2)


def replace(folder: Path) -> None:
    """Put another artifact's manifest in its place."""
    body = json.loads((folder / MANIFEST).read_text())
    (folder / "other").write_text(json.dumps({**body, "partition": "x"}))
    os.replace(folder / "other", folder / MANIFEST)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (edit_in_place, "broken: manifest unreadable (its seal"),
        (truncate, "broken: manifest unreadable"),
        (replace, "broken: manifest unreadable (its seal"),
        (lambda folder: (folder / MANIFEST).unlink(), "broken: no manifest"),
        (lambda folder: (folder / "rows.json").write_text("[1, 2]"), "broken: rows.json has 6"),
        (lambda folder: (folder / "rows.json").unlink(), "broken: rows.json is gone"),
        (lambda folder: os.rename(folder, folder.with_name("b" * 32)), "missing"),
    ],
)
def test_what_was_touched_is_not_believed(
    store: ArtifactStore, damage: Callable[[Path], object], reason: str
) -> None:
    assert look(store).is_complete
    damage(store.layout.artifact(*TARGET))
    assert look(store).reason.startswith(reason)
    assert look(store).reason.startswith(reason)


def test_an_artifact_under_another_address_is_foreign(store: ArtifactStore) -> None:
    look(store)
    folder = store.layout.artifact(*TARGET)
    folder.rename(folder.with_name("b" * 32))
    found = ArtifactIndex(store.layout).look("prompts", "b" * 32)
    assert found.reason.startswith("foreign")


def test_digests_believe_no_entry(store: ArtifactStore, reads: list[str]) -> None:
    (store.layout.artifact(*TARGET) / "rows.json").write_text("[2]")
    assert look(store).is_complete
    assert look(store, digests=True).reason.startswith("corrupt: rows.json")
    assert reads == [PRINT]


def test_it_can_be_deleted_or_damaged_at_any_time(store: ArtifactStore, reads: list[str]) -> None:
    path = store.layout.index("prompts")
    path.write_text(path.read_text().replace("7.5", "8.5"))
    assert look(store).seconds == 7.5
    path.unlink()
    assert look(store).seconds == 7.5
    assert reads == [PRINT, PRINT]


def test_what_changed_a_moment_ago_is_not_kept(
    store: ArtifactStore, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact_index, "SETTLED_S", 60.0)
    store.layout.index("prompts").unlink()
    look(store)
    look(store)
    assert reads == [PRINT, PRINT]


def test_what_stands_in_for_work_says_nothing_of_its_price(store: ArtifactStore) -> None:
    publish(store, "f" * 32, stand_in="left out")
    assert ArtifactIndex(store.layout).look("prompts", "f" * 32).seconds == 0.0


def test_of_two_writers_the_later_one_wins_and_the_rest_is_read_again(
    store: ArtifactStore, reads: list[str]
) -> None:
    one, other = ArtifactIndex(store.layout), ArtifactIndex(store.layout)
    publish(store, "b" * 32)
    publish(store, "c" * 32)
    for index, name in ((one, "b" * 32), (other, "c" * 32)):
        assert index.look("prompts", name).is_complete
    one.save()
    other.save()
    reads.clear()
    both = ArtifactIndex(store.layout)
    assert both.look("prompts", "b" * 32) == both.look("prompts", "c" * 32)
    assert reads == ["b" * 32]


def test_entries_of_what_is_gone_are_dropped(store: ArtifactStore, reads: list[str]) -> None:
    store.discard(*TARGET)
    look(store)
    assert PRINT not in store.layout.index("prompts").read_text()
    assert reads == []


def test_a_name_that_fits_no_line_is_read_every_time(
    store: ArtifactStore, reads: list[str]
) -> None:
    publish(store, "b" * 32, name="a\tb")
    reads.clear()
    for _ in range(2):
        index = ArtifactIndex(store.layout)
        assert index.look("prompts", "b" * 32).is_complete
        index.save()
    assert reads == ["b" * 32] * 2


def test_a_home_that_cannot_be_written_is_looked_at_all_the_same(
    store: ArtifactStore, reads: list[str]
) -> None:
    del reads
    store.layout.index("prompts").unlink()
    store.layout.index("prompts").parent.rmdir()
    store.layout.index("prompts").parent.write_text("a file where the folder would be")
    assert look(store).is_complete
