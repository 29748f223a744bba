"""Judges that rate a few cases now: as the stage does, whatever stands beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from activeuf_core import paths
from activeuf_core.annotations.cases import Case
from activeuf_core.annotations.config import AnnotationsConfig, Judge
from activeuf_core.annotations.llm_rater import identity_in_cache
from activeuf_core.annotations.raters import open_rater
from activeuf_core.config import identity_of, parse
from activeuf_core.errors import ConfigError
from activeuf_core.schemas import read_rows, user_message
from activeuf_core.stage import StageContext

Judged = Callable[..., StageContext]
MODEL = {"name": "model", "identity": "x"}
LLM = {"mode": "llm", "model": MODEL, "min_digit_mass": 0.0}
REWARD = {"mode": "reward_model", "model": MODEL}
TEXTS = ["short", "a longer completion of several words", "x", "y" * 300]


def settings(judge: dict[str, Any]) -> Judge:
    return parse(AnnotationsConfig, {"judge": judge}, "here").judge


def cases(texts: Sequence[str] = TEXTS) -> list[Case]:
    prompt = user_message("a prompt")
    return [Case(f"p{i}", "m", prompt, text, [], None, None) for i, text in enumerate(texts)]


def rate(
    make_context: Any, judge: dict[str, Any], model: Path, texts: Sequence[str], cache: Path
) -> tuple[list[float | None], dict[str, int]]:
    context = make_context("preference_dataset", {}, {}, {"model": model})
    object.__setattr__(context.unit, "runtime", {"judgements": str(cache)})
    with open_rater(context, settings(judge)) as rater:
        return [found.overall_score for found in rater.rate(cases(texts))], rater.facts()


@pytest.mark.parametrize("judge", [LLM, REWARD], ids=["llm", "reward_model"])
def test_rating_does_not_depend_on_its_neighbours(
    make_context: Any, request: pytest.FixtureRequest, tmp_path: Path, judge: dict[str, Any]
) -> None:
    model = request.getfixturevalue("judge_model" if judge is LLM else "reward_model")
    together, _ = rate(make_context, judge, model, TEXTS, tmp_path / "one")
    alone = [
        rate(make_context, judge, model, [text], tmp_path / f"cache-{i}")[0][0]
        for i, text in enumerate(TEXTS)
    ]
    assert together == alone


@pytest.mark.parametrize("judge", [LLM, REWARD], ids=["llm", "reward_model"])
def test_second_time_comes_from_the_cache(
    make_context: Any, request: pytest.FixtureRequest, tmp_path: Path, judge: dict[str, Any]
) -> None:
    model = request.getfixturevalue("judge_model" if judge is LLM else "reward_model")
    first, paid = rate(make_context, judge, model, TEXTS[:3], tmp_path)
    again, paid_again = rate(make_context, judge, model, TEXTS[:3], tmp_path)
    assert again == first
    assert (paid["judgements_from_cache"], paid_again["judge_calls"]) == (0, 0)
    assert paid_again["judgements_from_cache"] == paid["judge_calls"]


def test_stage_and_rater_share_their_answers(
    make_context: Any, judged: Judged, judge_model: Path, tmp_path: Path
) -> None:
    context = judged(LLM, [{}] * 4, [{"completion": text} for text in TEXTS], judge_model)
    scores = [row["overall_score"] for row in read_rows(context.output / paths.ANNOTATIONS)]
    cache = context.checkpoints / "judgements"
    lazily, paid = rate(make_context, LLM, judge_model, TEXTS, cache)
    assert lazily == scores
    assert paid["judge_calls"] == 0
    afresh, _ = rate(make_context, LLM, judge_model, TEXTS, tmp_path / "elsewhere")
    assert afresh == pytest.approx(scores, rel=1e-5)


def test_stage_asks_for_nothing_that_is_in_the_cache(judged: Judged, judge_model: Path) -> None:
    rows = [{"completion": text} for text in TEXTS]
    first = judged(LLM, [{}] * 4, rows, judge_model)
    for path in (first.checkpoints / "rows").iterdir():
        path.unlink()
    again = judged(LLM, [{}] * 4, rows, judge_model)
    assert again.metadata["judgements_from_cache"] == 16
    assert read_rows(again.output / paths.ANNOTATIONS) == read_rows(
        first.output / paths.ANNOTATIONS
    )


def test_prompt_that_does_not_fit_has_no_rating(
    make_context: Any, judge_model: Path, tmp_path: Path
) -> None:
    long = {**LLM, "max_tokens": 64}
    scores, paid = rate(make_context, long, judge_model, ["a"], tmp_path)
    assert (scores, paid["prompts_too_long"]) == ([None], 1)


def test_judge_that_costs_nothing_is_refused(make_context: Any) -> None:
    context = make_context("preference_dataset", {})
    with (
        pytest.raises(ConfigError, match=r"lazy saves nothing with judge\.mode 'verifiable'"),
        open_rater(context, settings({"mode": "verifiable"})),
    ):
        pass


def test_where_the_server_is_changes_no_fingerprint() -> None:
    here = {"url": "http://a/v1", "served_as": "a", "concurrency": 1, "patience_s": 1.0}
    judges = [settings({**LLM, "server": server}) for server in ({}, here)]
    assert identity_of(judges[0]) == identity_of(judges[1])
    assert identity_in_cache(judges[0]) == identity_in_cache(judges[1])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"name": "model", "identity": "y"}},
        {"server": None},
        {"server": {"top_logprobs": 5}},
        {"server": {"extra": {"chat_template_kwargs": {"enable_thinking": False}}}},
    ],
)
def test_what_changes_a_rating_is_another_judge(changes: dict[str, Any]) -> None:
    served = settings({**LLM, "server": {}})
    other = settings({**LLM, "server": {}, **changes})
    assert identity_of(other) != identity_of(served)
    assert identity_in_cache(other) != identity_in_cache(served)  # type: ignore[arg-type]
