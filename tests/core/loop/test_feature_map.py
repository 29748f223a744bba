"""Features from a memory map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from activeuf_core.errors import DataError
from activeuf_core.features.precision import decode, encode
from activeuf_core.loop.feature_map import FeatureMap


def open_map(pool: Any) -> FeatureMap:
    pool.write()
    return FeatureMap(pool.matrix, pool.index, pool.table())


def test_rows_come_in_the_order_asked_for(pool: Any) -> None:
    rows = np.array([5, 0, 17])
    features = open_map(pool).read(rows)
    assert features.dtype == np.float16
    assert np.array_equal(features, pool.features[rows])


def test_bfloat16_is_read_as_float32(pool: Any) -> None:
    expected = decode(encode(pool.features.astype(np.float32), "bfloat16"))
    pool.features = encode(pool.features.astype(np.float32), "bfloat16")
    feature_map = open_map(pool)
    assert feature_map.dtype == feature_map.read(np.array([2])).dtype == np.float32
    assert np.array_equal(feature_map.read(np.arange(5)), expected[:5])


def test_result_is_a_copy_not_a_view_of_the_file(pool: Any) -> None:
    features = open_map(pool).read(np.array([0, 1]))
    assert features.flags.owndata or not isinstance(features, np.memmap)
    features[:] = 0


def test_reading_leaves_no_pages_behind(make_pool: Any) -> None:
    pool = make_pool(8)
    pool.features = np.ones((len(pool.rows), 200_000), dtype=np.float32)
    feature_map = open_map(pool)
    before = _file_pages_kb()
    for row in range(len(pool.rows)):
        feature_map.read(np.array([row]))
    assert _file_pages_kb() - before < pool.features.nbytes / 1024 / 4


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_feature_that_is_not_finite_is_named(pool: Any, value: float) -> None:
    pool.features[4, 7] = value
    feature_map = open_map(pool)
    feature_map.read(np.arange(4))
    with pytest.raises(
        DataError, match=r"row 4 \(prompt 'p0001', model 'm1'\) has a feature.*value 7 of 12"
    ):
        feature_map.read(np.arange(3, 7))


def test_other_number_of_rows_is_refused(pool: Any) -> None:
    pool.features = pool.features[:-1]
    with pytest.raises(DataError, match=r"shape \(20, 12\).*the candidate pool has 21 rows"):
        open_map(pool)


@pytest.mark.parametrize("dtype", [np.float64, np.int8])
def test_other_type_is_refused(pool: Any, dtype: type) -> None:
    pool.features = pool.features.astype(dtype)
    with pytest.raises(DataError, match=r"expected .* as float32, float16, bfloat16"):
        open_map(pool)


def test_other_shape_is_refused(pool: Any) -> None:
    pool.features = pool.features[:, 0]
    with pytest.raises(DataError, match=r"shape \(21,\)"):
        open_map(pool)


def test_features_of_another_pool_are_refused(pool: Any) -> None:
    pool.write()
    table = pool.table()
    pool.rows[3], pool.rows[4] = pool.rows[4], pool.rows[3]
    pool.write()
    with pytest.raises(DataError, match="name another model than the candidate pool"):
        FeatureMap(pool.matrix, pool.index, table)


@pytest.mark.parametrize("change", ["value", "width", "type"])
def test_digest_tells_features_apart(pool: Any, change: str) -> None:
    before = open_map(pool).digest()
    assert open_map(pool).digest() == before
    if change == "value":
        pool.features[9, 3] += 1
    elif change == "width":
        pool.features = pool.features[:, :-1]
    else:
        pool.features = pool.features.astype(np.float32)
    assert open_map(pool).digest() != before


def test_torn_file_is_named(pool: Any) -> None:
    pool.write()
    path = pool.matrix
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"features\.npy: cannot be read as a NumPy array"):
        FeatureMap(pool.matrix, pool.index, pool.table())


def _file_pages_kb() -> int:
    with open("/proc/self/status", encoding="utf-8") as handle:
        return next(int(line.split()[1]) for line in handle if line.startswith("RssFile"))
