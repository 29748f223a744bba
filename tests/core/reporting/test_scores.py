"""Missing scores stay missing, and means are over what the table counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from activeuf_core.artifacts import read_json, write_json
from activeuf_core.errors import DataError
from activeuf_core.evals.benchmarks import BENCHMARKS
from activeuf_core.paths import SCORE, SCORES
from activeuf_core.reporting.scores import FINAL_MEAN, means_of, render_markdown, run
from activeuf_core.stage import StageContext
from tests.core.reporting.conftest import all_scores, entry, scores_of
from tests.fakes.stage_context import MakeContext, passed

NAMES = [row.name for row in BENCHMARKS if not row.optional]


def artifact(folder: Path, name: str, score: float, **details: Any) -> Path:
    """Write a score artifact."""
    parts = {"Math": {"score": score, "stderr": None, "n": 2}}
    record = {"benchmark": name, "score": score, "stderr": 0.1, "n": 2}
    found = {"details": {"parts": parts, **details}, "data": {"name": name, "identity": "1"}}
    write_json(folder / name / SCORE, {**record, **found})
    return folder / name


def collect(
    make_context: MakeContext,
    folders: dict[str, Path],
    names: list[str] = NAMES,
    **titles: str,
) -> StageContext:
    """Run the stage over score artifacts by benchmark."""
    inputs = {f"{name}_score": {"test": folder} for name, folder in folders.items()}
    context = make_context("scores", {"benchmarks": names, "titles": titles}, inputs)
    run(context)
    return context


def test_all_scores_give_all_means(make_context: MakeContext, tmp_path: Path) -> None:
    values = dict(zip(NAMES, (0.1, 0.2, 0.3, 0.4, 0.9), strict=True))
    context = collect(make_context, {n: artifact(tmp_path, n, v) for n, v in values.items()})
    means = read_json(context.output / SCORES)["means"]
    assert means["DPO/Mean"]["value"] == pytest.approx(0.25)
    assert means["Rewardbench/Mean"]["value"] == pytest.approx(0.9)
    assert means[FINAL_MEAN]["value"] == pytest.approx((0.25 + 0.9) / 2)
    assert passed(context) == {"all_benchmarks_present": True}


def test_a_missing_score_is_null_with_a_reason(make_context: MakeContext, tmp_path: Path) -> None:
    context = collect(make_context, {"gsm8k": artifact(tmp_path, "gsm8k", 0.5)})
    found = read_json(context.output / SCORES)
    assert found["benchmarks"]["ifeval"]["score"] is None
    assert found["benchmarks"]["ifeval"]["reason"] == "missing"
    assert found["means"]["DPO/Mean"] == {
        "value": None,
        "over": ["gsm8k", "minerva_math", "ifeval", "truthfulqa"],
        "missing": ["minerva_math", "ifeval", "truthfulqa"],
    }
    assert passed(context) == {"all_benchmarks_present": False}


def test_what_is_left_out_is_not_missing_and_not_in_the_mean(
    make_context: MakeContext, tmp_path: Path
) -> None:
    names = ["gsm8k", "ifeval"]
    context = collect(make_context, {n: artifact(tmp_path, n, 0.5) for n in names}, names)
    found = read_json(context.output / SCORES)
    assert found["benchmarks"]["truthfulqa"]["reason"] == "left out"
    assert found["means"]["DPO/Mean"] == {"value": 0.5, "over": names, "missing": []}
    assert found["means"]["Rewardbench/Mean"]["value"] is None
    assert passed(context) == {"all_benchmarks_present": True}
    assert "| TruthfulQA | left out |" in render_markdown(found)


def test_titles_are_those_of_the_config(make_context: MakeContext, tmp_path: Path) -> None:
    folders = {"gsm8k": artifact(tmp_path, "gsm8k", 0.5)}
    context = collect(make_context, folders, gsm8k="Our sums")
    assert read_json(context.output / SCORES)["benchmarks"]["gsm8k"]["title"] == "Our sums"
    assert "Our sums" in context.metadata["scores"]["text"]


def test_a_score_of_another_benchmark_is_refused(make_context: MakeContext, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a score on 'ifeval', expected 'gsm8k'"):
        collect(make_context, {"gsm8k": artifact(tmp_path, "ifeval", 0.5)})


def test_a_score_without_a_domain_does_not_enter_a_mean() -> None:
    found = scores_of(dict.fromkeys(NAMES, 0.5), rewardbench2={"missing_parts": ["Ties"]})
    assert found["means"]["Rewardbench/Mean"]["missing"] == ["rewardbench2"]
    assert found["means"][FINAL_MEAN]["value"] is None
    assert "(without Ties)" in render_markdown(found)


def test_the_final_mean_names_the_mean_that_it_lacks() -> None:
    means = means_of({"rewardbench2": entry("rewardbench2", 0.5)})
    assert means[FINAL_MEAN]["missing"] == ["DPO/Mean"]


def test_zero_is_a_score() -> None:
    assert all_scores(0.0)["means"][FINAL_MEAN]["value"] == 0.0


def test_the_table_shows_what_is_missing() -> None:
    text = render_markdown(scores_of({"gsm8k": 0.5}))
    assert "| GSM8K | 0.500 | 0.010 | 100 |" in text
    assert "| IFEval | – | – | – |" in text
    assert "**DPO/Mean** (missing: minerva_math, ifeval, truthfulqa)" in text
