"""Stages that divide their work: several processes make the bytes that one makes, also after one of
them was killed and the next attempt has another number of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from activeuf_core import paths
from activeuf_core.artifacts import read_json
from activeuf_core.jobs import Unit
from activeuf_core.paths import PROJECT, UnitFolder
from activeuf_core.schemas import CANDIDATE, COMPLETION, PROMPT, user_message, write_rows
from activeuf_core.stage import _run_unit, main
from tests.fakes import tiny_models
from tests.fakes.stage_of_several import start, write_down

Make = Callable[..., Path]

NUM_ROWS = 11
RUNS: Mapping[str, str] = {
    "features": "activeuf_core.features.extract:run",
    "completions": "activeuf_core.completions.answer:run",
    "annotations": "activeuf_core.annotations.judge:run",
    "rewardbench2_score": "activeuf_core.evals.rewardbench:run",
}
MODEL = {"name": "model", "identity": "x"}
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "features": {"model": MODEL, "batch_size": 2},
    "completions": {
        "member": "m",
        "mode": "generate",
        "model": MODEL,
        "batch_size": 2,
        "sampling": {"max_new_tokens": 5},
    },
    "llm": {"judge": {"mode": "llm", "model": MODEL, "batch_size": 3, "min_digit_mass": 0.0}},
    "reward_model": {"judge": {"mode": "reward_model", "model": MODEL, "batch_size": 2}},
    "precomputed": {"judge": {"mode": "precomputed"}},
    "rewardbench2_score": {
        "benchmark": "rewardbench2",
        "data": {"name": "rows", "identity": "1"},
        "batch_size": 2,
        "dtype": "float32",
    },
}
FILES: Mapping[str, tuple[str, ...]] = {
    "features": (paths.FEATURES, paths.FEATURE_INDEX),
    "completions": (paths.COMPLETIONS,),
    "llm": (paths.ANNOTATIONS, paths.DIGIT_PROBABILITIES),
    "reward_model": (paths.ANNOTATIONS,),
    "precomputed": (paths.ANNOTATIONS,),
    "rewardbench2_score": (paths.SCORE, paths.PREDICTIONS),
}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny language model, and a tiny reward model."""
    folder = tmp_path_factory.mktemp("models")
    language = tiny_models.build(folder / "language", context=4096)
    reward = tiny_models.build(folder / "reward", "LlamaForSequenceClassification", context=4096)
    return {"language": language, "reward_model": reward}


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, str]:
    """Prompts, completions and candidates of different lengths."""
    texts = ["a completion " * (1 + 3 * i % 7) for i in range(NUM_ROWS)]
    prompts = [
        {"prompt_id": f"p{i}", "source": "s", "prompt": user_message("a prompt " * (1 + i % 3))}
        for i in range(NUM_ROWS)
    ]
    answers = [
        {"prompt_id": f"p{i}", "model": "m", "completion": text, "given_rating": float(i)}
        for i, text in enumerate(texts)
    ]
    rows = [{**p, **a, "ratings": "{}"} for p, a in zip(prompts, answers, strict=True)]
    candidates = [{field: row.get(field) for field in CANDIDATE.names} for row in rows]
    folder = tmp_path / "inputs"
    folder.mkdir()
    write_rows(folder / paths.PROMPTS, PROMPT, prompts)
    write_rows(folder / paths.COMPLETIONS, COMPLETION, answers)
    write_rows(folder / paths.CANDIDATES, CANDIDATE, candidates)
    return dict.fromkeys(("prompts", "completions", "candidate_pool"), str(folder))


@pytest.fixture
def make(
    tmp_path: Path,
    inputs: dict[str, str],
    models: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Make:
    """Return a maker of artifacts: as some processes, or in this one. It returns the run folder."""

    def make(kind: str, count: int, name: str = "run", ends: str = "") -> Path:
        asset = kind if kind in RUNS else "annotations"
        unit = {
            "asset": asset,
            "config": CONFIGS[kind],
            "inputs": {**inputs, "reward_model": str(models["reward_model"])},
            "locations": {
                "model": str(models.get(kind, models["language"])),
                "rows": str(PROJECT / "demo" / "benchmarks" / "rewardbench2.jsonl"),
            },
        }
        folder = tmp_path / name
        if count > 1:
            room = "evals" if asset.endswith("_score") else asset
            start(count, f"activeuf_core.{room}", unit, folder, ends)
        else:
            monkeypatch.setattr(sys, "argv", ["stage", *write_down(unit, folder)])
            assert main(RUNS) == 0
        return folder

    return make


def made(folder: Path, kind: str) -> list[bytes]:
    """Return the content of an artifact's files."""
    return [(folder / "output" / name).read_bytes() for name in FILES[kind]]


def facts(folder: Path) -> dict[str, Any]:
    """Return what an artifact tells about itself."""
    return read_json(folder / "result.json")["metadata"]


@pytest.mark.parametrize("kind", ["completions", "llm"])
def test_several_processes_make_what_one_makes(make: Make, kind: str) -> None:
    alone, both = make(kind, 1, "alone"), make(kind, 2, "both")
    assert made(both, kind) == made(alone, kind)
    assert not (both / "rank-1" / "output" / FILES[kind][0]).exists()
    assert facts(both).get("new_tokens") == facts(alone).get("new_tokens")


@pytest.mark.parametrize("kind", ["features", "reward_model", "rewardbench2_score"])
def test_killed_process_costs_what_it_had_not_finished(make: Make, kind: str) -> None:
    killed = make(kind, 2, "killed", ends="dies:1:1")
    assert not (killed / "result.json").exists()
    assert made(make(kind, 2, "killed"), kind) == made(make(kind, 1, "alone"), kind)


def test_another_number_of_processes_goes_on(make: Make) -> None:
    make("features", 3, "killed", ends="dies:2:1")
    alone = make("features", 1, "killed")
    assert facts(alone)["resumed_candidates"] >= 2
    assert not list((alone / "checkpoints").glob("process-*"))
    assert made(alone, "features") == made(make("features", 1, "alone"), "features")


def test_share_that_fails_says_why(make: Make) -> None:
    folder = make("reward_model", 2, ends="fails:1:2")
    assert read_json(folder / "failure.json")["message"] == "batch 2 of process 1 is bad"
    assert not (folder / "result.json").exists()


def test_work_without_a_model_is_the_first_one_s(make: Make) -> None:
    folder = make("precomputed", 2)
    assert made(folder, "precomputed") == made(make("precomputed", 1, "alone"), "precomputed")
    assert not any((folder / "rank-1" / "output").iterdir())


@pytest.mark.parametrize("asset", ["preference_dataset", "prompts", "leaderboard"])
def test_stage_that_works_as_one_refuses_to_be_several(
    asset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    unit = Unit(asset, "p", "", "", 0, {}, {}, {})
    folder = UnitFolder(tmp_path / "unit")
    assert not _run_unit(unit, folder, {asset: "nowhere:run"})
    assert f"{asset} was started as 2 processes" in read_json(folder.failure)["message"]
