"""RewardBench of a reward model, scored for real with a tiny one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.artifacts import read_json
from activeuf_core.errors import DataError
from activeuf_core.evals.outcome import Prediction
from activeuf_core.evals.rewardbench_pairs import rejudged, run, summarise
from activeuf_core.evals.rewardbench_sections import SECTIONS
from activeuf_core.paths import PREDICTIONS, SCORE
from activeuf_core.stage import StageContext
from tests.core.evals.conftest import ROWS, MakeScore
from tests.fakes.stage_context import passed


def scored(context: StageContext) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run the score asset; return its record and its predictions."""
    run(context)
    lines = (context.output / PREDICTIONS).read_text(encoding="utf-8").splitlines()
    return read_json(context.output / SCORE), [json.loads(line) for line in lines]


def prediction(subset: str, chosen: float, rejected: float, correct: float) -> Prediction:
    """Return what a model did with one pair."""
    extra = {"chosen_rewards": [chosen], "rejected_rewards": [rejected]}
    return Prediction("0", "", "", correct, group=subset, is_empty=chosen == rejected, extra=extra)


def test_score_is_the_plain_mean_of_sections(make_score: MakeScore) -> None:
    record, predictions = scored(make_score("rewardbench"))
    parts = record["details"]["parts"]
    assert list(parts) == ["Chat", "Reasoning", "our own"]
    assert record["score"] == pytest.approx(sum(part["score"] for part in parts.values()) / 3)
    assert set(record["details"]["subsets"]) == {row["subset"] for row in ROWS["rewardbench"]}
    assert [p["group"] for p in predictions] == [row["subset"] for row in ROWS["rewardbench"]]
    assert record["details"]["missing_parts"] == ["Chat Hard", "Safety"]


def test_equal_completions_have_equal_rewards_and_are_wrong(make_score: MakeScore) -> None:
    context = make_score("rewardbench")
    record, predictions = scored(context)
    assert predictions[3]["correct"] == 0.0
    assert record["details"]["equal_rewards"] == 1
    assert not passed(context)["outputs_not_empty"]


def test_every_prediction_has_both_rewards_and_its_id(make_score: MakeScore) -> None:
    rows = [{**row, "id": 30 + number} for number, row in enumerate(ROWS["rewardbench"])]
    _, predictions = scored(make_score("rewardbench", rows=rows))
    assert [p["id"] for p in predictions] == ["30", "31", "32", "33"]
    for found in predictions:
        [chosen], [rejected] = (found["extra"][f"{s}_rewards"] for s in ("chosen", "rejected"))
        assert found["correct"] == float(chosen > rejected)


def test_own_subsets_alone_miss_no_section() -> None:
    outcome = summarise([prediction("ours", 1.0, 0.0, 1.0), prediction("ours", 0.0, 1.0, 0.0)])
    assert (outcome.score, outcome.details["missing_parts"]) == (0.5, [])


def test_all_sections_enter_the_mean_alike() -> None:
    firsts = [next(iter(weights)) for weights in SECTIONS.values()]
    rows = [prediction(name, float(i), 0.0, float(i > 0)) for i, name in enumerate(firsts)]
    assert summarise(rows).score == pytest.approx(0.75)


def test_stored_rewards_are_compared_again() -> None:
    wrong = prediction("ours", 2.0, 1.0, correct=0.0)
    [again], outcome = rejudged({"benchmark": "rewardbench"}, [wrong])
    assert (again.correct, outcome.score) == (1.0, 1.0)
    with pytest.raises(DataError, match="lacks a reward per side"):
        rejudged({"benchmark": "rewardbench"}, [Prediction("0", "", "", 1.0)])


def test_row_of_another_format_is_named(make_score: MakeScore, tmp_path: Path) -> None:
    context = make_score("rewardbench", rows=ROWS["rewardbench2"])
    with pytest.raises(DataError, match=r"rewardbench\.jsonl.*column 'chosen' holds \['b'\]"):
        run(context)
    assert not (context.output / SCORE).exists()
