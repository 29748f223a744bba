"""Rules on raw rows: columns, empty splits, revisions."""

from __future__ import annotations

from typing import Any

import pytest

from activeuf_core.preparation.column_rules import RAW_RULES, RawFacts
from activeuf_core.preparation.config import Gsm8kFormat
from activeuf_core.preparation.findings import Finding, run_rules
from activeuf_core.preparation.revision import Revision

FINE: dict[str, Any] = {
    "counts": {"train": 3, "test": 2},
    "columns": {"train": ("question", "answer"), "test": ("answer", "question")},
    "form": Gsm8kFormat(),
    "revision": Revision("hf", "openai/gsm8k", "0" * 40, is_pinned=True),
}
FAILING: dict[str, dict[str, Any]] = {
    "raw_splits_non_empty": {"counts": {"train": 3, "test": 0}},
    "required_columns": {"columns": {"train": ("question",), "test": ("question", "answer", "x")}},
    "revision_pinned": {"revision": Revision("hf", "openai/gsm8k", "main", is_pinned=False)},
}


def finding(name: str, **changes: Any) -> Finding:
    found = run_rules(RAW_RULES, RawFacts(**{**FINE, **changes}))
    return next(one for one in found if one.name == name)


@pytest.mark.parametrize("name", sorted(FAILING))
def test_a_rule_passes_and_fails(name: str) -> None:
    assert finding(name).passed
    assert not finding(name, **FAILING[name]).passed


def test_faults_of_columns_are_told_by_split() -> None:
    found = finding("required_columns", **FAILING["required_columns"])
    assert "train: missing answer, unknown none; test: missing none, unknown x" in found.description
    assert found.blocking and found.examples[0]["missing"] == ("answer",)


def test_columns_of_an_empty_split_are_not_looked_for() -> None:
    assert finding("required_columns", counts={"train": 3, "test": 0}, columns={"test": ()}).passed
