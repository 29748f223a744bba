"""The benchmarks of one model in one job: one load, each with its own fate, in any number of
processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.artifacts import read_json
from activeuf_core.evals import models
from activeuf_core.jobs import Unit
from activeuf_core.paths import PREDICTIONS, SCORE, RunFolder
from activeuf_core.stage import main
from tests.core.evals.conftest import MakeScore
from tests.fakes.stage_of_several import start, write_down

BENCHMARKS = ("gsm8k", "minerva_math", "ifeval", "truthfulqa")
RUNS = {f"{name}_score": "activeuf_core.evals.harness:run" for name in BENCHMARKS}


@pytest.fixture
def units(make_score: MakeScore) -> dict[str, Unit]:
    """A unit per benchmark of one policy."""
    made = {name: make_score(name).unit for name in BENCHMARKS}
    return {name: replace(unit, fingerprint=name * 4) for name, unit in made.items()}


def run_here(units: Mapping[str, Unit], folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run units as one process, this one."""
    body = {"units": [asdict(unit) for unit in units.values()]}
    monkeypatch.setattr("sys.argv", ["evals", *write_down(body, folder)])
    return main(RUNS)


def told(folder: Path, units: Mapping[str, Unit]) -> dict[str, tuple[str, Any]]:
    """Return predictions and scores of a run."""
    outputs = {name: RunFolder(folder).unit(unit.name).output for name, unit in units.items()}
    return {
        name: ((output / PREDICTIONS).read_text("utf-8"), read_json(output / SCORE))
        for name, output in outputs.items()
    }


def test_the_benchmarks_of_a_model_load_it_once(
    units: dict[str, Unit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Path] = []
    load = models._load
    monkeypatch.setattr(models, "_load", lambda *a: (loads.append(a[0]), load(*a))[1])
    assert run_here(units, tmp_path / "run", monkeypatch) == 0
    assert len(loads) == 1


def test_bad_rows_of_one_leave_the_others_scored(
    units: dict[str, Unit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"question": "x", "answer": "no number"}\n', encoding="utf-8")
    units["gsm8k"] = replace(units["gsm8k"], locations={"rows": str(bad)})
    assert run_here(units, tmp_path / "run", monkeypatch) == 1
    folders = {name: RunFolder(tmp_path / "run").unit(unit.name) for name, unit in units.items()}
    assert [name for name in BENCHMARKS if folders[name].result.exists()] == [*BENCHMARKS[1:]]
    failure = read_json(folders["gsm8k"].failure)
    assert "column 'answer' holds 'no number'" in failure["message"]
    assert not failure["retryable"]


@pytest.mark.slow
def test_two_processes_predict_what_one_predicts(
    units: dict[str, Unit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"units": [asdict(unit) for unit in units.values()]}
    assert start(2, "activeuf_core.evals", body, tmp_path / "two") == 0
    assert run_here(units, tmp_path / "one", monkeypatch) == 0
    assert told(tmp_path / "two", units) == told(tmp_path / "one", units)
    judged = list((tmp_path / "two").glob(f"**/{SCORE}"))
    assert len(judged) == len(units)  # by the first process alone
