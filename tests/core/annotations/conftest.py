"""Fixtures of this room."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from activeuf_core import paths
from activeuf_core.annotations.judge import run
from activeuf_core.paths import PROJECT
from activeuf_core.schemas import COMPLETION, PROMPT, user_message, write_rows
from activeuf_core.stage import StageContext
from tests.fakes import tiny_models
from tests.fakes.stage_context import make_context

__all__ = ["make_context"]

Judged = Callable[..., StageContext]


@pytest.fixture(scope="session")
def judge_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny chat model with room for a rubric."""
    return tiny_models.build(tmp_path_factory.mktemp("models") / "judge", context=4096)


@pytest.fixture(scope="session")
def reward_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny reward model."""
    folder = tmp_path_factory.mktemp("models") / "reward"
    return tiny_models.build(folder, "LlamaForSequenceClassification")


@pytest.fixture
def judged(make_context: Callable[..., StageContext], tmp_path: Path) -> Judged:
    """Return a function that runs the stage with a judge on (prompt, completion) rows."""

    def run_judge(
        judge: Mapping[str, Any],
        prompts: Sequence[Mapping[str, Any]],
        completions: Sequence[Mapping[str, Any]],
        model: Path | None = None,
    ) -> StageContext:
        for name, schema, rows in (
            (paths.PROMPTS, PROMPT, [_prompt(i, row) for i, row in enumerate(prompts)]),
            (paths.COMPLETIONS, COMPLETION, [_answer(i, row) for i, row in enumerate(completions)]),
        ):
            write_rows(tmp_path / name, schema, rows)
        folders = {name: {"d": tmp_path} for name in ("prompts", "completions")}
        locations = {"model": model} if model else {}
        context = make_context("annotations", {"judge": judge}, folders, locations)
        run(context)
        return context

    return run_judge


def _prompt(index: int, row: Mapping[str, Any]) -> dict[str, Any]:
    return {"prompt_id": f"p{index}", "prompt": user_message(row.get("text", "a prompt")), **row}


def _answer(index: int, row: Mapping[str, Any]) -> dict[str, Any]:
    return {"prompt_id": f"p{index}", "model": "m", "completion": "an answer", **row}


@pytest.fixture(scope="session")
def served_model(judge_model: Path) -> Iterator[str]:
    """Return the address of a server that has loaded the judge's model, in its own process."""
    command = [sys.executable, "-m", "tests.fakes.judge_server", str(judge_model)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=PROJECT, **pipes) as process:
        assert process.stdout is not None
        lines = (line.strip() for line in process.stdout)
        yield next(line for line in lines if line.startswith("http"))
        assert process.stdin is not None
        process.stdin.close()
