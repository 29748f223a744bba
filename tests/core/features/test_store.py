"""The feature store: a row is done when its vector and its record are on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from activeuf_core.features.store import FeatureStore
from activeuf_core.paths import FEATURES

ONES_BD = np.ones((2, 3), dtype=np.float16)


def opened(folder: Path, num_rows: int = 4, size: int = 3) -> FeatureStore:
    return FeatureStore(folder, num_rows, size, "float16")


def fill(folder: Path, rows: list[int]) -> None:
    with opened(folder) as store:
        store.add(rows, ONES_BD[: len(rows)], [5] * len(rows), [True] * len(rows))


def test_new_store_has_nothing_done(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert not any(store.is_done(row) for row in range(4))
    assert store.features_CD.shape == (4, 3)


def test_next_attempt_finds_what_was_done(tmp_path: Path) -> None:
    fill(tmp_path, [3, 1])
    store = opened(tmp_path)
    assert [store.is_done(row) for row in range(4)] == [False, True, False, True]
    assert store.features_CD[:, 0].tolist() == [0, 1, 0, 1]
    assert (store.num_tokens_C[3], store.truncated_C[3]) == (5, True)


def test_error_keeps_what_was_done_before_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), opened(tmp_path) as store:
        store.add([0], ONES_BD[:1], [5], [False])
        store.add([1], ONES_BD[:1], [5 // 0], [False])
    assert opened(tmp_path).is_done(0)


@pytest.mark.parametrize(("num_rows", "size"), [(5, 3), (4, 2)])
def test_store_of_another_shape_starts_anew(tmp_path: Path, num_rows: int, size: int) -> None:
    fill(tmp_path, [3, 1])
    store = opened(tmp_path, num_rows, size)
    assert not store.num_tokens_C.any()
    assert store.features_CD.shape == (num_rows, size)


def test_records_without_their_matrix_do_not_count(tmp_path: Path) -> None:
    fill(tmp_path, [3, 1])
    (tmp_path / FEATURES).unlink()
    assert not opened(tmp_path).num_tokens_C.any()


def test_truncated_matrix_starts_anew(tmp_path: Path) -> None:
    fill(tmp_path, [3, 1])
    matrix = tmp_path / FEATURES
    matrix.write_bytes(matrix.read_bytes()[:-6])
    assert not opened(tmp_path).num_tokens_C.any()


def test_published_matrix_leaves_the_checkpoints(tmp_path: Path) -> None:
    fill(tmp_path, [0, 1])
    opened(tmp_path).publish(tmp_path / "target.npy")
    assert np.load(tmp_path / "target.npy", mmap_mode="r")[1].tolist() == [1, 1, 1]
    assert not (tmp_path / FEATURES).exists()


def test_first_process_takes_over_what_the_others_have(tmp_path: Path) -> None:
    fill(tmp_path, [0])
    for rank, row in ((1, 2), (2, 3)):
        with FeatureStore(tmp_path, 4, 3, "float16", rank) as store:
            store.add([row], ONES_BD[:1] * rank, [5], [rank == 2])
    first = opened(tmp_path)
    first.absorb()
    assert not list(tmp_path.glob("process-*"))
    again = opened(tmp_path)
    assert again.features_CD[:, 0].tolist() == [1, 0, 1, 2]
    assert again.truncated_C.tolist() == [True, False, False, True]


def test_store_of_another_shape_has_nothing_to_take_over(tmp_path: Path) -> None:
    with FeatureStore(tmp_path, 9, 3, "float16", rank=1) as store:
        store.add([8], ONES_BD[:1], [5], [False])
    first = opened(tmp_path)
    first.absorb()
    assert first.num_done == 0


def test_rows_of_another_store_count_as_done(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, 4, 3, "float16", rank=1)
    store.leave(np.array([True, False, False, True]))
    assert [store.is_done(row) for row in range(4)] == [True, False, False, True]
    assert store.num_done == 2
