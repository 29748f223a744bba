"""Both stages: from four sources to the same files; checks, statistics, settings, real data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from activeuf_core import paths
from activeuf_core.config import StrictModel
from activeuf_core.errors import DataError
from activeuf_core.jobs import Unit
from activeuf_core.preparation.column_rules import RAW_RULES
from activeuf_core.preparation.config import SPLITS
from activeuf_core.preparation.prepare import raw_rows, raw_splits, run_prepared, run_raw
from activeuf_core.preparation.validation import RULES
from activeuf_core.rewards.config import RewardsConfig
from activeuf_core.rewards.registry import build
from activeuf_core.schemas import read_rows
from activeuf_core.stage import StageContext
from tests.core.preparation.conftest import HUB, KAGGLE, LOCAL, TEST, TFDS, TRAIN, Prepare, as_jsonl
from tests.fakes.stage_context import passed

PAIR = {
    "instruction": "Write {} lines.",
    "rubric": "1. It has {} lines. [Hard Rule]\n2. It is good. [Principle]",
    "response_a": "a{}",
    "response_b": "b{}",
    "winner": "A",
}


def stats_of(context: StageContext) -> dict[str, Any]:
    return json.loads((context.output / paths.DATASET_STATISTICS).read_text())


def config_of(context: StageContext) -> dict[str, Any]:
    return json.loads((context.output / paths.DATASET_CONFIG).read_text())


def rows_of(context: StageContext, split: str) -> list[dict[str, Any]]:
    return read_rows(context.output / paths.DATASET_SPLIT.format(split=split))


def digests(context: StageContext) -> dict[str, str]:
    return {name: split["sha256"] for name, split in stats_of(context)["splits"].items()}


@pytest.mark.usefixtures("kaggle", "tfds")
@pytest.mark.parametrize("source", [HUB, KAGGLE, TFDS], ids=["hf", "kaggle", "tfds"])
def test_sources_give_the_same_files(
    source: dict[str, Any], prepare: Prepare, local: dict[str, Path], hub_folder: Path
) -> None:
    expected = digests(prepare(LOCAL, local))
    found = prepare(source, {"hub": hub_folder})
    assert digests(found) == expected
    assert stats_of(found)["source"] == source["kind"]


def test_official_test_split_and_all_rows(prepare: Prepare, local: dict[str, Path]) -> None:
    made = prepare(LOCAL, local)
    assert {row["question"] for row in rows_of(made, "test")} == {row["question"] for row in TEST}
    both = [*rows_of(made, "train"), *rows_of(made, "val")]
    assert {row["question"] for row in both} == {row["question"] for row in TRAIN}
    assert made.metadata["official_splits"] == "test"


def test_a_row_has_what_trainers_and_rewards_read(prepare: Prepare, local: dict[str, Path]) -> None:
    row = next(row for row in rows_of(prepare(LOCAL, local), "test") if row["gold"] == "60")
    assert [turn["role"] for turn in row["prompt"]] == ["system", "user"]
    assert row["answer"].endswith("<<60+2=62>>62.\n#### 60")
    assert (row["rubric"], row["chosen"], row["target_score"]) == (None, None, None)


def test_rewards_read_the_rows(prepare: Prepare, local: dict[str, Path]) -> None:
    rows = rows_of(prepare(LOCAL, local), "test")
    columns = {name: [row[name] for row in rows] for name in ("answer", "rubric", "reference")}
    said = [f"<reasoning>so</reasoning><answer>{row['gold']}</answer>" for row in rows]
    suite = build(RewardsConfig())
    scores = suite.score(said, **columns)
    best = sum(scores[name][0] or 0.0 for name in suite.names)
    assert best == pytest.approx(suite.ends[1])
    assert all(len(set(column)) == 1 for column in scores.values())


def test_trainers_read_the_files(prepare: Prepare, local: dict[str, Path], tmp_path: Path) -> None:
    import datasets

    made = prepare(LOCAL, local)
    file = str(made.output / paths.DATASET_SPLIT.format(split="test"))
    found = datasets.Dataset.from_parquet(file, cache_dir=str(tmp_path / "cache"))
    assert len(found) == 20
    assert found[0]["prompt"][-1]["content"] == found[0]["question"]


def test_all_checks_are_reported_by_name_and_pass(prepare: Prepare, local: dict[str, Path]) -> None:
    assert passed(prepare(LOCAL, local)) == dict.fromkeys((rule.name for rule in RULES), True)


def test_statistics_hold_what_people_look_for(prepare: Prepare, local: dict[str, Path]) -> None:
    stats = stats_of(prepare(LOCAL, local))
    assert (stats["config_name"], stats["source"]) == ("sums", "local")
    assert stats["splits"]["test"]["num_examples"] == 20
    assert stats["splits"]["test"]["official"] and not stats["splits"]["val"]["official"]
    golds = [stats["splits"][split]["gold"] for split in SPLITS]
    assert [sum(gold[sort] for gold in golds) for sort in ("comma", "negative", "decimal")] == [
        *(1, 1, 1),
    ]
    assert stats["validation"]["passed"] and stats["validation"]["errors"] == []


def test_settings_are_recorded(prepare: Prepare, hub_folder: Path) -> None:
    record = config_of(prepare(HUB, {"hub": hub_folder}))
    found = [record[name] for name in ("source", "name", "subset", "reasoning_start")]
    assert found == ["hf", "sums", "main", "<reasoning>"]
    assert record["split"] == {"train": "train", "val": None, "test": "test"}
    assert record["solution_end"] == "</answer>" and "<answer>" in record["system_prompt"]


def test_another_system_prompt_is_another_version(prepare: Prepare, local: dict[str, Path]) -> None:
    before = config_of(prepare(LOCAL, local))["prompt_version"]
    after = config_of(prepare(LOCAL, local, prompt={"system_turn": "user"}))["prompt_version"]
    assert before != after


def test_plots_and_report(prepare: Prepare, local: dict[str, Path]) -> None:
    made = prepare(LOCAL, local)
    assert (made.output / paths.DATASET_REPORT).read_text() == made.metadata["report"]["text"]
    for name in ("questions", "answers"):
        plot = made.output / made.metadata[name]["path"]
        assert 500 < plot.stat().st_size < 25_000


def test_without_validation_only_what_blocks_is_looked_at(
    prepare: Prepare, local: dict[str, Path]
) -> None:
    local["test"].write_text(as_jsonl([*TEST, {"question": "Who?", "answer": "me"}]))
    made = prepare(LOCAL, local, validation=False, prompt={"system": "Answer."})
    failed = [name for name, is_passed in passed(made).items() if not is_passed]
    validation = stats_of(made)["validation"]
    assert failed == ["no_blank_fields", "gold_answer_parseable"]
    assert not validation["passed"] and len(validation["errors"]) == 2
    assert set(validation["skipped"]) == {rule.name for rule in RULES if not rule.blocking}


def openrubrics(tmp_path: Path, count: int, **change: str) -> dict[str, Path]:
    rows = [{k: v.format(n) for k, v in {**PAIR, **change}.items()} for n in range(count)]
    (tmp_path / "rubrics.jsonl").write_text(as_jsonl(rows))
    return {"train": tmp_path / "rubrics.jsonl"}


ONE_FILE = {"kind": "local", "train": {"name": "train", "identity": "1"}}


def test_pairs_with_rubrics(prepare: Prepare, tmp_path: Path) -> None:
    made = prepare(ONE_FILE, openrubrics(tmp_path, 60), {"kind": "openrubrics"})
    row = rows_of(made, "train")[0]
    assert row["chosen"][0]["content"][0] == "a" and row["rejected"][0]["content"][0] == "b"
    assert (row["answer"], [turn["role"] for turn in row["prompt"]]) == (None, ["user"])
    items = [stats_of(made)["splits"][split]["rubric_items"] for split in SPLITS]
    assert sum(item["hard_rule"] for item in items) == 60
    assert all(passed(made).values())


def test_unknown_columns_fail_the_check_of_the_raw_rows(
    make_context: Callable[..., StageContext], tmp_path: Path
) -> None:
    config = {"name": "r", "format": {"kind": "openrubrics"}, "source": ONE_FILE}
    places = openrubrics(tmp_path, 3, judge_model="m")
    raw = make_context("raw_dataset", config, locations=places)
    run_raw(raw)
    assert passed(raw) == {
        "raw_splits_non_empty": True,
        "required_columns": False,
        "revision_pinned": True,
    }
    assert "unknown judge_model" in raw.checks[1]["description"] and raw.checks[1]["blocking"]


def test_raw_rows_are_kept_as_they_were_with_their_places(
    make_context: Callable[..., StageContext], local: dict[str, Path]
) -> None:
    config = {"name": "sums", "format": {"kind": "gsm8k"}, "source": LOCAL}
    raw = make_context("raw_dataset", config, locations=local)
    run_raw(raw)
    rows = list(raw_rows(raw.output, "train"))
    assert [row.values for row in rows] == TRAIN
    assert rows[4].where == "train.jsonl:5"
    assert raw_splits(raw.output) == ("train", "test")
    assert set(passed(raw)) == {rule.name for rule in RAW_RULES}
    revision = json.loads((raw.output / paths.DATASET_REVISION).read_text())
    assert set(revision["files"]) == {"train/train.jsonl", "test/test.jsonl"}


def raw_of(
    make_context: Callable[..., StageContext], tmp_path: Path, row: dict[str, Any]
) -> StageContext:
    """Return the raw rows of a Parquet file with one row."""
    path = tmp_path / "one.parquet"
    pq.write_table(pa.Table.from_pylist([row]), path)
    config = {"name": "one", "format": {"kind": "gsm8k"}, "source": ONE_FILE}
    raw = make_context("raw_dataset", config, locations={"train": path})
    run_raw(raw)
    return raw


def test_days_become_texts(make_context: Callable[..., StageContext], tmp_path: Path) -> None:
    raw = raw_of(make_context, tmp_path, {"question": "q", "day": date(2026, 1, 2)})
    assert next(raw_rows(raw.output, "train")).values["day"] == "2026-01-02"


def test_what_is_no_text_is_refused(
    make_context: Callable[..., StageContext], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"one.parquet: row 0: picture holds a bytes"):
        raw_of(make_context, tmp_path, {"question": "q", "picture": b"\x89PNG"})


def test_a_folder_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"raw_train\.parquet"):
        raw_splits(tmp_path)


def again(made: StageContext, **runtime: str) -> StageContext:
    """Run the second stage once more, with settings that are not part of the recipe."""
    unit = Unit(**{**vars(made.unit), "runtime": runtime})
    context = StageContext(unit, made._folder, made.checkpoints)
    run_prepared(context)
    return context


def test_drift_from_statistics_that_the_starter_names(
    prepare: Prepare, local: dict[str, Path], tmp_path: Path
) -> None:
    made = prepare(LOCAL, local)
    before = tmp_path / "before.json"
    before.write_text(json.dumps(stats_of(made)))
    assert passed(again(made, previous_statistics=str(before)))["stats_drift"]
    fewer: Mapping[str, Any] = {**stats_of(made)["splits"]["test"], "num_examples": 10}
    stats = stats_of(made)
    before.write_text(json.dumps({"splits": {**stats["splits"], "test": fewer}}))
    found = again(made, previous_statistics=str(before))
    assert [name for name, is_passed in passed(found).items() if not is_passed] == ["stats_drift"]


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_statistics_that_are_none_are_refused(
    text: str, prepare: Prepare, local: dict[str, Path], tmp_path: Path
) -> None:
    made = prepare(LOCAL, local)
    (tmp_path / "before.json").write_text(text)
    with pytest.raises(DataError, match=r"before\.json"):
        again(made, previous_statistics=str(tmp_path / "before.json"))


def test_real_gsm8k(prepare: Prepare, shared_data: Path) -> None:
    folder = shared_data / "gsm8k"
    files = {split: folder / f"{split}.jsonl.gz" for split in ("train", "test")}
    made = prepare(LOCAL, files)
    counts = {split: len(rows_of(made, split)) for split in SPLITS}
    assert counts == {"train": 6183, "val": 1290, "test": 1319}
    assert all(passed(made).values())
    golds = [stats_of(made)["splits"][split]["gold"] for split in SPLITS]
    found = {name: sum(gold[name] for gold in golds) for name in golds[0]}
    assert (found["numbers"], found["comma"], found["negative"]) == (8792, 93, 5)


def test_real_rows_in_the_form_of_openrubrics(prepare: Prepare, shared_data: Path) -> None:
    path = shared_data / "openrubrics" / "openrubrics_format_from_ifeval.jsonl.xz"
    made = prepare(ONE_FILE, {"train": path}, {"kind": "openrubrics"})
    assert sum(len(rows_of(made, split)) for split in SPLITS) == 483
    assert all(check["passed"] for check in made.checks if check["blocking"])
    assert [name for name, is_passed in passed(made).items() if not is_passed] in (
        [],
        ["pairs_differ"],
    )


def test_real_tokenizer_counts_prompts(
    prepare: Prepare, local: dict[str, Path], shared_data: Path
) -> None:
    places = {**local, "tiny": shared_data / "models" / "stories260K"}
    budget = {"tokenizer": {"name": "tiny", "identity": "x"}, "tokens": 10}
    made = prepare(LOCAL, places, budget=budget)
    assert made.metadata["dropped_over_budget"] > 0 and rows_of(made, "train") == []
    assert stats_of(made)["splits"]["test"]["tokens"]["prompt"]["min"] > 10
    assert not passed(made)["splits_non_empty"]


def test_settings_of_both_stages_are_strict() -> None:
    from activeuf_core.preparation import config

    models = [one for one in vars(config).values() if isinstance(one, type)]
    assert all(issubclass(one, StrictModel) for one in models if one.__module__ == config.__name__)
