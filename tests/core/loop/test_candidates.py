"""The candidate pool as arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from activeuf_core.errors import DataError
from activeuf_core.loop import candidates
from activeuf_core.loop.candidates import read_candidates


def test_rows_of_a_prompt_are_found(pool: Any) -> None:
    table = pool.write().table()
    assert table.start_P.tolist() == [0, 3, 7, 10, 14, 17, 21]
    assert table.prompt_ids[1] == "p0001"
    assert [table.models[code] for code in table.model_R[3:7]] == ["m0", "m1", "m2", "m3"]
    assert table.score_R[4] == pool.rows[4]["overall_score"]


def test_a_prompt_may_be_cut_by_a_read(
    make_pool: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool(20).write()
    whole = pool.table()
    monkeypatch.setattr(candidates, "ROWS_PER_READ", 4)
    assert pool.table().start_P.tolist() == whole.start_P.tolist()
    assert np.array_equal(pool.table().model_R, whole.model_R)


def test_missing_score_is_nan_never_zero(pool: Any) -> None:
    pool.rows[2]["overall_score"] = None
    assert np.isnan(pool.write().table().score_R[2])


def test_equal_texts_have_equal_digests(pool: Any) -> None:
    pool.rows[1]["completion"] = pool.rows[0]["completion"]
    text_R = pool.write().table().text_R
    assert text_R[0] == text_R[1] != text_R[2]


def test_one_completion_is_refused_by_name(pool: Any) -> None:
    pool.rows = pool.rows[:4] + pool.rows[7:]
    with pytest.raises(DataError, match=r"'p0001' has one completion \(1 such"):
        read_candidates(pool.write().candidates)


def test_prompt_that_comes_twice_is_refused_by_name(pool: Any) -> None:
    pool.rows += pool.rows[:3]
    with pytest.raises(DataError, match="'p0000' begins at row 0 and again at row 21"):
        read_candidates(pool.write().candidates)


def test_adjacent_prompts_of_one_id_are_refused(pool: Any) -> None:
    for row in pool.rows[3:7]:
        row["prompt_id"] = "p0000"
    with pytest.raises(DataError, match="'p0000' has two completions of model 'm0'"):
        read_candidates(pool.write().candidates)


def test_infinite_score_is_refused(pool: Any) -> None:
    pool.rows[4]["overall_score"] = float("inf")
    with pytest.raises(DataError, match=r"row 4 \(prompt 'p0001', model 'm1'\).* score inf \(1 "):
        read_candidates(pool.write().candidates)


def test_empty_pool_is_refused(pool: Any) -> None:
    pool.rows = []
    with pytest.raises(DataError, match=r"0 rows.*Look at what candidate_pool dropped"):
        read_candidates(pool.write().candidates)


def test_file_that_is_not_parquet_is_named(pool: Any) -> None:
    pool.write().candidates.write_text("prompt_id,model")
    with pytest.raises(DataError, match=r"candidates\.parquet: cannot be read"):
        read_candidates(pool.candidates)
