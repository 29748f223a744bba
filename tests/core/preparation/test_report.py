"""The report: what it tells, and that nothing breaks its tables."""

from __future__ import annotations

from typing import Any

from activeuf_core.preparation.report import render
from activeuf_core.preparation.statistics import describe
from tests.core.preparation.made_rows import row

CHECK = {"skipped": False, "blocking": True, "values": {}, "examples": []}
SPLIT = {**describe([row("a", "1,000")]), "official": True, "sha256": "f" * 64}


def body(*checks: dict[str, Any]) -> dict[str, Any]:
    return {
        "config_name": "sums",
        "revision": {
            "kind": "kaggle",
            "name": "own/sums",
            "revision": "3",
            "files": {"a": "e" * 64},
        },
        "splits": {"test": SPLIT},
        "dropped": {"repeated": 2},
        "validation": {"checks": [{**CHECK, **check} for check in checks]},
    }


def test_origin_counts_and_what_was_left_out() -> None:
    text = render(body())
    assert "Source: kaggle `own/sums`, revision `3`.\n- `a` sha256 `eee" in text
    assert "| test | 1 | 1 | official | `ffffffffffff` |" in text
    assert "| test | 1 | 1 | 1 | 0 | 0 | 1 | 0 |" in text
    assert "- repeated: 2" in text


def test_a_source_of_many_files_is_told_in_short() -> None:
    files = {f"part-{number}": "0" for number in range(30)}
    text = render({**body(), "revision": {**body()["revision"], "files": files}})
    assert "`part-9`" in text and "`part-10`" not in text and "and 20 more" in text


def test_results_in_words() -> None:
    text = render(
        body(
            {"name": "one", "passed": True, "description": "Fine."},
            {"name": "two", "passed": False, "description": "Bad."},
            {"name": "three", "passed": False, "description": "So so.", "blocking": False},
            {"name": "four", "passed": True, "description": "Not.", "skipped": True},
        )
    )
    found = [line.split(" | ")[1] for line in text.splitlines() if line.endswith(". |")]
    assert found == ["passed", "**failed**", "warning", "skipped"]


def test_offending_rows_stand_below_on_one_line_each() -> None:
    examples = [{"split": "train", "question": "a |\n b"}]
    text = render(body({"name": "two", "passed": False, "description": "B.", "examples": examples}))
    assert "### two\n\n- split: train; question: a \\| b" in text
