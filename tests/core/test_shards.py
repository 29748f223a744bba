"""Shards: what was written survives, what was not whole is passed over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from activeuf_core import processes
from activeuf_core.processes import Processes
from activeuf_core.shards import Shards, Worklist
from tests.fakes.stage_context import MakeContext, make_context

__all__ = ["make_context"]

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


def test_processes_write_files_of_their_own(tmp_path: Path) -> None:
    for rank in range(3):
        Shards(tmp_path, SCHEMA, rank=rank, interval_s=0).add([{"row": rank}])
    Shards(tmp_path, SCHEMA, rank=2, interval_s=0).add([{"row": 3}])
    assert sorted(numbers(tmp_path)) == [0, 1, 2, 3]
    assert len(list(tmp_path.glob("*-2.parquet"))) == 2


def worked(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch, rank: int, count: int
) -> list[list[int]]:
    """Let one of some processes work on ten rows; return the batches that it computed."""
    monkeypatch.setattr(processes, "current", lambda: Processes(rank, count))
    monkeypatch.setattr(processes, "gather", lambda value: [value] * count)
    computed: list[list[int]] = []

    def compute(batch: Sequence[int]) -> list[dict[str, int]]:
        computed.append(list(batch))
        return [{"row": index} for index in batch]

    with Worklist(make_context("thing", {}), SCHEMA, ("row",), 10, "rows") as worklist:
        for start in (0, 4, 8):
            batches = [[start, start + 1], [start + 2, start + 3]][: 1 if start == 8 else 2]
            worklist.work([(row,) for row in range(10)], batches, compute)
    return computed


def test_batches_are_dealt_out_across_calls(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert worked(make_context, monkeypatch, 1, 3) == [[2, 3], [8, 9]]
    assert worked(make_context, monkeypatch, 0, 3) == [[0, 1], [6, 7]]


def test_another_number_of_processes_does_only_what_is_left(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked(make_context, monkeypatch, 1, 3)
    assert worked(make_context, monkeypatch, 0, 1) == [[0, 1], [4, 5], [6, 7]]
    assert worked(make_context, monkeypatch, 0, 2) == []


def test_rows_of_other_processes_are_there_at_the_end(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = make_context("thing", {})
    late = tmp_path / "late"
    monkeypatch.setattr(processes, "current", lambda: Processes(0, 2))

    def gather(mine: list[Path]) -> list[list[Path]]:
        shards = Shards(late, SCHEMA, rank=1, interval_s=0)
        shards.add([{"row": 7}])
        return [mine, shards.written]

    monkeypatch.setattr(processes, "gather", gather)
    with Worklist(context, SCHEMA, ("row",), 2, "rows") as worklist:
        assert not worklist.done
    assert list(worklist.done) == [(7,)]


def test_error_does_not_wait_for_the_others(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "gather", lambda value: pytest.fail("waits"))
    with (
        pytest.raises(ZeroDivisionError),
        Worklist(make_context("thing", {}), SCHEMA, ("row",), 1, "rows"),
    ):
        raise ZeroDivisionError
