"""Every stage has the same two options, and its command makes what the table of stages says."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from activeuf_core.paths import PROJECT
from activeuf_core.stages import STAGES, Stage

COMMANDS = sorted({stage.module for stage in STAGES})


def run_command(module: str) -> int:
    """Run `python -m module` in this process; return its exit status."""
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__")
    return int(ended.value.code or 0)


@pytest.mark.parametrize("module", COMMANDS)
def test_a_command_has_two_options_and_no_more(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["stage", "--help"])
    assert run_command(module) == 0
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert options == {"--help", "--config", "--run-dir"}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.asset)
def test_a_command_names_functions_that_exist(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables: list[Mapping[str, str]] = []
    monkeypatch.setattr("activeuf_core.stage.main", lambda runs: tables.append(runs))
    assert run_command(stage.module) == 0
    module, _, function = tables[0][stage.asset].partition(":")
    tree = ast.parse(PROJECT.joinpath(*module.split(".")).with_suffix(".py").read_text("utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("path", sorted((PROJECT / "activeuf_core").glob("*/__main__.py")))
def test_every_command_belongs_to_a_stage(path: Path) -> None:
    assert f"activeuf_core.{path.parent.name}" in COMMANDS
