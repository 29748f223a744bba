"""The readable view reproduces the layout that the seed's users know."""

from __future__ import annotations

import json
from pathlib import Path

from activeuf_core.artifacts import ArtifactStore, Manifest
from activeuf_core.paths import SCORE, Layout
from activeuf_core.view import refresh


def publish(layout: Layout, asset: str, fingerprint: str, **files: str) -> None:
    output = layout.home / "work"
    output.mkdir(parents=True)
    for name, text in files.items():
        (output / name.replace("__", ".")).write_text(text)
    ArtifactStore(layout).publish(Manifest(asset, "e", fingerprint, "1", 0, {}, {}), output)


def test_models_and_scores_are_found_where_they_are_expected(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    publish(layout, "dpo_model", "d1", config__json="{}")
    publish(layout, "gsm8k_score", "g1", score__json=json.dumps({"score": 0.5}))
    publish(layout, "rewardbench2_score", "r1", score__json=json.dumps({"score": 0.25}))
    for asset, fingerprint in [
        ("dpo_model", "d1"),
        ("gsm8k_score", "g1"),
        ("rewardbench2_score", "r1"),
    ]:
        refresh(layout, "e", asset, fingerprint)
    models = layout.experiment("e") / "models"
    assert (models / "dpo/e/config.json").read_text() == "{}"
    assert json.loads((models / "dpo/e/results/gsm8k/metrics.json").read_text()) == {"score": 0.5}
    assert json.loads((models / "reward_models/e/metrics.json").read_text()) == {"score": 0.25}
    assert SCORE == "score.json"


def test_a_new_model_replaces_the_links_and_its_old_scores(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    publish(layout, "dpo_model", "d1", config__json="1", adapter__bin="old")
    publish(layout, "dpo_model", "d2", config__json="2")
    publish(layout, "gsm8k_score", "g1", score__json="{}")
    refresh(layout, "e", "dpo_model", "d1")
    refresh(layout, "e", "gsm8k_score", "g1")
    refresh(layout, "e", "dpo_model", "d2")
    folder = layout.experiment("e") / "models/dpo/e"
    assert [path.name for path in folder.rglob("*.json")] == ["config.json"]
    assert (folder / "config.json").read_text() == "2"
