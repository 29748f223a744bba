"""Scores computed again from predictions alone, and what is said when they differ."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.artifacts import read_json, write_json
from activeuf_core.errors import DataError
from activeuf_core.evals import models, rescore
from activeuf_core.evals.benchmarks import BENCHMARKS
from activeuf_core.evals.rescore import main
from activeuf_core.paths import PREDICTIONS, SCORE
from tests.core.evals.conftest import MakeScore

SCORED = ("gsm8k", "minerva_math", "ifeval", "truthfulqa", "rewardbench2")
Artifact = Callable[..., Path]


@pytest.fixture
def artifact(make_score: MakeScore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """Return a maker of published scores; afterwards no model can be loaded."""

    def make(name: str) -> Path:
        context = make_score(name, **({} if name == "rewardbench2" else {"num_fewshot": 0}))
        module = "rewardbench" if name == "rewardbench2" else "harness"
        importlib.import_module(f"activeuf_core.evals.{module}").run(context)
        monkeypatch.setattr(models, "_load", None)
        return Path(shutil.copytree(context.output, tmp_path / f"{name}-artifact"))

    return make


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the first prediction of an artifact."""
    lines = (folder / PREDICTIONS).read_text(encoding="utf-8").splitlines()
    first = json.loads(lines[0])
    change(first)
    (folder / PREDICTIONS).write_text("\n".join([json.dumps(first), *lines[1:]]), encoding="utf-8")


@pytest.mark.parametrize("name", SCORED)
def test_a_score_is_what_its_predictions_give(artifact: Artifact, name: str) -> None:
    folder = artifact(name)
    stored = read_json(folder / SCORE)
    again = rescore.rescore(folder)
    assert again.is_same
    assert again.score == stored["score"]
    assert again.stderr == stored["stderr"]
    assert {k: v for k, v in again.parts.items() if v["n"]} == {
        k: v for k, v in stored["details"]["parts"].items() if v["n"]
    }


def test_every_benchmark_can_be_computed_again() -> None:
    assert set(rescore.RESCORERS) >= {row.name for row in BENCHMARKS}


def test_another_output_gives_another_score(
    artifact: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = artifact("gsm8k")
    edit(folder, lambda row: row.update(output="It is 5."))
    assert main([str(folder)]) == 1
    assert "DIFFERS from the stored 0.0000; 1 values changed: 0" in capsys.readouterr().out


def test_another_score_in_the_record_is_told(artifact: Artifact) -> None:
    folder = artifact("truthfulqa")
    write_json(folder / SCORE, {**read_json(folder / SCORE), "score": 0.123})
    again = rescore.rescore(folder)
    assert not again.is_same
    assert again.changed == []


def test_the_artifact_is_only_read(artifact: Artifact, tmp_path: Path) -> None:
    folder = artifact("ifeval")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert main([str(folder), "--out", str(tmp_path / "again.json")]) == 0
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert read_json(tmp_path / "again.json")["scores"][0]["benchmark"] == "ifeval"


def test_nothing_is_written_into_an_artifact(artifact: Artifact) -> None:
    folder = artifact("gsm8k")
    with pytest.raises(SystemExit, match="lies in a published artifact"):
        main([str(folder), "--out", str(folder / "again.json")])
    assert not (folder / "again.json").exists()


def test_predictions_of_an_earlier_version_are_refused(artifact: Artifact) -> None:
    folder = artifact("ifeval")
    edit(folder, lambda row: row["extra"].pop("question"))
    with pytest.raises(DataError, match="prediction '7' lacks 'question'"):
        rescore.rescore(folder)


def test_what_stands_in_for_a_score_is_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(tmp_path / SCORE, {"benchmark": "gsm8k", "score": None, "reason": "left out"})
    assert main([str(tmp_path)]) == 0
    assert "left out, so there is nothing to compute again" in capsys.readouterr().out


def test_a_folder_that_is_no_score_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert "score.json, predictions.jsonl missing" in capsys.readouterr().out
