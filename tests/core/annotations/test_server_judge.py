"""The judge behind a server: a real one with a tiny model, and servers that misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from activeuf_core import paths
from activeuf_core.annotations import server as client
from activeuf_core.annotations.server_judge import digit_masses
from activeuf_core.errors import ConfigError, DataError, ServerError
from activeuf_core.schemas import read_rows
from activeuf_core.stage import StageContext
from tests.fakes.judge_server import Running, in_turn, refusal, reply, serve

Judged = Callable[..., StageContext]
Serve = Callable[..., Running]
TEXTS = [{"completion": text} for text in ("short", "a longer completion", "x", "")]
FOUR = reply(("4", -0.1), ("5", -3.0))
WORDS = reply(("Well", -0.1), ("So", -3.0))


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_PAUSE_S", 0.001)
    for name in (client.URL, client.KEY):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Serve]:
    """Return a function that starts a server with the given answers, one after the other."""
    with ExitStack() as stack:
        yield lambda *answers: stack.enter_context(serve(in_turn(*answers)))


def judge(url: str | None, **settings: Any) -> dict[str, Any]:
    own = {"url": url, "served_as": "tiny", "concurrency": 4, "top_logprobs": 320}
    over = {**own, **settings.pop("server", {})}
    model = {"name": "model", "identity": "x"}
    return {"mode": "llm", "model": model, "min_digit_mass": 0.0, "server": over, **settings}


def one(url: str, **server: Any) -> dict[str, Any]:
    """Return a judge of one aspect."""
    own = {"concurrency": 1, **server}
    return judge(url, aspects=["honesty"], min_digit_mass=0.05, server=own)


def digits(context: StageContext) -> list[list[float]]:
    rows = read_rows(context.output / paths.DIGIT_PROBABILITIES)
    return [[row[f"p{digit}"] for digit in range(1, 6)] for row in rows]


def scores(context: StageContext) -> list[float | None]:
    return [row["overall_score"] for row in read_rows(context.output / paths.ANNOTATIONS)]


def test_server_with_all_tokens_rates_as_the_model_does(
    judged: Judged, judge_model: Path, served_model: str
) -> None:
    served = judged(judge(served_model), [{}] * 4, TEXTS, judge_model)
    found, rated = digits(served), scores(served)
    assert served.metadata["judge_calls"] == 16
    local = judged({**judge(None), "server": None}, [{}] * 4, TEXTS, judge_model)
    assert found == [pytest.approx(row, rel=1e-4) for row in digits(local)]
    assert rated == pytest.approx(scores(local), rel=1e-4)


def test_digits_beyond_the_listed_tokens_count_as_nothing(
    judged: Judged, judge_model: Path, served_model: str
) -> None:
    settings = judge(served_model, server={"top_logprobs": 20, "reminders": 0})
    few = digits(judged(settings, [{}] * 4, TEXTS, judge_model))
    every = digits(judged(judge(served_model), [{}] * 4, TEXTS, judge_model))
    few_Q5, every_Q5 = np.array(few), np.array(every)
    assert (few_Q5 <= every_Q5 + 1e-9).all()
    assert ((few_Q5 == 0.0) | np.isclose(few_Q5, every_Q5)).all()


def test_second_run_asks_nothing(judged: Judged, judge_model: Path, server: Serve) -> None:
    running = server(FOUR)
    first = judged(judge(running.url), [{}] * 4, TEXTS, judge_model)
    again = judged(judge(running.url), [{}] * 4, TEXTS, judge_model)
    assert len(running.seen) == 16
    assert again.metadata["judgements_from_cache"] == 16
    assert scores(again) == scores(first)


def test_key_comes_from_the_environment_and_is_written_nowhere(
    judged: Judged,
    judge_model: Path,
    server: Serve,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    running = server(FOUR)
    monkeypatch.setenv(client.URL, running.url)
    monkeypatch.setenv(client.KEY, "sk-secret")
    context = judged(judge(None), [{}], [{}], judge_model)
    assert running.seen[0]["key"] == "Bearer sk-secret"
    assert running.seen[0]["path"] == "/v1/chat/completions"
    context.finish()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if b"sk-secret" in path.read_bytes()]


@pytest.mark.parametrize(
    "failure",
    [
        refusal(500, "out of memory"),
        refusal(429, "slow down", Retry_After="0.01"),
        (200, {}, b"<html>proxy</html>"),
        (200, {}, b'{"choices": []}'),
        (200, {"Content-Length": "5000"}, FOUR[2]),
        reply(("4", 7.0)),
        refusal(524, "a proxy waited in vain"),
    ],
    ids=["500", "429", "garbage", "no choices", "truncated", "no probability", "524"],
)
def test_failure_is_tried_again(
    judged: Judged,
    judge_model: Path,
    server: Serve,
    failure: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    running = server(failure, failure, FOUR)
    context = judged(one(running.url), [{}], [{}], judge_model)
    assert scores(context) == [pytest.approx(4.05, abs=0.01)]
    assert context.metadata["requests_repeated"] == 2
    assert caplog.text.count("asking again (1 so far)") == 1


def test_retry_after_is_honoured(judged: Judged, judge_model: Path, server: Serve) -> None:
    running = server(refusal(429, "slow down", Retry_After="3600"), FOUR)
    with pytest.raises(ServerError, match=r"within 900 s; last: status 429: .*slow down"):
        judged(one(running.url), [{}], [{}], judge_model)
    assert len(running.seen) == 1


def test_hanging_server_ends_with_what_to_do(
    judged: Judged, judge_model: Path, server: Serve
) -> None:
    release = threading.Event()
    running = server(lambda body: (release.wait(30), FOUR)[1])
    limits = {"timeout_s": 0.05, "patience_s": 0.15}
    with pytest.raises(
        ServerError, match=r"/v1/chat/completions: no usable reply .*nothing within 0.05 s.*kept"
    ):
        judged(one(running.url, **limits), [{}], [{}], judge_model)
    release.set()


def test_dead_server_names_its_address(judged: Judged, judge_model: Path, server: Serve) -> None:
    with serve(in_turn(FOUR)) as running:
        url = running.url
    with pytest.raises(ServerError, match=rf"{url}/chat/completions: .*ClientConnector"):
        judged(one(url, patience_s=0.05), [{}], [{}], judge_model)


def test_what_was_judged_before_a_failure_is_kept(
    judged: Judged, judge_model: Path, server: Serve
) -> None:
    running = server(FOUR, FOUR, refusal(503, "gone"))
    with pytest.raises(ServerError, match="503"):
        judged(one(running.url, patience_s=0.02), [{}] * 4, TEXTS, judge_model)
    healed = server(FOUR)
    context = judged(one(healed.url), [{}] * 4, TEXTS, judge_model)
    assert len(healed.seen) == 2
    assert context.metadata["judgements_from_cache"] == 2


@pytest.mark.parametrize(("status", "words"), [(401, "bad key"), (404, "no such model")])
def test_refusal_for_good_is_an_error_at_once(
    judged: Judged, judge_model: Path, server: Serve, status: int, words: str
) -> None:
    running = server(refusal(status, words))
    with pytest.raises(ConfigError, match=rf"refuses model 'tiny' with status {status}: .*{words}"):
        judged(one(running.url), [{}], [{}], judge_model)
    assert len(running.seen) == 1


def test_wrong_model_name_is_named(judged: Judged, judge_model: Path, served_model: str) -> None:
    with pytest.raises(ConfigError, match=r"model 'other' with status 404: .*does not exist"):
        judged(one(served_model, served_as="other"), [{}], [{}], judge_model)


def test_reply_without_a_digit_is_asked_again_with_a_reminder(
    judged: Judged, judge_model: Path, server: Serve
) -> None:
    running = server(WORDS, FOUR)
    context = judged(one(running.url), [{}], [{}], judge_model)
    assert scores(context)[0] is not None
    assert "no digit" in running.seen[1]["messages"][-1]["content"]
    assert context.metadata["reminders"] == 1


def test_rating_without_a_digit_is_missing_told_and_not_cached(
    judged: Judged, judge_model: Path, server: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    running = server(WORDS, WORDS, WORDS, FOUR)
    context = judged(one(running.url), [{}] * 2, [{}, {"completion": "b"}], judge_model)
    assert [score is None for score in scores(context)] == [True, False]
    assert context.metadata["replies_without_digit"] == 1
    assert "'p0' ('an answer'): the judge's reply has no digit from 1 to 5: 'Well'" in caplog.text
    again = judged(one(running.url), [{}] * 2, [{}, {"completion": "b"}], judge_model)
    assert None not in scores(again)


def test_rating_of_some_aspects_only_is_counted(
    judged: Judged, judge_model: Path, server: Serve
) -> None:
    running = server(FOUR, WORDS)
    settings = one(running.url, reminders=0) | {"aspects": ["honesty", "helpfulness"]}
    context = judged(settings, [{}], [{}], judge_model)
    assert scores(context) == [pytest.approx(4.05, abs=0.01)]
    assert context.metadata["partly_rated"] == 1


def bare(content: str | None, logprobs: Any) -> tuple[int, dict[str, str], bytes]:
    choice = {"message": {"content": content}, "logprobs": logprobs}
    return (200, {}, json.dumps({"choices": [choice]}).encode())


def test_empty_reply_is_a_missing_rating(judged: Judged, judge_model: Path, server: Serve) -> None:
    empty = bare("", {"content": []})
    running = server(empty, empty, empty, FOUR)
    context = judged(one(running.url), [{}] * 2, [{}, {"completion": "b"}], judge_model)
    assert [score is None for score in scores(context)] == [True, False]
    assert context.metadata["requests_repeated"] == 0


@pytest.mark.parametrize("logprobs", [None, {}, {"content": None}, {"content": []}])
def test_server_that_leaves_probabilities_out_is_told_at_once(
    judged: Judged, judge_model: Path, server: Serve, logprobs: Any
) -> None:
    running = server(bare("4", logprobs))
    with pytest.raises(ConfigError, match="gives no log-probabilities"):
        judged(one(running.url), [{}], [{}], judge_model)
    assert len(running.seen) == 1


def test_no_reply_with_a_digit_at_all_is_an_error(
    judged: Judged, judge_model: Path, server: Serve
) -> None:
    running = server(WORDS)
    texts = [{"completion": f"text {i}"} for i in range(40)]
    with pytest.raises(DataError, match=r"none of the first 24 replies.*prompt 'p23'.*'Well'"):
        judged(one(running.url, reminders=0), [{}] * 40, texts, judge_model)


def test_server_without_probabilities_can_be_read_as_text(
    judged: Judged, judge_model: Path, server: Serve
) -> None:
    text = json.dumps({"choices": [{"message": {"content": " 4/5"}, "logprobs": None}]}).encode()
    running = server((200, {}, text))
    with pytest.raises(ConfigError, match=r"gives no log-probabilities.*top_logprobs: 0"):
        judged(one(running.url), [{}], [{}], judge_model)
    context = judged(one(running.url, top_logprobs=0), [{}], [{}], judge_model)
    assert scores(context) == [4.0]


def test_question_that_is_too_long_is_shortened_and_counted(
    judged: Judged, judge_model: Path, served_model: str
) -> None:
    settings = judge(served_model, aspects=["honesty"])
    context = judged(settings, [{}], [{"completion": "y" * 6000}], judge_model)
    assert context.metadata["questions_shortened"] == 1
    assert scores(context)[0] is not None


@pytest.mark.parametrize(
    ("url", "words"), [(None, r"Set \$ACTIVEUF_JUDGE_URL"), ("http://me:pw@h/v1", "password")]
)
def test_wrong_address_is_refused(
    judged: Judged, judge_model: Path, url: str | None, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        judged(one(url), [{}], [{}], judge_model)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "digit"), [("4", 4), (" **5**", 5), ("4/5", 4), ("10", 0), ("4.5", 0), ("six", 0)]
)
def test_digit_of_a_text(text: str, digit: int) -> None:
    found = digit_masses(client.Reply(text, None))
    assert found == [float(value == digit) for value in range(1, 6)]
