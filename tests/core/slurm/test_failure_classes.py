"""The table of failure classes, in the code and in the runbook."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from activeuf_core.slurm.failure_classes import FAILURES, FailureClass
from activeuf_core.slurm.retries import Limits

RUNBOOK = Path(__file__).parents[3] / "docs" / "runbook.md"
ROWS = list(FAILURES.values())


def policy(row: FailureClass) -> str:
    words = row.action.replace("_", " ")
    return f"{words} (`{row.budget}`)" if row.budget else words


@pytest.mark.parametrize("row", ROWS, ids=list(FAILURES))
def test_the_runbook_says_what_the_code_says(row: FailureClass) -> None:
    line = f"| `{row.name}` | {row.meaning} | {policy(row)} | {row.remedy} |"
    assert line in RUNBOOK.read_text(encoding="utf-8").splitlines(), line


def test_the_runbook_names_no_other_class() -> None:
    section = RUNBOOK.read_text(encoding="utf-8").partition("## On SLURM")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert len(rows) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=list(FAILURES))
def test_meaning_and_remedy_are_sentences(row: FailureClass) -> None:
    for text in (row.meaning, row.remedy):
        assert text[0].isupper()
        assert text.endswith((".", "?"))
        assert "|" not in text


@pytest.mark.parametrize("row", ROWS, ids=list(FAILURES))
def test_every_retry_is_bounded(row: FailureClass) -> None:
    grows = row.action in ("retry_more_memory", "retry_more_time")
    assert grows or (row.action == "retry") == (row.budget is not None)
    assert row.budget is None or row.budget in {field.name for field in fields(Limits)}
