"""Benchmark rows: read from a file, a folder or the hub, and checked before any model is loaded.

In: a file (`.jsonl`, also `.gz` and `.xz`; `.parquet`; `.json` with one list), a folder that
`datasets` can load, or `hub-id@revision`. Out: rows as dictionaries in the benchmark's own format,
the columns of `COLUMNS` present and of the right kind. Light, except for folders and the hub.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activeuf_core.errors import DataError
from activeuf_core.sources import SourceRow, iterate_source

Row = dict[str, Any]

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
    """Where a benchmark's rows lie in its hub data set.

    `file`: a file of the data set to read as it is, because `datasets` cannot load the data set.
    """

    split: str
    configurations: tuple[str | None, ...] = (None,)
    file: str | None = None


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
    "alpaca_eval": HubSplit("eval", file="alpaca_eval_gpt4_baseline.json"),  # a loading script
    "rewardbench2": HubSplit("test"),
    "rewardbench": HubSplit("filtered"),
}


def load_rows(benchmark: str, location: str, limit: int | None = None) -> list[Row]:
    """Return the first `limit` rows of a benchmark (all when None), in the order of the source.

    Raises: DataError when the source cannot be read or is empty, or when a row lacks a column or
    holds a value of another kind, naming file, line and column.
    """
    found = _read(benchmark, location, limit)
    if not found:
        raise DataError(f"{benchmark}: {location} holds no rows. Name a file with at least one.")
    for row in found:
        check_row(benchmark, row)
    return [row.values for row in found]


def check_row(benchmark: str, row: SourceRow) -> None:
    """Refuse a row that is not in the benchmark's format. Raises: DataError."""
    for column in COLUMNS[benchmark]:
        if column.name not in row.values:
            raise DataError(
                f"{row.where}: lacks the column {column.name!r} ({column.expected}); it has "
                f"{', '.join(sorted(row.values)) or 'none'}. Name a file in {benchmark}'s format."
            )
        value = row.values[column.name]
        if not column.is_right(value):
            raise DataError(
                f"{row.where}: column {column.name!r} holds {_shown(value)}; expected "
                f"{column.expected}. Correct the row or name another file."
            )
    _check_across(benchmark, row.values, row.where)


def _check_across(benchmark: str, row: Row, where: str) -> None:
    """Check what only two columns together can tell."""
    if benchmark == "ifeval" and len(row["instruction_id_list"]) != len(row["kwargs"]):
        raise DataError(
            f"{where}: columns 'instruction_id_list' ({len(row['instruction_id_list'])} entries) "
            f"and 'kwargs' ({len(row['kwargs'])}) must be equally long."
        )
    if benchmark == "rewardbench2" and row["subset"] == "Ties" and not TIES_ID.fullmatch(row["id"]):
        raise DataError(
            f"{where}: column 'id' holds {_shown(row['id'])}; a Ties row is called 'ref:<number>' "
            "or 'tied:<number>'."
        )


def _read(benchmark: str, location: str, limit: int | None) -> list[SourceRow]:
    """Read a file whole, a folder or hub data set in the benchmark's configurations and split."""
    source = HUB_SPLITS[benchmark]
    if source.file and not Path(location).exists():
        location = _fetched(location, source.file)
    if Path(location).is_file():
        is_list = Path(location).suffix == ".json"
        found = _json_list(Path(location)) if is_list else iterate_source(location)
        return list(itertools.islice(found, limit))
    parts = (
        iterate_source(location, subset=configuration, split=source.split)
        for configuration in source.configurations
    )
    return list(itertools.islice(itertools.chain.from_iterable(parts), limit))


def _fetched(location: str, name: str) -> str:
    """Return where a file of a hub data set lies, after it was fetched."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    hub, _, revision = location.rpartition("@")
    try:
        return hf_hub_download(
            hub or location, name, repo_type="dataset", revision=revision if hub else None
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise DataError(
            f"{location}: its file {name} cannot be fetched ({error}). Check the name, the "
            "revision, the network and $HF_TOKEN, or name a local copy of the file."
        ) from error


def _json_list(path: Path) -> Iterator[SourceRow]:
    """Yield the objects of a file that is one JSON list."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is not JSON ({error}). Fetch it again.") from error
    if not isinstance(rows, list):
        raise DataError(f"{path}: holds a {type(rows).__name__}, expected a list of objects.")
    for number, values in enumerate(rows, start=1):
        where = f"{path}: row {number}"
        if not isinstance(values, dict):
            raise DataError(f"{where}: holds a {type(values).__name__}, expected an object.")
        yield SourceRow(where, values)


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
    "alpaca_eval": (
        Column("instruction", _is_text, "a text"),
        Column("output", _is_text, "the reference model's output"),
        Column("generator", _is_text, "the name of the reference model"),
    ),
    "rewardbench2": (
        Column("id", _is_text, "a text"),
        Column("prompt", _is_text, "a text"),
        Column("chosen", _are_some_texts, "a list of completions"),
        Column("rejected", _are_some_texts, "a list of completions"),
        Column("subset", lambda value: value in DOMAINS, f"one of {', '.join(DOMAINS)}"),
    ),
    "rewardbench": (
        Column("prompt", _is_text, "a text"),
        Column("chosen", _is_text, "a completion"),
        Column("rejected", _is_text, "a completion"),
        Column("subset", _is_text, "the name of a subset"),
    ),
}
