"""Sources: every format, and every way in which one is broken."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from activeuf_core.errors import DataError
from activeuf_core.sources import identifier, iterate_source

ROWS = [{"id": 1, "text": "eins"}, {"id": 2, "text": "zwei, drei"}]


def values(location: Path | str, **options: Any) -> list[dict[str, Any]]:
    return [row.values for row in iterate_source(str(location), **options)]


def json_lines() -> bytes:
    return "\n".join(json.dumps(row) for row in ROWS).encode()


@pytest.mark.parametrize(
    ("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)]
)
def test_json_lines_packed_or_not(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"rows.jsonl{suffix}"
    path.write_bytes(pack(json_lines()))
    assert values(path) == ROWS


def test_json_row_knows_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2}\n')
    assert [row.where for row in iterate_source(str(path))] == [f"{path}:1", f"{path}:3"]


def test_csv_with_a_comma_and_a_line_break_in_a_cell(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('id,text\n1,"a, b\nc"\n\n2,d\n')
    assert values(path) == [{"id": "1", "text": "a, b\nc"}, {"id": "2", "text": "d"}]


def test_parquet_reads_only_the_columns_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    assert values(path, columns=["text", "absent"]) == [{"text": row["text"]} for row in ROWS]


def test_saved_folder_with_splits(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    saved = datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)})
    saved.save_to_disk(str(tmp_path / "saved"))
    assert values(tmp_path / "saved", columns=["id"]) == [{"id": 1}, {"id": 2}]
    with pytest.raises(DataError, match=r"no split 'test'.*train"):
        values(tmp_path / "saved", split="test")


def test_folder_of_data_files(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "train.jsonl").write_bytes(json_lines())
    assert values(tmp_path) == ROWS


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", b'{"a": 1}\n{"a": \n', r"rows\.jsonl:2: is not JSON"),
        ("rows.jsonl", b'{"a": 1}\n[1]\n', r"rows\.jsonl:2: holds a list"),
        ("rows.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', r"rows\.jsonl:\d: is not UTF-8"),
        ("rows.jsonl.gz", gzip.compress(json_lines())[:-12], r"damaged or cut short"),
        ("rows.jsonl.xz", lzma.compress(json_lines())[:-20], r"damaged or cut short"),
        ("rows.jsonl.gz", b"plain text", r"damaged or cut short"),
        ("rows.csv", b"a,b\n1,2\n3\n", r"rows\.csv:3: has 1 fields, the header has 2"),
        ("rows.csv", b'a,b\n1,"2\n', r"rows\.csv:2: is not valid CSV"),
        ("rows.parquet", b"PAR1 nothing", r"cannot be read as Parquet"),
        ("rows.txt", b"a", r"not read\. Allowed: \.jsonl"),
        ("rows.parquet.gz", b"a", r"not read\. Allowed"),
    ],
)
def test_broken_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        values(tmp_path / name)


def test_missing_file_says_so() -> None:
    with pytest.raises(DataError, match=r"/nowhere/rows.jsonl: no such file"):
        values("/nowhere/rows.jsonl")


@pytest.mark.parametrize(("value", "text"), [("a-1", "a-1"), (7, "7"), (7.0, "7")])
def test_identifier_becomes_text(value: Any, text: str) -> None:
    assert identifier(value, "f:1", "id") == text


@pytest.mark.parametrize("value", ["", "  ", 1.5, True, None, ["a"]])
def test_identifier_refuses_what_is_no_id(value: Any) -> None:
    with pytest.raises(DataError, match=r"f:1: id is .*, expected"):
        identifier(value, "f:1", "id")
