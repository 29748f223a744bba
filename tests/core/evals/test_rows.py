"""Rows of every benchmark are read; wrong ones are refused by file, line and column."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.errors import DataError
from activeuf_core.evals import rows as rows_module
from activeuf_core.evals.rows import COLUMNS, HUB_SPLITS, load_rows
from activeuf_core.sources import SourceRow
from tests.core.evals.conftest import ROWS, WriteRows

REAL = {
    "gsm8k": ("gsm8k/test.jsonl.gz", 1319),
    "minerva_math": ("math/math_test_5000.jsonl.xz", 5000),
    "ifeval": ("ifeval/input_data.jsonl.gz", 541),
    "rewardbench2": ("rewardbench/rb2_format_from_real_sources.jsonl.xz", 1545),
}
WRONG = [
    ("gsm8k", {"answer": "five"}, "column 'answer' holds 'five'; expected a worked solution"),
    ("gsm8k", {"question": " "}, "column 'question'"),
    ("minerva_math", {"solution": "It is 2."}, "column 'solution'"),
    ("minerva_math", {"type": None}, "column 'type' holds None"),
    ("ifeval", {"kwargs": [{}, {}]}, "must be equally long"),
    ("ifeval", {"kwargs": "{}"}, "column 'kwargs'"),
    ("truthfulqa", {"mc2_targets": {"choices": ["a"], "labels": [1]}}, "column 'mc2_targets'"),
    ("truthfulqa", {"mc2_targets": {"choices": ["a", "b"], "labels": [1]}}, "'mc2_targets'"),
    ("alpaca_eval", {"output": ""}, "column 'output' holds ''; expected the reference model's"),
    ("alpaca_eval", {"generator": None}, "column 'generator' holds None"),
    ("rewardbench2", {"subset": "Focal"}, "expected one of Factuality, Focus"),
    ("rewardbench2", {"rejected": []}, "column 'rejected' holds []"),
    ("rewardbench", {"chosen": ["a list"]}, "column 'chosen' holds ['a list']; expected a compl"),
    ("rewardbench", {"subset": None}, "column 'subset' holds None; expected the name of a subset"),
    ("rewardbench2", {"subset": "Ties"}, "'ref:<number>' or 'tied:<number>'"),
]


@pytest.mark.parametrize("name", sorted(ROWS))
def test_rows_come_back_as_they_were_written(name: str, write_rows: WriteRows) -> None:
    assert load_rows(name, str(write_rows(ROWS[name]))) == ROWS[name]


def test_a_limit_takes_the_first_rows(write_rows: WriteRows) -> None:
    assert load_rows("gsm8k", str(write_rows(ROWS["gsm8k"])), limit=2) == ROWS["gsm8k"][:2]


def test_packed_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as handle:
        handle.write(json.dumps(ROWS["gsm8k"][0]))
    assert len(load_rows("gsm8k", str(path))) == 1


def test_a_file_that_is_one_list_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(ROWS["alpaca_eval"]), encoding="utf-8")
    assert load_rows("alpaca_eval", str(path), limit=2) == ROWS["alpaca_eval"][:2]


@pytest.mark.parametrize(
    ("text", "said"),
    [("[1]", "row 1: holds a int"), ("{}", "holds a dict, expected a list"), ("[", "is not JSON")],
)
def test_a_file_that_is_no_list_of_objects_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        load_rows("alpaca_eval", str(path))


def test_a_data_set_with_a_loading_script_is_read_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    path = tmp_path / "fetched.json"
    path.write_text(json.dumps(ROWS["alpaca_eval"]), encoding="utf-8")

    def fetch(*names: str, **options: Any) -> str:
        asked.append((names, options["revision"]))
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    assert load_rows("alpaca_eval", "tatsu-lab/alpaca_eval@abc") == ROWS["alpaca_eval"]
    assert asked == [(("tatsu-lab/alpaca_eval", "alpaca_eval_gpt4_baseline.json"), "abc")]


def test_a_hub_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*names: str, **options: Any) -> str:
        raise OSError(f"no route to {names[0]} {options}")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    with pytest.raises(DataError, match=r"cannot be fetched \(no route.*name a local copy"):
        load_rows("alpaca_eval", "tatsu-lab/alpaca_eval@abc")


@pytest.mark.parametrize(("name", "change", "said"), WRONG)
def test_a_wrong_value_is_named(
    name: str, change: dict[str, Any], said: str, write_rows: WriteRows
) -> None:
    path = write_rows([ROWS[name][0], {**ROWS[name][0], **change}])
    with pytest.raises(DataError) as caught:
        load_rows(name, str(path))
    assert f"{path}:2: " in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_missing_column_is_named(name: str, write_rows: WriteRows) -> None:
    column = COLUMNS[name][0].name
    row = {key: value for key, value in ROWS[name][0].items() if key != column}
    with pytest.raises(DataError, match=f"lacks the column '{column}'"):
        load_rows(name, str(write_rows([row])))


def test_an_empty_file_is_refused(write_rows: WriteRows) -> None:
    with pytest.raises(DataError, match="holds no rows"):
        load_rows("gsm8k", str(write_rows([])))


def test_every_configuration_of_a_hub_data_set_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str | None, str]] = []

    def source(location: str, *, subset: str | None, split: str) -> list[SourceRow]:
        asked.append((subset, split))
        return [SourceRow(f"{location}: row 0", ROWS["minerva_math"][0])]

    monkeypatch.setattr(rows_module, "iterate_source", source)
    assert len(load_rows("minerva_math", "owner/math@abc")) == 7
    assert asked == [(name, "test") for name in HUB_SPLITS["minerva_math"].configurations]


@pytest.mark.parametrize("name", sorted(REAL))
def test_real_files_are_in_the_format(name: str, shared_data: Path) -> None:
    path, count = REAL[name]
    assert len(load_rows(name, str(shared_data / path))) == count


def test_real_truthfulqa_is_in_the_format(shared_data: Path, write_rows: WriteRows) -> None:
    with gzip.open(shared_data / "truthfulqa" / "mc_task.json.gz", "rt", encoding="utf-8") as file:
        found = json.load(file)
    rows = [{"question": row["question"], "mc2_targets": _split(row)} for row in found]
    assert len(load_rows("truthfulqa", str(write_rows(rows)))) == 817


def _split(row: dict[str, Any]) -> dict[str, Any]:
    targets = row["mc2_targets"]
    return {"choices": list(targets), "labels": list(targets.values())}
