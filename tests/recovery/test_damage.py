"""What was made is damaged or lost: that alone is made again, and its readers stay fresh."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from activeuf_core.recipes import Node
from tests.recovery.world import World

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
CONTENT = "value.json"


def truncate(artifact: Path) -> None:
    (artifact / CONTENT).write_bytes((artifact / CONTENT).read_bytes()[:-5])


def edit_manifest(artifact: Path) -> None:
    manifest = artifact / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(re.sub(r'"version": "\d+"', '"version": "77"', text))


def delete_file(artifact: Path) -> None:
    (artifact / CONTENT).unlink()


def delete_manifest(artifact: Path) -> None:
    (artifact / "manifest.json").unlink()


MODEL, SCORE = ("dpo_model", "exp-a"), ("gsm8k_score", "exp-a")
CASES: dict[str, tuple[Node, Callable[[Path], object], str]] = {
    "a model is truncated": (MODEL, truncate, "bytes, the manifest says"),
    "a score is truncated": (SCORE, truncate, "bytes, the manifest says"),
    "a manifest is edited": (("preference_dataset", "exp-a"), edit_manifest, "seal does not match"),
    "a manifest is deleted": (("features", "tiny"), delete_manifest, "no manifest"),
    "a file is deleted": (("reward_model", "exp-b"), delete_file, "value.json is gone"),
    "a folder is deleted": (("completions", "tiny--b"), shutil.rmtree, "its artifact is gone"),
    "a score's folder is deleted": (SCORE, shutil.rmtree, "its artifact is gone"),
}


@pytest.mark.parametrize(("node", "damage", "reason"), CASES.values(), ids=CASES)
def test_only_what_is_damaged_is_made_again(
    world: World, node: Node, damage: Callable[[Path], object], reason: str
) -> None:
    damage(world.artifact(*node))
    assert reason in world.reasons()[node]
    world.recovers_exactly({node})


def test_other_bytes_of_the_same_size_are_found_by_their_digest(world: World) -> None:
    content = world.artifact(*MODEL) / CONTENT
    content.write_bytes(content.read_bytes()[::-1])
    assert world.states() == {}
    assert world.states("--digests") == {MODEL: "broken"}


def test_all_artifacts_of_an_asset_are_gone(world: World) -> None:
    shutil.rmtree(world.rig.layout.artifacts / "dpo_model")
    world.recovers_exactly({("dpo_model", name) for name in ("exp-a", "exp-b", "exp-c")})
