"""Rows of the preference dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from activeuf_core import paths
from activeuf_core.loop import preferences
from activeuf_core.loop.preferences import write_preferences
from activeuf_core.loop.state import COMPARISON
from activeuf_core.schemas import assistant_message, read_rows


def write(pool: Any, *pairs: tuple[int, int]) -> tuple[list[dict[str, Any]], Any]:
    """Write (chosen row, rejected row) pairs; return the rows and what was seen."""
    comparisons = np.zeros(len(pairs), dtype=COMPARISON)
    comparisons["chosen_row"], comparisons["rejected_row"] = np.array(pairs).reshape(-1, 2).T
    comparisons["batch_index"] = np.arange(len(pairs))
    path = pool.folder / paths.PREFERENCES
    seen = write_preferences(path, pool.candidates, pool.table(), comparisons)
    return read_rows(path), seen


def test_rows_come_in_the_order_of_labelling(pool: Any) -> None:
    rows, _ = write(pool.write(), (18, 20), (1, 0), (8, 9))
    assert [row["prompt_id"] for row in rows] == ["p0005", "p0000", "p0002"]
    assert [row["batch_index"] for row in rows] == [0, 1, 2]


def test_row_holds_both_sides_of_the_pool(pool: Any) -> None:
    (row,), _ = write(pool.write(), (4, 6))
    chosen, rejected = pool.rows[4], pool.rows[6]
    assert row["prompt"] == chosen["prompt"]
    assert row["chosen"] == assistant_message(chosen["completion"])
    assert row["rejected"] == assistant_message(rejected["completion"])
    assert (row["chosen_model"], row["rejected_model"]) == ("m1", "m3")
    assert row["chosen_score"] == chosen["overall_score"]
    assert row["source"] == "synthetic"


def test_texts_are_found_across_groups(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = write(pool.write(), (18, 20), (1, 0), (8, 9))
    monkeypatch.setattr(preferences, "ROW_GROUP", 4)
    assert write(pool, (18, 20), (1, 0), (8, 9))[0] == whole


def test_what_the_checks_need_is_counted(pool: Any) -> None:
    pool.rows[0] |= {"completion": "long answer", "overall_score": 1.0}
    pool.rows[1] |= {"completion": "short", "overall_score": 2.0}
    pool.rows[3]["completion"] = pool.rows[4]["completion"]
    _, seen = write(pool.write(), (0, 1), (3, 4))
    assert (seen.num_rows, seen.num_chosen_longer, seen.num_equal_sides) == (2, 1, 1)
    assert seen.num_inverted >= 1


def test_no_comparison_gives_an_empty_file(pool: Any) -> None:
    rows, seen = write(pool.write())
    assert (rows, seen.num_rows) == ([], 0)
