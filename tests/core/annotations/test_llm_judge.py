"""The language model as judge, on a tiny random model: its arithmetic, and what does not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from activeuf_core import paths, pretrained
from activeuf_core.annotations.llm_judge import digit_token_ids
from activeuf_core.annotations.rubric import ASPECTS, ask
from activeuf_core.errors import DataError
from activeuf_core.schemas import read_rows, user_message
from activeuf_core.stage import StageContext
from tests.fakes import tiny_models
from tests.fakes.stage_context import passed

Judged = Callable[..., StageContext]
TEXTS = [{"completion": text} for text in ("short", "a longer completion", "x", "")]


def judge(**settings: Any) -> dict[str, Any]:
    model = {"name": "model", "identity": "x"}
    return {"mode": "llm", "model": model, "batch_size": 3, "min_digit_mass": 0.0, **settings}


def annotated(context: StageContext) -> list[dict[str, Any]]:
    return read_rows(context.output / paths.ANNOTATIONS)


def digits(context: StageContext) -> list[dict[str, Any]]:
    return read_rows(context.output / paths.DIGIT_PROBABILITIES)


def test_rating_is_the_expectation_over_the_digits(judged: Judged, judge_model: Path) -> None:
    context = judged(judge(), [{}] * 4, TEXTS, judge_model)
    tokenizer = pretrained.load_tokenizer(str(judge_model))
    model = pretrained.load_model("AutoModelForCausalLM", str(judge_model), "float32")
    asked = ask(user_message("a prompt"), "a longer completion", ASPECTS["honesty"])
    logits = model(torch.tensor(tokenizer.encode([asked], ask=True))).logits[0, -1]
    ids = [(digit, f"Ġ{digit}") if digit in "15" else (digit,) for digit in "12345"]
    to_ids = tokenizer.tokenizer.convert_tokens_to_ids
    mass = torch.stack([logits.softmax(-1)[to_ids(list(said))].sum() for said in ids]).detach()
    expected = float((mass / mass.sum() * torch.arange(1, 6)).sum())
    assert json.loads(annotated(context)[1]["ratings"])["honesty"] == pytest.approx(
        expected, rel=1e-4
    )
    row = next(r for r in digits(context) if (r["prompt_id"], r["aspect"]) == ("p1", "honesty"))
    assert row["p3"] == pytest.approx(float(mass[2]), rel=1e-3)


def test_every_aspect_is_rated_within_the_scale(judged: Judged, judge_model: Path) -> None:
    context = judged(judge(), [{}] * 4, TEXTS, judge_model)
    assert len(digits(context)) == 16
    for row in annotated(context):
        rated = json.loads(row["ratings"])
        assert set(rated) == set(ASPECTS)
        assert row["overall_score"] == pytest.approx(sum(rated.values()) / 4)
    assert passed(context)["ratings_within_scale"]


def test_too_little_on_digits_is_a_missing_rating(judged: Judged, judge_model: Path) -> None:
    masses = {
        row["prompt_id"]: sum(row[f"p{digit}"] for digit in range(1, 6))
        for row in digits(judged(judge(aspects=["honesty"]), [{}] * 4, TEXTS, judge_model))
    }
    lowest = min(masses, key=lambda prompt_id: masses[prompt_id])
    threshold = sorted(masses.values())[1]
    settings = judge(aspects=["honesty"], min_digit_mass=threshold)
    found = annotated(judged(settings, [{}] * 4, TEXTS, judge_model))
    assert [r["prompt_id"] for r in found if r["overall_score"] is None] == [lowest]


def test_judge_that_can_think_answers_at_once(
    judged: Judged, judge_model: Path, tmp_path: Path
) -> None:
    thinker = shutil.copytree(judge_model, tmp_path / "thinker")
    tokenizer = pretrained.load_tokenizer(str(thinker)).tokenizer
    tokenizer.chat_template += (
        "{% if enable_thinking is not defined or enable_thinking %}<think>{% endif %}"
    )
    tokenizer.save_pretrained(thinker)
    expected = digits(judged(judge(), [{}] * 4, TEXTS, judge_model))
    shutil.rmtree(tmp_path / "annotations-checkpoints")
    assert digits(judged(judge(), [{}] * 4, TEXTS, thinker)) == expected


def test_long_completion_is_shortened_and_counted(judged: Judged, judge_model: Path) -> None:
    long = {"completion": "y" * 3000}
    context = judged(judge(max_tokens=1500), [{}] * 2, [long, {}], judge_model)
    assert context.metadata["completions_shortened"] == 1
    assert context.metadata["missing"] == 0


def test_prompt_that_does_not_fit_leaves_its_completion_unrated(
    judged: Judged, judge_model: Path
) -> None:
    context = judged(judge(max_tokens=1500), [{"text": "y" * 3000}, {}], [{}, {}], judge_model)
    assert [row["overall_score"] is None for row in annotated(context)] == [True, False]
    assert context.metadata["prompts_too_long"] == 1


def test_damaged_weights_are_an_error(judged: Judged, judge_model: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(judge_model, tmp_path / "damaged")
    tiny_models.poison(damaged, "model.norm.weight")
    with pytest.raises(DataError, match="gives NaN for prompt"):
        judged(judge(), [{}], [{}], damaged)


def test_digits_with_a_space_in_front_count(judge_model: Path) -> None:
    tokenizer = pretrained.load_tokenizer(str(judge_model))
    assert [len(ids) for ids in digit_token_ids(tokenizer, "m")] == [2, 1, 1, 1, 2]


def test_tokenizer_without_digits_cannot_judge() -> None:
    class NoDigits:
        def get_vocab(self) -> dict[str, int]:
            return {"a": 0}

    with pytest.raises(DataError, match=r"m: no token says '1'"):
        digit_token_ids(pretrained.ChatTokenizer(NoDigits(), is_plain=False), "m")
