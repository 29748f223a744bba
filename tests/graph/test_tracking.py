"""The W&B summary, with the real library in its offline mode."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from activeuf_core.artifacts import read_json, write_json
from activeuf_core.errors import ConfigError
from activeuf_core.evals.benchmarks import BENCHMARKS
from activeuf_core.paths import METRICS, PROJECT, SCORES
from activeuf_core.reporting.scores import means_of
from activeuf_dagster.project import tracking_mode
from tests.fakes.wandb_server import KEY, SentRun, WandbServer


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """A unit file for the stage: scores, two batches of the loop, two steps of DPO."""
    entries = {
        row.name: {
            "title": row.title,
            "score": 0.5,
            "stderr": 0.1,
            "n": 4,
            "parts": {},
            "missing_parts": [],
            "reason": None,
        }
        for row in BENCHMARKS
    }
    write_json(tmp_path / "s" / SCORES, {"benchmarks": entries, "means": means_of(entries)})
    (tmp_path / "p").mkdir()
    lines = [json.dumps({"step": step, "loss": 0.7 - step / 10}) for step in (0, 1)]
    (tmp_path / "p" / METRICS).write_text("\n".join(lines) + "\n")
    (tmp_path / "d").mkdir()
    lines = [json.dumps({"step": step, "loss": 0.7 - step / 10}) for step in (1, 2)]
    (tmp_path / "d" / METRICS).write_text("\n".join(lines) + "\n")
    body = {
        "asset": "wandb_summary",
        "config": {"experiment": "exp-a"},
        "inputs": {
            "scores": str(tmp_path / "s"),
            "preference_dataset": str(tmp_path / "p"),
            "dpo_model": str(tmp_path / "d"),
        },
        "runtime": {"tracking": {"mode": "offline", "folder": str(tmp_path / "tracking")}},
    }
    write_json(tmp_path / "unit.json", body)
    return tmp_path / "unit.json"


def summarize(unit: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the stage on its own."""
    command = [sys.executable, "-m", "activeuf_dagster.tracking", "--config", str(unit)]
    return subprocess.run(
        [*command, "--run-dir", str(unit.parent / "run")],
        cwd=PROJECT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_an_offline_run_is_written_with_history_and_summary(unit: Path) -> None:
    done = summarize(unit)
    assert done.returncode == 0, done.stdout + done.stderr
    record = read_json(unit.parent / "run" / "output" / "wandb_run.json")
    assert record["history_rows"] == 4
    assert record["summary"]["DPO/Mean"] == 0.5
    assert list((unit.parent / "tracking" / "wandb").glob("offline-run-*/run-*.wandb"))


def test_an_online_run_goes_to_the_server_that_is_named(unit: Path) -> None:
    body = read_json(unit)
    body["runtime"]["tracking"] |= {"mode": "online", "project": "loop", "entity": "team"}
    write_json(unit, body)
    with WandbServer() as server:
        done = summarize(unit, **server.variables)
    assert done.returncode == 0, done.stdout + done.stderr
    [run] = server.runs.values()
    assert run.display_name == "exp-a"
    assert run.summary["DPO/Mean"] == 0.5
    assert len(run.values_of("loss")) == 2
    assert run.values_of("dpo_model/loss") == pytest.approx([0.6, 0.5])
    assert run.values_of("dpo_model/step") == [1, 2]


def test_writing_twice_changes_nothing_and_a_late_score_goes_to_the_same_run(unit: Path) -> None:
    body = read_json(unit)
    body["runtime"]["tracking"] |= {"mode": "online", "project": "loop", "entity": "team"}
    write_json(unit, body)
    with WandbServer() as server:
        assert summarize(unit, **server.variables).returncode == 0
        [first] = [copy.deepcopy(run) for run in server.runs.values()]
        assert summarize(unit, **server.variables).returncode == 0
        [second] = server.runs.values()
        assert [row["_step"] for row in second.history] == [0, 1, 2, 3]
        assert _told(second) == _told(first)
        scores = read_json(unit.parent / "s" / SCORES)
        scores["benchmarks"]["gsm8k"]["score"] = 0.75
        write_json(unit.parent / "s" / SCORES, scores)
        assert summarize(unit, **server.variables).returncode == 0
        [third] = server.runs.values()
        assert third.summary["DPO/GSM8K"] == 0.75


def _told(run: SentRun) -> tuple[list, dict]:
    """Return what a run said, without when."""
    rows = [{k: v for k, v in row.items() if not k.startswith("_")} for row in run.history]
    return rows, {k: v for k, v in run.summary.items() if not k.startswith("_")}


def test_what_is_not_there_is_not_told(unit: Path) -> None:
    body = read_json(unit)
    del body["inputs"]["preference_dataset"]
    (unit.parent / "d" / METRICS).unlink()  # a base model as it is was never trained
    write_json(unit, body)
    assert summarize(unit).returncode == 0
    assert read_json(unit.parent / "run" / "output" / "wandb_run.json")["history_rows"] == 0


@pytest.mark.parametrize(("loss", "name"), [("ipo", "IPO/GSM8K"), ("simpo", "SIMPO/GSM8K")])
def test_other_losses_have_other_names(unit: Path, loss: str, name: str) -> None:
    write_json(unit, read_json(unit) | {"config": {"experiment": "exp-a", "loss_type": loss}})
    assert summarize(unit).returncode == 0
    summary = read_json(unit.parent / "run" / "output" / "wandb_run.json")["summary"]
    assert summary[name] == 0.5
    assert "DPO/GSM8K" not in summary


def test_no_key_is_in_any_file(unit: Path) -> None:
    assert summarize(unit, WANDB_API_KEY=KEY, HF_TOKEN="hf_secret").returncode == 0
    files = [path for path in unit.parent.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert [
        p for p in files if KEY.encode() in p.read_bytes() or b"hf_secret" in p.read_bytes()
    ] == []


def test_online_without_a_key_says_what_to_set(unit: Path) -> None:
    body = read_json(unit)
    body["runtime"]["tracking"]["mode"] = "online"
    write_json(unit, body)
    done = summarize(unit, WANDB_API_KEY="")
    assert done.returncode == 1
    assert "WANDB_API_KEY is not set" in done.stdout


@pytest.mark.parametrize(("key", "mode"), [("", "offline"), ("secret", "online")])
def test_tracking_is_online_only_with_a_key(
    monkeypatch: pytest.MonkeyPatch, key: str, mode: str
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.delenv("ACTIVEUF_TRACKING", raising=False)
    assert tracking_mode() == mode


def test_an_unknown_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIVEUF_TRACKING", "ofline")
    with pytest.raises(ConfigError, match="did you mean 'offline'"):
        tracking_mode()


def test_dagster_wandb_still_imports() -> None:
    """wandb 0.30 removed a module that dagster-wandb 0.29 imports: the lock must stay below it."""
    subprocess.run([sys.executable, "-c", "import dagster_wandb"], check=True, timeout=120)
