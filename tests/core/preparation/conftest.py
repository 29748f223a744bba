"""Rows of our own in the form of GSM8K, and the same rows in each of the four sources."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from activeuf_core.stage import StageContext
from tests.fakes import dataset_libraries
from tests.fakes.stage_context import make_context

__all__ = ["make_context"]

FORM = {"kind": "gsm8k"}


def problem(number: int) -> dict[str, str]:
    """A question whose answer no other question has; some answers have commas, signs, points."""
    gold = {0: "1,204", 1: "-3", 2: "2.5"}.get(number, str(number))
    return {
        "question": f'A shop sells {number} "lamps" a day,\nand 2 on Sundays. How many in all?',
        "answer": f"It sells {number} + 2 = <<{number}+2={number + 2}>>{number + 2}.\n#### {gold}",
    }


TRAIN = [problem(number) for number in range(60)]
TEST = [problem(number) for number in range(60, 80)]


def as_jsonl(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@pytest.fixture
def local(tmp_path: Path) -> dict[str, Path]:
    """Where two local files lie."""
    files = {"train": tmp_path / "train.jsonl", "test": tmp_path / "test.jsonl"}
    files["train"].write_text(as_jsonl(TRAIN))
    files["test"].write_text(as_jsonl(TEST))
    return files


@pytest.fixture
def hub_folder(tmp_path: Path) -> Path:
    """A folder that is read as a data set of the hub is: configurations in its README."""
    folder = tmp_path / "hub"
    (folder / "main").mkdir(parents=True)
    for split, rows in {"train": TRAIN, "test": TEST}.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / "main" / f"{split}.parquet")
    lines = [f"  - {{split: {s}, path: main/{s}.parquet}}" for s in ("train", "test")]
    readme = ["---", "configs:", "- config_name: main", "  data_files:", *lines, "---", ""]
    (folder / "README.md").write_text("\n".join(readme))
    return folder


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """kagglehub's stand-in, and a cache that holds `own/sums`, version 3."""
    monkeypatch.setitem(sys.modules, "kagglehub", dataset_libraries.kagglehub())
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
    files = {"main_train.csv": as_csv(TRAIN), "main_test.csv": as_csv(TEST)}
    return dataset_libraries.seed_kaggle(tmp_path / "kaggle", "own/sums", 3, files)


@pytest.fixture
def tfds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in of tensorflow-datasets, and a folder with `sums`, version 1.0.0."""
    module = dataset_libraries.tensorflow_datasets()
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    more = [{**row, "short_answer": "0", "annotation": "a"} for row in TRAIN]
    splits = {"train": more, "test": TEST}
    dataset_libraries.seed_tfds(tmp_path / "tfds", "sums", "1.0.0", splits)
    return tmp_path / "tfds"


LOCAL = {
    "kind": "local",
    "train": {"name": "train", "identity": "1"},
    "test": {"name": "test", "identity": "2"},
}
HUB = {
    "kind": "hf",
    "data": {"name": "hub", "identity": "3"},
    "subset": "main",
    "splits": {"test": "test"},
}
KAGGLE = {
    "kind": "kaggle",
    "dataset": "own/sums",
    "version": 3,
    "files": {"train": "main_train.csv", "test": "main_test.csv"},
}
TFDS = {"kind": "tfds", "builder": "sums", "version": "1.0.0", "splits": {"test": "test"}}

Prepare = Callable[..., StageContext]


@pytest.fixture
def prepare(make_context: Callable[..., StageContext]) -> Prepare:
    """Return a function that runs both stages on a source, and returns the second one's context."""
    from activeuf_core.preparation.prepare import run_prepared, run_raw

    def both(
        source: Mapping[str, Any],
        locations: Mapping[str, Path] | None = None,
        form: Mapping[str, Any] = FORM,
        **config: Any,
    ) -> StageContext:
        named = {"name": "sums", "format": form}
        raw = make_context("raw_dataset", {**named, "source": source}, locations=locations)
        run_raw(raw)
        inputs = {"raw_dataset": {"test": raw.output}}
        made = make_context("prepared_dataset", {**named, **config}, inputs, locations)
        run_prepared(made)
        return made

    return both
