"""The stage `prompts`: from a file to an artifact, with its counts and checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from activeuf_core import paths
from activeuf_core.errors import DataError
from activeuf_core.prompts.read import run
from activeuf_core.schemas import read_rows
from activeuf_core.stage import StageContext

ROWS = [
    {"prompt_id": 1, "prompt": "one"},
    {"prompt_id": 2, "prompt": "One "},
    {"prompt_id": 3, "prompt": "three" * 20},
    {"prompt_id": 4, "prompt": " "},
    {"prompt_id": 5, "prompt": "five", "source": "s"},
]


@pytest.fixture
def read(make_context: Callable[..., StageContext], tmp_path: Path) -> Callable[..., StageContext]:
    """Return a function that runs the stage on rows with some settings."""

    def read_rows_with(rows: list[dict[str, Any]], **config: Any) -> StageContext:
        path = tmp_path / "source.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows))
        source = {"name": "pool", "identity": "x"}
        context = make_context("prompts", {"source": source, **config}, locations={"pool": path})
        run(context)
        return context

    return read_rows_with


def ids(context: StageContext) -> list[str]:
    return [row["prompt_id"] for row in read_rows(context.output / paths.PROMPTS)]


def test_every_dropped_prompt_is_counted(read: Callable[..., StageContext]) -> None:
    context = read(ROWS, max_characters=50)
    assert ids(context) == ["1", "5"]
    dropped = {k: v for k, v in context.metadata.items() if k.startswith("dropped_")}
    assert dropped == {
        "dropped_blank": 1,
        "dropped_duplicate": 1,
        "dropped_too_long": 1,
        "dropped_over_limit": 0,
    }


def test_all_checks_are_reported_and_pass(read: Callable[..., StageContext]) -> None:
    checks = {check["name"]: check["passed"] for check in read(ROWS).checks}
    assert checks == {"prompts_not_empty": True, "prompts_unique": True, "prompts_length": True}


def test_kept_duplicates_fail_the_check_that_they_concern(
    read: Callable[..., StageContext],
) -> None:
    checks = {check["name"]: check["passed"] for check in read(ROWS, duplicates="keep").checks}
    assert not checks["prompts_unique"]


def test_many_long_prompts_fail_the_length_check(read: Callable[..., StageContext]) -> None:
    checks = {check["name"]: check["passed"] for check in read(ROWS, max_characters=50).checks}
    assert not checks["prompts_length"]


def test_nothing_left_fails_the_blocking_check(read: Callable[..., StageContext]) -> None:
    context = read([ROWS[3]])
    assert ids(context) == []
    failed = [
        check["name"] for check in context.checks if check["blocking"] and not check["passed"]
    ]
    assert failed == ["prompts_not_empty"]


def test_same_id_for_two_texts_stops(read: Callable[..., StageContext]) -> None:
    with pytest.raises(DataError, match="prompt_id '1'"):
        read([ROWS[0], {"prompt_id": "1", "prompt": "other"}])


def test_same_id_for_the_same_text_is_a_duplicate(read: Callable[..., StageContext]) -> None:
    assert ids(read([ROWS[0], ROWS[0]])) == ["1"]


def test_kept_duplicates_without_ids_get_different_ones(
    read: Callable[..., StageContext],
) -> None:
    first, second = ids(read([{"prompt": "a"}, {"prompt": "a"}], duplicates="keep"))
    assert second == f"{first}-2"


def test_limit_and_columns(read: Callable[..., StageContext]) -> None:
    rows = [{"key": f"k{i}", "chosen": [{"role": "user", "content": f"q{i}"}]} for i in range(9)]
    context = read(rows, limit=4, prompt_column="chosen", id_column="key")
    assert len(ids(context)) == 4
    assert context.metadata["dropped_over_limit"] == 5


def test_lengths_are_drawn(read: Callable[..., StageContext]) -> None:
    context = read(ROWS)
    plot = context.output / context.metadata["lengths"]["path"]
    assert 500 < plot.stat().st_size < 25_000
