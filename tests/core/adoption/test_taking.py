"""Taking: whole or not at all, not beside a process that works on it, nothing from outside."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from activeuf_core.adoption import homes
from activeuf_core.adoption.homes import differences
from activeuf_core.adoption.offers import Offer, Wanted
from activeuf_core.adoption.places import look
from activeuf_core.adoption.taking import take
from activeuf_core.artifacts import ArtifactStore, FileRecord, Manifest, _sealed
from activeuf_core.errors import ArtifactError, ConfigError
from activeuf_core.paths import MANIFEST, Layout
from activeuf_core.recipes import Node

NODE: Node = ("dpo_model", "exp-a")


@pytest.fixture
def other(wanted: Wanted, tmp_path: Path) -> Path:
    """An artifact of another home, made from exactly what the experiment wants."""
    store = ArtifactStore(Layout(tmp_path / "other"))
    recipe = wanted.recipes[NODE]
    output = tmp_path / "output"
    (output / "inner").mkdir(parents=True)
    (output / "inner" / "weights").write_bytes(b"123")
    config = wanted.resolved(NODE).full
    facts = (*NODE, recipe.fingerprint, recipe.version, 0, config, recipe.inputs)
    store.publish(Manifest(*facts, provenance={"job_id": "theirs"}), output)
    return store.layout.artifact(NODE[0], recipe.fingerprint)


def offer_of(place: Path, wanted: Wanted) -> Offer:
    (found,) = look(place, wanted)
    return found


def test_what_is_proven_keeps_its_provenance_and_says_where_it_came_from(
    wanted: Wanted, other: Path
) -> None:
    manifest = take(offer_of(other, wanted), wanted, "copy")
    assert manifest.provenance["job_id"] == "theirs"
    assert manifest.provenance["adopted"]["recipe"] == "proven by its manifest"
    assert manifest.metadata == {"adopted_from": str(other)}
    assert wanted.book.store.inspect(NODE[0], manifest.fingerprint, digests=True).is_complete


def test_it_is_found_by_its_manifest_wherever_it_lies(
    wanted: Wanted, other: Path, tmp_path: Path
) -> None:
    found = offer_of(other.rename(tmp_path / "renamed"), wanted)
    assert found.is_proven and found.problem == ""


def test_a_process_that_works_on_it_is_not_disturbed(wanted: Wanted, other: Path) -> None:
    fingerprint = wanted.recipes[NODE].fingerprint
    found = offer_of(other, wanted)
    with (
        wanted.book.store.claim(NODE[0], fingerprint),
        pytest.raises(ArtifactError, match="a process works on it"),
    ):
        take(found, wanted, "move")
    assert other.exists() and not list(wanted.layout.imports.iterdir())


def test_what_is_there_already_stays(wanted: Wanted, other: Path) -> None:
    first = take(offer_of(other, wanted), wanted, "copy")
    assert take(offer_of(other, wanted), wanted, "move") == first
    assert other.exists()


def test_files_that_change_while_they_are_copied_are_noticed(wanted: Wanted, other: Path) -> None:
    found = offer_of(other, wanted)
    (other / "inner" / "weights").write_bytes(b"456")
    with pytest.raises(ArtifactError, match="corrupt: inner/weights"):
        take(found, wanted, "link")
    assert not wanted.layout.artifacts.exists()


def test_a_manifest_that_names_files_outside_is_refused(wanted: Wanted, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"1")
    recipe = wanted.recipes[NODE]
    files = (FileRecord("../secret", 1, "0"),)
    facts = (*NODE, recipe.fingerprint, recipe.version, 0, {}, recipe.inputs)
    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / MANIFEST).write_text(json.dumps(_sealed(Manifest(*facts, files=files))))
    assert offer_of(folder, wanted).problem == (
        "its manifest names '../secret', which is outside of it"
    )


def test_links_of_a_view_lead_to_the_artifact(wanted: Wanted, other: Path, tmp_path: Path) -> None:
    view = tmp_path / "view" / "models"
    view.mkdir(parents=True)
    (view / "weights").symlink_to(os.path.relpath(other / "inner", view))
    (view / "odd").symlink_to(tmp_path / "nowhere")
    assert list(homes.artifact_folders(tmp_path / "view")) == []  # inner is no artifact
    (view / "model").symlink_to(other)
    assert list(homes.artifact_folders(tmp_path / "view")) == [other]


def test_what_differs_is_named(wanted: Wanted) -> None:
    recipe = wanted.recipes[NODE]
    config = {"a": {"b": 1, "c": 2}}
    facts = (*NODE, "0", "0", 1, {"a": {"b": 2}, "d": 3}, {"preference_dataset": {"x": "12345678"}})
    (read,) = recipe.inputs["preference_dataset"].values()
    assert differences(Manifest(*facts), recipe, config) == [
        ("version", "0", recipe.version),
        ("generation", "1", "0"),
        ("a.b", "2", "1"),
        ("a.c", "absent", "2"),
        ("d", "3", "absent"),
        ("preference_dataset", "12345678", read[:8]),
    ]


def test_a_place_that_is_not_there_or_says_nothing(wanted: Wanted, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or folder"):
        look(tmp_path / "absent", wanted)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match="expected a folder"):
        look(tmp_path / "notes.txt", wanted)
    (tmp_path / "empty").mkdir()
    assert look(tmp_path / "empty", wanted) == []
