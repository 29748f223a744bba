"""Fixtures of this room."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from activeuf_core import paths
from activeuf_core.schemas import ANNOTATION, COMPLETION, PROMPT, user_message, write_rows
from tests.fakes.stage_context import make_context

__all__ = ["make_context"]

Answers = Mapping[str, tuple[str, float | None]]
MakeMember = Callable[..., Path]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Return the folder of an artifact with the prompts p0, p1 and p2."""
    folder = tmp_path / "prompts"
    folder.mkdir()
    rows = [
        {"prompt_id": f"p{i}", "source": "s", "prompt": user_message(f"q{i}")} for i in range(3)
    ]
    write_rows(folder / paths.PROMPTS, PROMPT, rows)
    return folder


@pytest.fixture
def make_member(tmp_path: Path) -> MakeMember:
    """Return a maker of a member's artifacts from prompt id → (completion, overall score)."""

    def make(model: str, answers: Answers, partition: str | None = None) -> Path:
        folder = tmp_path / (partition or model)
        folder.mkdir()
        keys = [{"prompt_id": prompt_id, "model": model} for prompt_id in answers]
        completions = [{**key, "completion": answers[key["prompt_id"]][0]} for key in keys]
        annotations = [
            {**key, "ratings": "{}", "overall_score": answers[key["prompt_id"]][1]} for key in keys
        ]
        write_rows(folder / paths.COMPLETIONS, COMPLETION, completions)
        write_rows(folder / paths.ANNOTATIONS, ANNOTATION, annotations)
        return folder

    return make
