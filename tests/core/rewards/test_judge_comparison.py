"""The judge of pairs, and its agreement with known winners."""

from __future__ import annotations

import pytest

from activeuf_core.annotations import server as client
from activeuf_core.annotations.server import Endpoint
from activeuf_core.errors import DataError
from activeuf_core.rewards.config import JudgeReward
from activeuf_core.rewards.judge_comparison import (
    Compared,
    PairJudge,
    Verdict,
    agreement,
    cohens_kappa,
)
from tests.fakes.judge_server import reply, serve

CONFIG = JudgeReward.model_validate(
    {
        "model": {"name": "tiny", "identity": "x"},
        "server": {"concurrency": 2, "patience_s": 0.2, "reminders": 0},
    }
)


def prefers_long(body: dict) -> tuple[int, dict[str, str], bytes]:
    """Answer as a judge that likes the longer completion."""
    text = body["messages"][1]["content"]
    first = text.split("==== COMPLETION 1")[1].split("==== END")[0]
    second = text.split("==== COMPLETION 2")[1].split("==== END")[0]
    return reply(("1" if len(first) > len(second) else "2", 0.0))


def prefers_first(body: dict) -> tuple[int, dict[str, str], bytes]:
    return reply(("1", 0.0))


def says_three(body: dict) -> tuple[int, dict[str, str], bytes]:
    return reply(("3", 0.0))


@pytest.mark.parametrize(
    ("answer", "verdict", "winner"),
    [(prefers_long, Verdict(1.0, 1.0), "a"), (prefers_first, Verdict(1.0, 0.0), "tie")],
)
def test_verdict_is_the_mean_of_both_orders(answer: object, verdict: Verdict, winner: str) -> None:
    with serve(answer) as running:  # type: ignore[arg-type]
        judge = PairJudge(CONFIG, Endpoint(running.url, "tiny"))
        (found,) = judge.compare([Compared("p", "a long one", "short")])
        assert len(running.seen) == 2
    assert found == verdict
    assert found.winner() == winner


def test_answer_that_is_no_place_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_PAUSE_S", 0.001)
    with serve(says_three) as running:
        judge = PairJudge(CONFIG, Endpoint(running.url, "tiny"))
        assert judge.compare([Compared("p", "x", "y", "1. Be brief.")]) == [None]
        assert judge.asker.facts()["judge_unparseable"] == 2
        assert "Be brief." in running.seen[0]["messages"][1]["content"]


A, B, ORDER = Verdict(0.9, 0.8), Verdict(0.1, 0.2), Verdict(0.9, 0.1)


def test_agreement_by_hand() -> None:
    found = agreement([A, A, B, ORDER, None], ["a", "b", "b", "a", "a"])
    assert (found.accuracy.count, found.accuracy.n) == (2, 3)
    assert (found.ties.count, found.ties.n) == (1, 4)
    assert found.decided_by_order.count == 1
    assert found.num_unrated == 1


def test_place_bias_is_half_without_bias_and_one_at_worst() -> None:
    assert agreement([A, B], ["a", "b"]).first_place == pytest.approx(0.5)
    assert agreement([Verdict(1.0, 0.0)], ["a"]).first_place == 1.0
    assert agreement([], []).first_place is None


@pytest.mark.parametrize(
    ("pairs", "kappa"),
    [
        ([("a", "a"), ("b", "b")], 1.0),
        ([("a", "b"), ("b", "a")], -1.0),
        ([("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")], 0.0),
        ([("a", "a")], None),
        ([], None),
    ],
)
def test_kappa(pairs: list[tuple[str, str]], kappa: float | None) -> None:
    assert cohens_kappa(pairs) == kappa


def test_a_label_per_verdict() -> None:
    with pytest.raises(DataError, match="1 verdicts and 0 labels"):
        agreement([A], [])
