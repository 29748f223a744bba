"""Lazy judging: the same comparisons as with ratings from before, for a fraction of the calls."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from activeuf_core import paths
from activeuf_core.annotations import server as client
from activeuf_core.annotations.cases import Case
from activeuf_core.annotations.raters import open_rater
from activeuf_core.annotations.scoring import Judgement
from activeuf_core.errors import ConfigError, DataError, ServerError
from activeuf_core.loop import report
from activeuf_core.loop.config import LoopConfig
from activeuf_core.loop.judging import LazyJudge, PoolTexts
from activeuf_core.loop.run import run
from activeuf_core.schemas import read_rows, user_message
from activeuf_core.stage import StageContext
from tests.fakes.judge_server import Running, refusal, reply, serve

ENN = {"num_heads": 4, "hidden_sizes": [8], "max_steps": 5, "batch_size": 8}
LOOP = {"acquisition": {"method": "drts"}, "enn": ENN, "batch_size": 5, "checkpoint_every": 1}
ASPECTS = ["honesty", "helpfulness"]
RESULTS = (paths.PREFERENCES, paths.METRICS, paths.ENN_WEIGHTS)


class Killed(BaseException):
    """Stands for the end of the process."""


@dataclass
class FakeRater:
    """Rates by the number of exclamation marks; of texts with a question mark it knows nothing."""

    asked: list[Case] = field(default_factory=list)

    def rate(self, cases: Sequence[Case]) -> list[Judgement]:
        self.asked += cases
        known = [(case.completion.count("!"), "?" in case.completion) for case in cases]
        return [Judgement() if missing else Judgement({}, float(n)) for n, missing in known]

    def facts(self) -> dict[str, int]:
        return {"judge_calls": len(self.asked)}


def digits_of(body: dict[str, Any]) -> Any:
    """Return a distribution over the digits that depends on nothing but the question."""
    seed = hashlib.sha256(json.dumps(body["messages"]).encode()).digest()
    mass = np.frombuffer(seed[:5], dtype=np.uint8).astype(float) + 1.0
    return reply(*zip("12345", np.log(mass / mass.sum()).tolist(), strict=True))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "draw_plots", lambda *arguments: None)
    monkeypatch.setattr(client, "FIRST_PAUSE_S", 0.001)


@pytest.fixture
def server() -> Iterator[Running]:
    """Return a judge's server."""
    with serve(digits_of) as running:
        yield running


@pytest.fixture
def lazy(make_context: Callable[..., StageContext], tmp_path: Path) -> Callable[..., StageContext]:
    """Return a function that makes a context under lazy judging; all share a cache."""

    def make(pool: Any, url: str, attempt: str, **config: Any) -> StageContext:
        judge = {
            "mode": "llm",
            "model": {"name": "model", "identity": "x"},
            "aspects": ASPECTS,
            "server": {"url": url, "concurrency": 3, "patience_s": 0.05},
        }
        context = make_context(
            pool, attempt, **{**LOOP, "judging": "lazy", "judge": judge, **config}
        )
        object.__setattr__(context.unit, "locations", {"model": "served@1"})
        object.__setattr__(context.unit, "runtime", {"judgements": str(tmp_path / "judgements")})
        return context

    return make


@pytest.fixture
def pools(make_pool: Any, tmp_path: Path, server: Running, lazy: Any) -> tuple[Any, Any]:
    """Return the same pool without ratings, and with all that the judge gives."""
    bare = make_pool(29)
    rated = make_pool(29)
    rated.folder = tmp_path / "rated"
    context = lazy(bare.write(), server.url, "rating")
    object.__setattr__(context.unit, "runtime", {"judgements": str(tmp_path / "other-judgements")})
    judge = context.config(LoopConfig).judge
    assert judge is not None
    with open_rater(context, judge) as rater:
        cases = [
            Case(row["prompt_id"], row["model"], row["prompt"], row["completion"], [], None, None)
            for row in rated.rows
        ]
        for row, judged in zip(rated.rows, rater.rate(cases), strict=True):
            row["overall_score"] = judged.overall_score
    for row in bare.rows:
        row["overall_score"] = None
    server.seen.clear()
    return bare.write(), rated.write()


def bytes_of(context: StageContext) -> dict[str, bytes]:
    return {name: (context.output / name).read_bytes() for name in RESULTS}


def lazy_judge(pool: Any, tmp_path: Path) -> tuple[LazyJudge, FakeRater, Any]:
    table, rater = pool.write().table(), FakeRater()
    return LazyJudge(table, PoolTexts(pool.candidates, table, tmp_path), rater), rater, table


def bare(pool: Any, *texts: str) -> Any:
    for index, row in enumerate(pool.rows):
        row["overall_score"] = None
        row["completion"] = texts[index % len(texts)] if texts else row["completion"]
    return pool


@pytest.mark.parametrize("budget", [None, 31])
def test_lazy_buys_the_same_comparisons(
    pools: Any, server: Running, lazy: Any, make_context: Any, budget: int | None
) -> None:
    unrated, rated = pools
    eager = make_context(rated, "eager", **LOOP, budget=budget)
    run(eager)
    context = lazy(unrated, server.url, "lazy", budget=budget)
    run(context)
    assert bytes_of(context) == bytes_of(eager)
    assert len(server.seen) == eager.metadata["annotations"] * len(ASPECTS)
    assert context.metadata["judge_calls"] == len(server.seen)


@pytest.mark.parametrize(
    "changes",
    [{}, {"prompt_selection": "most_uncertain", "prompts_scored": 11, "budget": 53}],
    ids=["shuffled", "most_uncertain"],
)
def test_killed_at_any_batch_asks_nothing_twice_and_ends_with_the_same_bytes(
    pools: Any,
    server: Running,
    lazy: Any,
    make_context: Any,
    tmp_path: Path,
    changes: dict[str, Any],
) -> None:
    unrated, rated = pools
    reference = make_context(rated, "eager", **LOOP, **changes)
    run(reference)
    for batch in range(1, 6):
        context = lazy(unrated, server.url, f"attempt-{batch}", **changes)
        context.progress = _die_after(batch)  # type: ignore[method-assign]
        with pytest.raises(Killed):
            run(context)
    for path in (tmp_path / "judgements").rglob("*.judgements"):
        path.unlink()  # the checkpoint alone must do
    last = lazy(unrated, server.url, "last", **changes)
    run(last)
    assert bytes_of(last) == bytes_of(reference)
    assert len(server.seen) == reference.metadata["annotations"] * len(ASPECTS)
    last.finish()
    assert list(last.checkpoints.iterdir()) == []


def _die_after(batch: int) -> Callable[..., None]:
    def die(done: int, total: int, unit: str) -> None:
        del total, unit
        if done == batch:
            raise Killed

    return die


def test_other_experiments_pay_only_for_what_is_new(pools: Any, server: Running, lazy: Any) -> None:
    unrated, _ = pools
    run(lazy(unrated, server.url, "first"))
    first = len(server.seen)
    again = lazy(unrated, server.url, "again")
    run(again)
    assert len(server.seen) == first
    other = lazy(unrated, server.url, "other", acquisition={"method": "random"}, seed=9)
    run(other)
    new = len(server.seen) - first
    assert 0 < new < first
    assert other.metadata["judgements_from_cache"] == first - new


def test_server_that_goes_away_costs_nothing_that_was_judged(
    pools: Any, server: Running, lazy: Any, make_context: Any
) -> None:
    unrated, rated = pools
    left = iter(range(37))

    def dies(body: dict[str, Any]) -> Any:
        return refusal(503, "gone") if next(left, None) is None else digits_of(body)

    with serve(dies) as mortal, pytest.raises(ServerError, match="status 503"):
        run(lazy(unrated, mortal.url, "first"))
    second = lazy(unrated, server.url, "second")
    run(second)
    reference = make_context(rated, "eager", **LOOP)
    run(reference)
    assert bytes_of(second) == bytes_of(reference)
    assert len(server.seen) + 37 == reference.metadata["annotations"] * len(ASPECTS)


def test_only_what_the_budget_buys_is_judged(pool: Any, tmp_path: Path) -> None:
    judge, rater, table = lazy_judge(bare(pool, "a!", "b!!", "c"), tmp_path)
    pairs = np.array([[0, 1], [3, 4], [7, 8], [10, 11]])
    same = np.array([False, True, False, False])
    score_N2 = judge.scores_of(pairs, same, 5)
    assert len(rater.asked) == 4
    assert np.isnan(score_N2).all(axis=1).tolist() == [False, True, False, True]
    assert table.score_R[[0, 1]].tolist() == [1.0, 2.0]


def test_missing_rating_gives_its_place_to_the_next_pair(pool: Any, tmp_path: Path) -> None:
    judge, rater, _ = lazy_judge(bare(pool, "a!", "b?", "c"), tmp_path)
    pairs = np.array([[0, 1], [3, 5], [6, 8]])
    score_N2 = judge.scores_of(pairs, np.zeros(3, dtype=bool), 2)
    assert np.isnan(score_N2).any(axis=1).tolist() == [True, False, True]
    assert len(rater.asked) == 4


def test_nothing_is_judged_twice(pool: Any, tmp_path: Path) -> None:
    judge, rater, _ = lazy_judge(bare(pool, "a!", "b?"), tmp_path)
    pairs = np.array([[0, 1], [1, 2]])
    for _ in range(2):
        judge.scores_of(pairs, np.zeros(2, dtype=bool), None)
    assert [case.completion for case in rater.asked] == ["a!", "b?", "a!"]


def test_state_holds_what_was_judged(pool: Any, tmp_path: Path) -> None:
    judge, _, _ = lazy_judge(bare(pool, "a!", "b?"), tmp_path)
    before = judge.scores_of(np.array([[0, 1]]), np.zeros(1, dtype=bool), None)
    other, rater, _ = lazy_judge(pool, tmp_path)
    other.restore(judge.state())
    after = other.scores_of(np.array([[0, 1]]), np.zeros(1, dtype=bool), None)
    assert rater.asked == []
    assert np.array_equal(before, after, equal_nan=True)


def test_case_has_the_texts_of_its_row(pool: Any, tmp_path: Path) -> None:
    for row in pool.rows:
        row["prompt"] = user_message(f"Question of {row['prompt_id']}")
    table = pool.write().table()
    texts = PoolTexts(pool.candidates, table, tmp_path)
    for number, row in enumerate(pool.rows):
        case = texts.case(number)
        for name in ("prompt_id", "model", "prompt", "completion"):
            assert getattr(case, name) == row[name]
    texts.remove()
    assert not list(tmp_path.glob("texts.*"))


@pytest.mark.parametrize("left", [b"", b"torn", b"another pool"])
def test_texts_that_are_torn_or_of_another_pool_are_written_again(
    make_pool: Any, tmp_path: Path, left: bytes
) -> None:
    (tmp_path / "texts.arrow").write_bytes(left)
    if left == b"another pool":
        other = make_pool(3).write()
        PoolTexts(other.candidates, other.table(), tmp_path)
    pool = make_pool(6).write()
    texts = PoolTexts(pool.candidates, pool.table(), tmp_path)
    assert texts.case(20).completion == pool.rows[20]["completion"]


def test_pool_with_ratings_is_refused(pool: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="already"):
        lazy_judge(pool, tmp_path)


def test_rows_without_any_rating_are_passed_over(
    pools: Any, lazy: Any, caplog: pytest.LogCaptureFixture
) -> None:
    unrated, _ = pools

    def some(body: dict[str, Any]) -> Any:
        is_hard = "of 2 to" in body["messages"][-1]["content"]
        return reply(("No", -0.1)) if is_hard else digits_of(body)

    with serve(some) as running:
        context = lazy(unrated, running.url, "lazy")
        run(context)
    models = {row[side] for row in read_rows(context.output / paths.PREFERENCES) for side in SIDES}
    assert "m2" not in models
    assert context.metadata["missing_scores"] == context.metadata["prompts"] - len(
        read_rows(context.output / paths.PREFERENCES)
    )
    assert context.metadata["replies_without_digit"] > 0
    assert "its rating is missing" in caplog.text


SIDES = ("chosen_model", "rejected_model")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"acquisition": {"method": "maxmin"}}, r"'maxmin' ranks .*judging: eager"),
        ({"acquisition": {"method": "ultrafeedback"}}, r"'ultrafeedback' ranks"),
        ({"judge": {"mode": "verifiable"}}, r"'verifiable', whose ratings cost nothing"),
        ({"judging": "eager"}, r"those of the dataset"),
        ({"judge": None}, r"those of the dataset"),
    ],
)
def test_what_lazy_judging_cannot_do_is_refused(
    pool: Any, lazy: Any, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        run(lazy(pool.write(), "http://127.0.0.1:1/v1", "lazy", **changes))
