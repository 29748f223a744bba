"""The readable view of an experiment: links into the store, laid out as people know it.

    experiments/<key>/preference_dataset experiments/<key>/models/dpo/<key>/{config.json,
    model.safetensors, …, results/<benchmark>/metrics.json}
    experiments/<key>/models/reward_models/<key>/{config.json, model.safetensors, …, metrics.json}
    experiments/<key>/{scores, wandb_summary}

A view is never read by the project and can be deleted at any time; the artifacts do not notice.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from activeuf_core.artifacts import read_json
from activeuf_core.evals.benchmarks import BENCHMARKS, Benchmark
from activeuf_core.paths import MANIFEST, SCORE, Layout
from activeuf_core.stand_ins import LEFT_OUT

MODEL_FOLDERS = {"dpo_model": "models/dpo", "reward_model": "models/reward_models"}
SCORE_LINK = "metrics.json"
REWARD_BENCHMARK = "rewardbench2"
"""Its score lies beside the reward model's weights; every other one has a folder."""


def refresh(layout: Layout, experiment: str, asset: str, fingerprint: str) -> None:
    """Point an experiment's view at an artifact of it."""
    artifact = layout.artifact(asset, fingerprint)
    view = layout.experiment(experiment)
    scored = next((row for row in BENCHMARKS if row.asset == asset), None)
    if asset in MODEL_FOLDERS:
        folder = view / MODEL_FOLDERS[asset] / experiment
        if not _shows(folder, artifact):
            _drop_links(folder)
        for path in artifact.iterdir():
            if path.name != MANIFEST:
                _link(folder / path.name, path)
    elif scored is None:
        _link(view / asset, artifact)
    else:
        _show_score(view, experiment, scored, artifact / SCORE)


def _show_score(view: Path, experiment: str, scored: Benchmark, score: Path) -> None:
    """Link a score beside its model; one that is left out has none to show."""
    folder = view / MODEL_FOLDERS[scored.model] / experiment
    if scored.name != REWARD_BENCHMARK:
        folder = folder / "results" / scored.name
    if score.exists() and read_json(score).get("reason") == LEFT_OUT:
        (folder / SCORE_LINK).unlink(missing_ok=True)
    else:
        _link(folder / SCORE_LINK, score)


def _link(link: Path, target: Path) -> None:
    """Make or move a relative link in one step: a reader never finds it absent."""
    link.parent.mkdir(parents=True, exist_ok=True)
    partial = link.with_name(f".{link.name}.{secrets.token_hex(4)}")
    partial.symlink_to(os.path.relpath(target, link.parent))
    os.replace(partial, link)


def _shows(folder: Path, artifact: Path) -> bool:
    """Whether a model's folder links to this artifact already."""
    links = [path for path in folder.glob("*") if path.is_symlink() and path.name != SCORE_LINK]
    return bool(links) and all(path.resolve().parent == artifact.resolve() for path in links)


def _drop_links(folder: Path) -> None:
    """Remove the links of an earlier model, its scores included, and nothing else."""
    for path in folder.rglob("*"):
        if path.is_symlink():
            path.unlink(missing_ok=True)
