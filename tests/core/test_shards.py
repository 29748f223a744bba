"""Shards: what was written survives, what was not whole is passed over."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from activeuf_core.shards import Shards

SCHEMA = pa.schema([pa.field("row", pa.int64())])


def numbers(folder: Path) -> list[int]:
    return [row["row"] for row in Shards(folder, SCHEMA).rows()]


def test_rows_wait_until_the_interval_is_over(tmp_path: Path) -> None:
    shards = Shards(tmp_path, SCHEMA, interval_s=3600)
    shards.add([{"row": 1}])
    assert numbers(tmp_path) == []
    shards.write()
    assert numbers(tmp_path) == [1]


def test_new_shards_stand_beside_old_ones(tmp_path: Path) -> None:
    for number in range(3):
        Shards(tmp_path, SCHEMA, interval_s=0).add([{"row": number}])
    assert numbers(tmp_path) == [0, 1, 2]


def test_rows_before_an_error_are_kept(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Shards(tmp_path, SCHEMA, interval_s=3600) as shards:
        shards.add([{"row": 1 // (1 - n)} for n in (0,)])
        shards.add([{"row": 1 // (1 - n)} for n in (1,)])
    assert numbers(tmp_path) == [1]


def test_damaged_shard_is_passed_over_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(2):
        Shards(tmp_path, SCHEMA, interval_s=0).add([{"row": number}])
    (tmp_path / "000000.parquet").write_bytes(b"PAR1")
    assert numbers(tmp_path) == [1]
    assert "computed again" in caplog.text


def test_what_rows_point_to_is_made_sure_of_first(tmp_path: Path) -> None:
    seen: list[list[int]] = []
    shards = Shards(
        tmp_path, SCHEMA, interval_s=0, before_write=lambda: seen.append(numbers(tmp_path))
    )
    shards.add([{"row": 7}])
    assert seen == [[]]


def test_clear_forgets_everything(tmp_path: Path) -> None:
    shards = Shards(tmp_path, SCHEMA, interval_s=0)
    shards.add([{"row": 7}])
    shards.clear()
    assert numbers(tmp_path) == []
