"""What an experiment leaves out is there, and says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from activeuf_core.artifacts import read_json
from activeuf_core.errors import ConfigError
from activeuf_core.paths import PROJECT, SCORE, UnitFolder
from activeuf_core.stages import stage_of
from activeuf_core.stand_in_stage import run
from tests.fakes.stage_context import MakeContext, make_context, passed

__all__ = ["make_context"]

LEFT_OUT = {"stand_in": "left out", "benchmark": "gsm8k"}


def test_a_left_out_score_is_null_with_a_reason_and_passes_all_checks(
    make_context: MakeContext,
) -> None:
    context = make_context("gsm8k_score", LEFT_OUT)
    run(context)
    score = read_json(context.output / SCORE)
    assert (score["score"], score["reason"]) == (None, "left out")
    assert passed(context) == {check.name: True for check in stage_of("gsm8k_score").checks}
    assert "leaves gsm8k out" in context.checks[0]["description"]


def test_a_published_score_without_a_number_is_no_zero(make_context: MakeContext) -> None:
    context = make_context("gsm8k_score", {"stand_in": "published", "benchmark": "gsm8k"})
    with pytest.raises(ConfigError, match="a published score has no number"):
        run(context)
    assert not (context.output / SCORE).exists()


def test_the_stages_command_writes_it_and_loads_nothing_heavy(tmp_path: Path) -> None:
    unit = {"asset": "gsm8k_score", "config": LEFT_OUT}
    (tmp_path / "unit.yaml").write_text(yaml.safe_dump(unit))
    command = [sys.executable, "-X", "importtime", "-m", "activeuf_core.evals"]
    command += ["--config", str(tmp_path / "unit.yaml"), "--run-dir", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, timeout=60)
    assert done.returncode == 0, done.stdout
    assert (UnitFolder(tmp_path / "run").output / SCORE).is_file()
    assert not any(name in done.stderr for name in ("| torch", "| transformers", "| lm_eval"))
