"""Which artifacts are referred to, and which are not, and why."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from activeuf_core.artifacts import ArtifactStore, Manifest
from activeuf_core.catalog import Catalog
from activeuf_core.paths import Layout
from activeuf_core.recipes import Node, RecipeBook
from activeuf_core.references import Orphan, orphans, present, referenced, size_of
from tests.graph.conftest import EXPERIMENT, write_small_project, write_yaml

LOOP = ("preference_dataset", "exp-a")
MODEL = ("dpo_model", "exp-a")


@dataclass
class Home:
    """A small project with a store, whose config files are read anew at every question."""

    folder: Path

    @property
    def store(self) -> ArtifactStore:
        return ArtifactStore(Layout(self.folder / "home"))

    def book(self, configs: str = "configs") -> RecipeBook:
        return RecipeBook(Catalog.load(self.folder / configs, self.store.layout), self.store)

    def make(self, *nodes: Node) -> None:
        """Publish one-file artifacts, upstream first."""
        book = self.book()
        for node in nodes:
            recipe = book.recipe(*node)
            output = self.folder / "output"
            output.mkdir()
            (output / "value.json").write_text(json.dumps(node))
            config = book.catalog.resolved(*node).full
            manifest = Manifest(
                recipe.asset, recipe.partition, recipe.fingerprint, "1", 0, config, recipe.inputs
            )
            self.store.publish(manifest, output)

    def edit(self, name: str = "exp-a", **settings: object) -> None:
        """Change an experiment's file."""
        write_yaml(
            self.folder / "configs" / "experiments" / f"{name}.yaml", {**EXPERIMENT, **settings}
        )

    def orphans(self) -> list[Orphan]:
        return orphans(self.store, self.book(), thorough=True)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A small project without artifacts."""
    return Home(write_small_project(tmp_path))


def test_an_empty_home_has_no_orphans(home: Home) -> None:
    assert home.orphans() == [] and not list(present(home.store.layout))


def test_what_partitions_are_made_of_is_referred_to(home: Home) -> None:
    home.make(("prompts", "tiny"), LOOP, MODEL)
    assert set(present(home.store.layout)) <= referenced(home.book())
    assert home.orphans() == []


def test_an_edited_setting_leaves_an_orphan_and_editing_it_back_none(home: Home) -> None:
    home.edit(seed=1)
    home.make(LOOP, MODEL)
    home.edit(seed=1, dpo_model={"base_model": "base", "dpo_beta": 7.0})
    (orphan,) = home.orphans()
    assert (orphan.asset, orphan.partition, orphan.why) == (*MODEL, "changed")
    assert orphan.size == len(json.dumps(MODEL)) and orphan.is_certain
    home.edit(seed=1)
    assert home.orphans() == []


def test_a_removed_experiment_is_an_unknown_partition(home: Home) -> None:
    home.make(MODEL)
    (home.folder / "configs" / "experiments" / "exp-a.yaml").unlink()
    assert [one.why for one in home.orphans()] == ["unknown partition"]


def test_a_renamed_experiment_refers_to_the_same_artifacts(home: Home) -> None:
    home.make(MODEL)
    experiments = home.folder / "configs" / "experiments"
    (experiments / "exp-a.yaml").rename(experiments / "renamed.yaml")
    assert home.orphans() == []


def test_what_another_folder_of_configs_refers_to_is_none(home: Home) -> None:
    shutil.copytree(home.folder / "configs", home.folder / "others")
    home.make(MODEL)
    (home.folder / "configs" / "experiments" / "exp-a.yaml").unlink()
    assert orphans(home.store, home.book(), [home.book("others")]) == []


def test_what_a_referenced_artifact_was_made_from_is_kept(home: Home) -> None:
    home.make(LOOP)
    made = home.book().recipe(*LOOP).fingerprint
    home.edit(seed=3)
    recipe = home.book().recipe(*MODEL)
    output = home.folder / "output"
    output.mkdir()
    (output / "value.json").write_text("{}")
    inputs = {"preference_dataset": {"exp-a": made}}
    home.store.publish(Manifest(*MODEL, recipe.fingerprint, "1", 0, {}, inputs), output)
    assert home.orphans() == []
    assert [one.target for one in orphans(home.store, home.book())] == [(LOOP[0], made)]


def test_an_artifact_of_a_source_that_is_gone_is_doubtful(home: Home) -> None:
    home.make(("features", "tiny"), LOOP)
    shutil.rmtree(home.folder / "base")  # a disk that is not mounted
    found = home.orphans()
    assert {one.asset for one in found} == {"features", "preference_dataset"}
    assert not any(one.is_certain for one in found)


def test_a_folder_without_a_manifest_is_an_orphan_if_nobody_wants_it(home: Home) -> None:
    folder = home.store.layout.artifact("prompts", "f" * 32)
    folder.mkdir(parents=True)
    (folder / "rows").write_bytes(b"123")
    (orphan,) = home.orphans()
    assert (orphan.why, orphan.size, orphan.partition) == ("unreadable", 3, "")
    wanted = home.store.layout.artifact(*referenced_prompts(home))
    folder.rename(wanted)
    assert home.orphans() == []


def test_an_asset_that_is_no_more(home: Home) -> None:
    home.make(MODEL)
    home.store.layout.artifacts.joinpath("dpo_model").rename(home.store.layout.artifacts / "gone")
    assert [one.why for one in home.orphans()] == ["unknown asset"]


def test_a_size_counts_files_and_no_links(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "inner" / "file").write_bytes(b"12345")
    (tmp_path / "elsewhere").write_bytes(b"1" * 1000)
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "elsewhere")
    assert size_of(tmp_path / "folder") == 5
    assert size_of(tmp_path / "folder" / "link") == 0
    assert size_of(tmp_path / "absent") == 0


def referenced_prompts(home: Home) -> tuple[str, str]:
    recipe = home.book().recipe("prompts", "tiny")
    return recipe.asset, recipe.fingerprint
