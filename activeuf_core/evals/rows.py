"""Benchmark rows: read from a file, a folder or the hub, and checked before any model is loaded.

In: JSON (a list), JSON lines or Parquet, plain, `.gz` or `.xz`; a folder of such files; or
`hub-id@revision`.
Out: rows as dictionaries in the benchmark's own format, the columns of `COLUMNS` present and of the
right kind. Light, except that the hub is read through `datasets`.
"""

from __future__ import annotations

import gzip
import json
import lzma
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from activeuf_core.errors import DataError

Row = dict[str, Any]

OPENERS: Mapping[str, Callable[..., TextIO]] = {".gz": gzip.open, ".xz": lzma.open, "": open}
DOMAINS = ("Factuality", "Focus", "Math", "Precise IF", "Safety", "Ties")
"""The domains of RewardBench 2, in the order of its tables."""
TIES_ID = re.compile(r"(ref|tied):\d+")
SHOWN_VALUE = 80


@dataclass(frozen=True)
class Column:
    """A column that a benchmark needs, how to recognise a right value, and what to call it."""

    name: str
    is_right: Callable[[Any], bool]
    expected: str


@dataclass(frozen=True)
class HubSplit:
    """Where a benchmark's rows lie in its hub data set."""

    split: str
    configurations: tuple[str | None, ...] = (None,)


HUB_SPLITS: Mapping[str, HubSplit] = {
    "gsm8k": HubSplit("test", ("main",)),
    "minerva_math": HubSplit(
        "test",
        (
            "algebra",
            "counting_and_probability",
            "geometry",
            "intermediate_algebra",
            "number_theory",
            "prealgebra",
            "precalculus",
        ),
    ),
    "ifeval": HubSplit("train"),
    "truthfulqa": HubSplit("validation", ("multiple_choice",)),
    "rewardbench2": HubSplit("test"),
}


def load_rows(benchmark: str, location: str, limit: int | None = None) -> list[Row]:
    """Return the first `limit` rows of a benchmark (all when None), in the order of the source.

    Raises: DataError when the source cannot be read or is empty, or when a row lacks a column or
    holds a value of another kind, naming source, row (the first is row 1) and column.
    """
    rows = _read(benchmark, location)
    rows = rows if limit is None else rows[:limit]
    if not rows:
        raise DataError(f"{benchmark}: {location} holds no rows. Name a file with at least one.")
    check_rows(benchmark, rows, location)
    return rows


def check_rows(benchmark: str, rows: Sequence[Row], location: str) -> None:
    """Refuse the first row that is not in the benchmark's format. Raises: DataError."""
    for number, row in enumerate(rows, start=1):
        where = f"{benchmark}: {location}, row {number}"
        if not isinstance(row, dict):
            raise DataError(f"{where} is {_shown(row)}, expected a row with named columns.")
        for column in COLUMNS[benchmark]:
            if column.name not in row:
                raise DataError(
                    f"{where} lacks the column {column.name!r} ({column.expected}); it has "
                    f"{', '.join(sorted(row)) or 'none'}. Name a file in the benchmark's format."
                )
            if not column.is_right(row[column.name]):
                raise DataError(
                    f"{where}, column {column.name!r} holds {_shown(row[column.name])}; expected "
                    f"{column.expected}. Correct the row or name another file."
                )
        _check_across(benchmark, row, where)


def _check_across(benchmark: str, row: Row, where: str) -> None:
    """Check what only two columns together can tell."""
    if benchmark == "ifeval" and len(row["instruction_id_list"]) != len(row["kwargs"]):
        raise DataError(
            f"{where}: columns 'instruction_id_list' ({len(row['instruction_id_list'])} entries) "
            f"and 'kwargs' ({len(row['kwargs'])}) must be equally long."
        )
    if benchmark == "rewardbench2" and row["subset"] == "Ties" and not TIES_ID.fullmatch(row["id"]):
        raise DataError(
            f"{where}, column 'id' holds {_shown(row['id'])}; a Ties row is called 'ref:<number>' "
            "or 'tied:<number>'."
        )


def _read(benchmark: str, location: str) -> list[Row]:
    path = Path(location)
    if path.is_dir():
        return [row for file in _files(benchmark, path) for row in _read_file(file)]
    if path.is_file():
        return _read_file(path)
    if path.is_absolute() or location.startswith(".") or location.count("/") != 1:
        raise DataError(
            f"{benchmark}: {location} is neither a file nor a folder nor a hub id such as "
            "'owner/name@revision'."
        )
    return _read_hub(location, HUB_SPLITS[benchmark])


def _read_file(path: Path) -> list[Row]:
    """Read one file by its suffix. Raises: DataError when it cannot be read."""
    suffixes = path.suffixes[-2:]
    packed = suffixes[-1] if suffixes and suffixes[-1] in OPENERS else ""
    kind = path.name.removesuffix(packed).rpartition(".")[2]
    try:
        if kind == "parquet":
            return pq.read_table(path).to_pylist()
        with OPENERS[packed](path, mode="rt", encoding="utf-8") as handle:
            return _parse(handle, path)
    except (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read ({error}). Is it complete?") from error


def _parse(handle: TextIO, path: Path) -> list[Row]:
    """Parse a JSON list or JSON lines; which of the two the first character tells."""
    text = handle.read()
    if text.lstrip().startswith("["):
        return _parse_json(text, f"{path}")
    lines = ((number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip())
    return [_parse_json(line, f"{path}, line {number}") for number, line in lines]


def _parse_json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(
            f"{where} is not JSON ({error}). Expected a list of rows, or one row a line."
        ) from error


def _files(benchmark: str, folder: Path) -> list[Path]:
    """Return a folder's data files; those of the benchmark's configuration and split, if named."""
    kinds = re.compile(r".+\.(jsonl?(\.gz|\.xz)?|parquet)")
    files = sorted(path for path in folder.rglob("*") if kinds.fullmatch(path.name))
    source = HUB_SPLITS[benchmark]
    wanted = [
        path for path in files if set(path.parent.parts) & set(source.configurations)
    ] or files
    wanted = [path for path in wanted if re.match(rf"{source.split}\b", path.name)] or wanted
    if not wanted:
        raise DataError(f"{benchmark}: {folder} holds no .json, .jsonl or .parquet file.")
    return wanted


def _read_hub(location: str, source: HubSplit) -> list[Row]:
    import datasets

    name, _, revision = location.partition("@")
    rows: list[Row] = []
    for configuration in source.configurations:
        try:
            part = datasets.load_dataset(
                name, configuration, split=source.split, revision=revision or None
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise DataError(
                f"{location}: the hub's data set cannot be loaded ({error}). Check the id, the "
                "revision and the connection, or name a local file."
            ) from error
        rows += part.to_list()
    return rows


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_VALUE else f"{text[: SHOWN_VALUE - 1]}…"


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _are_texts(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str) and all(map(_is_text, value))


def _are_some_texts(value: Any) -> bool:
    return _are_texts(value) and len(value) > 0


def _has_final_number(value: Any) -> bool:
    return isinstance(value, str) and re.search(r"####\s*\S*\d", value) is not None


def _has_boxed_answer(value: Any) -> bool:
    return isinstance(value, str) and re.search(r"\\boxed[ {]", value) is not None


def _are_arguments(value: Any) -> bool:
    return isinstance(value, list) and all(item is None or isinstance(item, dict) for item in value)


def _are_targets(value: Any) -> bool:
    if not isinstance(value, dict) or not _are_some_texts(value.get("choices")):
        return False
    labels = value.get("labels")
    return (
        isinstance(labels, list) and len(labels) == len(value["choices"]) and set(labels) == {0, 1}
    )


COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "gsm8k": (
        Column("question", _is_text, "a text"),
        Column("answer", _has_final_number, "a worked solution that ends in '#### <number>'"),
    ),
    "minerva_math": (
        Column("problem", _is_text, "a text"),
        Column("solution", _has_boxed_answer, r"a worked solution with its answer in \boxed{…}"),
        Column("type", _is_text, "the subject, such as 'Algebra'"),
    ),
    "ifeval": (
        Column("prompt", _is_text, "a text"),
        Column("instruction_id_list", _are_some_texts, "a list of instruction ids"),
        Column("kwargs", _are_arguments, "a list of objects, one per instruction"),
    ),
    "truthfulqa": (
        Column("question", _is_text, "a text"),
        Column("mc2_targets", _are_targets, "{choices: texts, labels: 0 or 1, both occurring}"),
    ),
    "rewardbench2": (
        Column("id", _is_text, "a text"),
        Column("prompt", _is_text, "a text"),
        Column("chosen", _are_some_texts, "a list of completions"),
        Column("rejected", _are_some_texts, "a list of completions"),
        Column("subset", lambda value: value in DOMAINS, f"one of {', '.join(DOMAINS)}"),
    ),
}
