"""Sources of the hub and of this machine: rows, places, revisions."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from activeuf_core.errors import DataError
from activeuf_core.preparation.config import Source
from activeuf_core.preparation.sources import DatasetSource, open_source
from tests.core.preparation.conftest import HUB, LOCAL, TEST, TRAIN, as_csv, as_jsonl


def opened(settings: dict[str, Any], places: dict[str, Any]) -> DatasetSource:
    config = TypeAdapter(Source).validate_python(settings)
    return open_source(config, lambda ref: str(places[ref.name]))


def test_local_files_by_split(local: dict[str, Path]) -> None:
    source = opened(LOCAL, local)
    assert source.splits == ("train", "test")
    assert [row.values for row in source.rows("test")] == TEST
    assert next(source.rows("train")).where == f"{local['train']}:1"


def test_local_files_are_known_by_their_digests(local: dict[str, Path]) -> None:
    before = opened(LOCAL, local).resolve_revision()
    local["test"].write_text("{}\n")
    after = opened(LOCAL, local).resolve_revision()
    assert before.is_pinned and set(before.files) == {"train/train.jsonl", "test/test.jsonl"}
    changed = [name for name in before.files if before.files[name] != after.files[name]]
    assert changed == ["test/test.jsonl"]


def write_csv(path: Path) -> None:
    path.write_text(as_csv(TRAIN), newline="")


def write_packed(path: Path) -> None:
    path.write_bytes(gzip.compress(as_jsonl(TRAIN).encode()))


def write_parquet(path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(TRAIN), path)


@pytest.mark.parametrize(
    ("ending", "write"),
    [(".csv", write_csv), (".jsonl.gz", write_packed), (".parquet", write_parquet)],
)
def test_files_of_all_kinds_give_the_same_texts(
    ending: str, write: Callable[[Path], None], local: dict[str, Path]
) -> None:
    path = local["train"].with_suffix(ending)
    write(path)
    found = opened(LOCAL, {**local, "train": path}).rows("train")
    assert [row.values for row in found] == TRAIN


def test_a_file_that_is_not_there_is_named(local: dict[str, Path]) -> None:
    local["test"].unlink()
    with pytest.raises(DataError, match=r"test.jsonl: no such file \('test', split test\)"):
        opened(LOCAL, local).resolve_revision()


def test_folder_of_the_hubs_form(hub_folder: Path) -> None:
    source = opened(HUB, {"hub": hub_folder})
    assert [row.values for row in source.rows("test")] == TEST
    assert set(source.resolve_revision().files) == {
        *("README.md", "main/train.parquet", "main/test.parquet"),
    }


def test_split_that_a_folder_lacks(hub_folder: Path) -> None:
    source = opened({**HUB, "splits": {"val": "validation"}}, {"hub": hub_folder})
    with pytest.raises(DataError, match="validation"):
        list(source.rows("val"))


@pytest.mark.parametrize(
    ("revision", "is_pinned"), [("0123456789abcdef0123456789abcdef01234567", True), ("main", False)]
)
def test_only_a_commit_pins_a_hub_set(revision: str, is_pinned: bool) -> None:
    found = opened(HUB, {"hub": f"openai/gsm8k@{revision}"}).resolve_revision()
    assert (found.name, found.revision) == ("openai/gsm8k", revision)
    assert found.is_pinned is is_pinned
