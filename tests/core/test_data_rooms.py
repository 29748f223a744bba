"""The data rooms one after the other, each by its own command, from a pool file to features."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from activeuf_core import paths
from activeuf_core.schemas import count_rows
from tests.fakes import tiny_models

MODELS = ("a", "b")
LIGHT_MODULES = (
    "activeuf_core.sources",
    "activeuf_core.figures",
    "activeuf_core.shards",
    "activeuf_core.pretrained",
    "activeuf_core.prompts.read",
    "activeuf_core.completions.answer",
    "activeuf_core.annotations.judge",
    "activeuf_core.candidate_pool.join",
)


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    constraints = [{"kind": "contains", "values": ["yes"]}]
    rows = [
        {
            "prompt_id": number,
            "prompt": f"Is {number} a number?",
            "constraints": constraints,
            "completions": [
                {"model": "a", "response": "yes"},
                {"model": "b", "response": "not " * number},
            ],
        }
        for number in range(1, 5)
    ]
    path = tmp_path / "pool.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def make(folder: Path, room: str, unit: Mapping[str, Any], expected: int = 0) -> Path:
    """Run a room's command on one unit; return the run's folder."""
    folder.mkdir()
    body = {"partition": "p", "fingerprint": "f", "version": "1", "generation": 0}
    whole = {**body, "asset": room, "input_fingerprints": {}, **unit}
    (folder / "job.json").write_text(json.dumps({"units": [whole]}))
    command = [sys.executable, "-m", f"activeuf_core.{room}", "--config", str(folder / "job.json")]
    done = subprocess.run([*command, "--run-dir", str(folder)], capture_output=True, text=True)
    assert done.returncode == expected, done.stdout + done.stderr
    return folder / "units" / f"{room}-f"


@pytest.mark.slow
def test_pool_file_becomes_features(tmp_path: Path, pool: Path) -> None:
    data, here = {"name": "pool", "identity": "x"}, {"pool": str(pool)}
    unit: dict[str, Any] = {"config": {"source": data}, "inputs": {}, "locations": here}
    prompts = make(tmp_path / "prompts", "prompts", unit)
    inputs = {"prompts": {"d": str(prompts / "output")}}
    parts: dict[str, dict[str, str]] = {"completions": {}, "annotations": {}}
    for model in MODELS:
        config = {"member": model, "mode": "recorded", "source": data}
        unit = {"config": config, "inputs": inputs, "locations": here}
        answers = make(tmp_path / f"c-{model}", "completions", unit)
        parts["completions"][model] = str(answers / "output")
        unit = {"config": {"judge": {"mode": "verifiable"}}}
        unit["inputs"] = {**inputs, "completions": {model: parts["completions"][model]}}
        judged = make(tmp_path / f"a-{model}", "annotations", unit)
        parts["annotations"][model] = str(judged / "output")
    joined = make(
        tmp_path / "join", "candidate_pool", {"config": {}, "inputs": {**inputs, **parts}}
    )
    assert count_rows(joined / "output" / paths.CANDIDATES) == 8
    model = tiny_models.build(tmp_path / "model")
    unit = {"config": {"model": {"name": "m", "identity": "x"}}, "locations": {"m": str(model)}}
    unit["inputs"] = {"candidate_pool": {"d": str(joined / "output")}}
    extracted = make(tmp_path / "features", "features", unit)
    matrix = np.load(extracted / "output" / paths.FEATURES, mmap_mode="r")
    assert matrix.shape == (8, tiny_models.HIDDEN_SIZE)
    assert np.isfinite(matrix).all()


def test_failure_says_what_to_do(tmp_path: Path) -> None:
    config = {"source": {"name": "pool", "identity": "x"}}
    unit = {"config": config, "inputs": {}, "locations": {"pool": str(tmp_path / "gone.jsonl")}}
    run = make(tmp_path / "run", "prompts", unit, expected=1)
    failure = json.loads((run / "failure.json").read_text())
    assert failure["kind"] == "DataError"
    assert "gone.jsonl: no such file" in failure["message"]


def test_light_modules_load_no_heavy_library() -> None:
    heavy = "('torch', 'transformers', 'datasets', 'matplotlib')"
    code = (
        f"import sys, {', '.join(LIGHT_MODULES)}; print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
