"""AlpacaEval, whole: a tiny policy, judged here and by servers that behave and misbehave."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from activeuf_core import processes
from activeuf_core.annotations import server as client
from activeuf_core.artifacts import read_json
from activeuf_core.errors import ConfigError, DataError, ServerError
from activeuf_core.evals import alpaca, alpaca_judge, policy
from activeuf_core.evals.alpaca_config import PairJudge
from activeuf_core.evals.alpaca_judge_model import ModelBackend
from activeuf_core.evals.alpaca_prompt import Comparison, own_prompt
from activeuf_core.evals.outcome import Prediction
from activeuf_core.evals.rescore import rescore
from activeuf_core.jobs import Unit
from activeuf_core.paths import LENGTH_CONTROL, LENGTH_PLOT, PREDICTIONS, SCORE, RunFolder
from activeuf_core.stage import StageContext
from tests.core.evals.conftest import ROWS, WriteRows
from tests.fakes.judge_server import Running, in_turn, refusal, reply, serve
from tests.fakes.stage_context import MakeContext, passed
from tests.fakes.stage_of_several import start

Serve = Callable[..., Running]
Make = Callable[..., StageContext]
FIRST = reply(("m", -0.105), ("M", -2.303))
"""0.9 for the output that is shown first."""
WORDS = reply(("Well", -0.1), ("So", -3.0))
HERE = {"model": {"name": "judge", "identity": "1"}, "dtype": "float32", "min_label_mass": 0.0}


def hang(body: dict[str, Any]) -> Any:
    """Keep silent for longer than the client waits."""
    threading.Event().wait(0.3)
    return refusal(500, f"{len(body)}")


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


@pytest.fixture
def make(make_context: MakeContext, write_rows: WriteRows, tiny_policy: Path) -> Make:
    """Return a maker of contexts; keywords change the config."""

    def context(
        rows: list[Any] | None = None,
        places: Mapping[str, Path] | None = None,
        **changes: Any,
    ) -> StageContext:
        data = write_rows(ROWS["alpaca_eval"] if rows is None else rows, "alpaca.jsonl")
        named = {"benchmark": "alpaca_eval", "data": {"name": "rows", "identity": "1"}}
        fast = {"max_new_tokens": 6, "dtype": "float32", "batch_size": 2, "judge": HERE}
        locations = {"rows": data, "judge": tiny_policy, **(places or {})}
        inputs = {"dpo_model": {"test": tiny_policy}}
        return make_context("alpaca_eval_score", {**named, **fast, **changes}, inputs, locations)

    return context


def asked(running: Running, **settings: Any) -> dict[str, Any]:
    """Return a judge behind a server."""
    own = {"url": running.url, "served_as": "tiny", "concurrency": 2, "patience_s": 20.0}
    return {"model": HERE["model"], "server": {**own, **settings}}


def predictions(context: StageContext) -> list[Prediction]:
    lines = (context.output / PREDICTIONS).read_text("utf-8").splitlines()
    return [Prediction(**json.loads(line)) for line in lines]


def nothing_published(context: StageContext) -> bool:
    return not (context.output / SCORE).exists() and not (context.output / PREDICTIONS).exists()


def test_a_model_in_this_process_judges(make: Make) -> None:
    context = make()
    alpaca.run(context)
    score = read_json(context.output / SCORE)
    assert score["metric"] == "length_controlled_winrate"
    assert (score["n"], context.metadata["judge_calls"]) == (3, 3)
    assert 0.0 < score["score"] < 1.0
    assert (context.output / LENGTH_PLOT).is_file()
    assert passed(context)["score_covers_benchmark"]


def test_a_score_says_who_judged_and_how(make: Make) -> None:
    context = make()
    alpaca.run(context)
    score = read_json(context.output / SCORE)
    settings = score["settings"]
    assert settings["judge"]["model"] == "judge"
    assert settings["judge"]["prompt"] == "the project's own words, not AlpacaEval's"
    assert (settings["reference"], settings["max_new_tokens"]) == ("us", 6)
    assert set(score["details"]["parts"]) == {"length-controlled", "raw win rate", "wins outright"}
    assert score["details"]["mean_reference_length"] == pytest.approx((5 + 17 + 28) / 3)


def test_a_server_with_all_tokens_judges_as_the_model_does(make: Make, server: Serve) -> None:
    from tests.fakes.judge_server import model_answer

    local = make()
    alpaca.run(local)
    answer = model_answer(local.unit.locations["judge"])
    judge = {**asked(server(answer), top_logprobs=320), "min_label_mass": 0.0}
    served = make(judge=judge)
    here = [prediction.correct for prediction in predictions(local)]
    alpaca.run(served)
    there = [prediction.correct for prediction in predictions(served)]
    assert there == pytest.approx(here, rel=1e-4)


def test_a_judge_that_always_names_the_first_prefers_by_position(make: Make, server: Serve) -> None:
    context = make(judge=asked(server(FIRST)))
    alpaca.run(context)
    for prediction in predictions(context):
        first = prediction.extra["is_output_first"]
        assert prediction.correct == pytest.approx(0.9 if first else 0.1, abs=0.001)


def test_win_rates_can_be_computed_again_without_a_judge(make: Make) -> None:
    context = make()
    alpaca.run(context)
    again = alpaca.summarise(predictions(context))
    score = read_json(context.output / SCORE)
    assert (again.score, again.stderr) == (score["score"], score["stderr"])


@pytest.mark.slow
def test_two_processes_score_as_one_does(make: Make, tmp_path: Path) -> None:
    alone = make()
    alpaca.run(alone)
    shutil.rmtree(alone.checkpoints)
    body = {"units": [asdict(replace(alone.unit, fingerprint="0123456789"))]}
    assert start(2, "activeuf_core.evals", body, tmp_path / "two") == 0
    folder = RunFolder(tmp_path / "two").unit(Unit(**body["units"][0]).name).output
    text = (folder / PREDICTIONS).read_text("utf-8")
    assert text == (alone.output / PREDICTIONS).read_text("utf-8")
    assert read_json(folder / SCORE) == read_json(alone.output / SCORE)


def test_equal_outputs_are_a_tie_that_nobody_is_asked_about(make: Make, server: Serve) -> None:
    context = make()
    alpaca.run(context)
    rows = [
        {**r, "output": p.output}
        for r, p in zip(ROWS["alpaca_eval"], predictions(context), strict=True)
    ]
    rows[0] = ROWS["alpaca_eval"][0]
    running = server(FIRST)
    same = make(rows, judge=asked(running))
    alpaca.run(same)
    assert [p.correct for p in predictions(same)][1:] == [0.5, 0.5]
    assert len(running.seen) == 1


def test_a_policy_that_is_the_reference_ties_with_it(make: Make) -> None:
    context = make()
    alpaca.run(context)
    rows = [
        {**row, "output": prediction.output}
        for row, prediction in zip(ROWS["alpaca_eval"], predictions(context), strict=True)
    ]
    same = make(rows)
    alpaca.run(same)
    assert read_json(same.output / SCORE)["score"] == pytest.approx(0.5)
    assert same.metadata["judge_calls"] == 0


def test_what_was_out_of_the_ordinary_is_counted_in_all_processes(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModelBackend, "_fit", lambda backend, pair: None)
    monkeypatch.setattr(processes, "gather", lambda value: [value, value])
    context = make()
    config = PairJudge.model_validate(HERE)
    prompt = own_prompt(config.labels)
    backend = ModelBackend(config, prompt, "")
    backend.ask([Comparison("a", "b", "c", True)], lambda place, verdict: None)
    assert alpaca_judge.compare(context, config, prompt, backend, [])[1] == {
        "judge_calls": 0,
        "judgements_from_cache": 0,
        "comparisons_too_long": 2,
    }


def test_a_reply_without_a_label_is_missing_and_no_tie(make: Make, server: Serve) -> None:
    running = server(FIRST, FIRST, WORDS)
    context = make(judge=asked(running, concurrency=1))
    alpaca.run(context)
    score = read_json(context.output / SCORE)
    assert [p.correct is None for p in predictions(context)] == [False, False, True]
    assert (score["n"], score["details"]["judgements_missing"]) == (2, 1)
    assert not passed(context)["score_covers_benchmark"]
    assert context.metadata["reminders"] == 2
    assert "Your last reply was no label" in running.seen[-1]["messages"][-1]["content"]


def test_a_judge_that_never_names_a_label_scores_nothing(make: Make, server: Serve) -> None:
    context = make(judge=asked(server(WORDS)))
    with pytest.raises(DataError, match=r"answered none of 3 comparisons with a label \(m or M\)"):
        alpaca.run(context)
    assert nothing_published(context)


def test_a_tiny_model_that_gives_labels_nothing_is_refused(make: Make) -> None:
    with pytest.raises(DataError, match=r"min_label_mass is 0\.9"):
        alpaca.run(make(judge={**HERE, "min_label_mass": 0.9}))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (refusal(500, "broken"), "status 500"),
        (hang, "nothing within 0.1 s"),
    ],
)
def test_a_server_that_does_not_answer_ends_with_what_to_do(
    make: Make, server: Serve, answer: Any, told: str
) -> None:
    context = make(judge=asked(server(answer), patience_s=0.2, timeout_s=0.1))
    with pytest.raises(ServerError, match=f"{told}.*check the server"):
        alpaca.run(context)
    assert nothing_published(context)


def test_after_a_failed_judge_nothing_is_written_or_asked_twice(
    make: Make, server: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = asked(server(FIRST, refusal(500, "broken")), concurrency=1, patience_s=0.1)
    with pytest.raises(ServerError):
        alpaca.run(make(judge=fails))
    monkeypatch.setattr(policy, "open_policy", None)  # would be called to write again
    running = server(FIRST)
    context = make(judge=asked(running))
    alpaca.run(context)
    assert len(running.seen) == 2
    assert context.metadata["judgements_from_cache"] == 1
    assert context.metadata["resumed_outputs"] == 3


def test_a_judge_without_an_address_is_refused_before_anything_is_written(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "open_policy", None)
    with pytest.raises(ConfigError, match=r"judge\.server: the address is ''"):
        alpaca.run(make(judge={"model": HERE["model"], "server": {}}))


def test_a_config_without_a_judge_names_the_key(make: Make) -> None:
    context = make()
    config = {key: value for key, value in context.unit.config.items() if key != "judge"}
    context.unit = replace(context.unit, config=config)
    with pytest.raises(ConfigError, match="key 'judge' is missing"):
        alpaca.run(context)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"output": None}, "column 'output' holds None; expected the reference model's output"),
        ({"instruction": " "}, "column 'instruction' holds ' '"),
        ({"generator": "others"}, r"of 2 models \(others, us\)"),
    ],
)
def test_wrong_rows_are_refused(make: Make, change: dict[str, Any], told: str) -> None:
    rows = [{**ROWS["alpaca_eval"][0], **change}, *ROWS["alpaca_eval"][1:]]
    with pytest.raises(DataError, match=told):
        alpaca.run(make(rows))


def test_a_repeated_instruction_is_refused(make: Make) -> None:
    with pytest.raises(DataError, match="holds the same text as row 1"):
        alpaca.run(make([ROWS["alpaca_eval"][0]] * 2))


def test_a_long_question_is_asked_with_the_longer_output_cut(make: Make) -> None:
    rows = [{**ROWS["alpaca_eval"][0], "output": "word " * 2000}]
    context = make(rows, judge={**HERE, "max_tokens": 1600})
    alpaca.run(context)
    (prediction,) = predictions(context)
    assert prediction.extra["is_shortened"]
    assert prediction.extra["reference_length"] == 10000
    assert read_json(context.output / SCORE)["details"]["outputs_cut_for_judge"] == 1


def test_a_file_can_hold_the_judges_words(make: Make, server: Serve, tmp_path: Path) -> None:
    words = tmp_path / "judge.txt"
    words.write_text("{instruction}\n1: {output_1}\n2: {output_2}\n", encoding="utf-8")
    running = server(reply(("1", -0.1), ("2", -2.4)))
    prompt = {"data": {"name": "words", "identity": "1"}}
    judge = {**asked(running), "prompt": prompt, "labels": ["1", "2"]}
    context = make(places={"words": words}, judge=judge)
    alpaca.run(context)
    assert read_json(context.output / SCORE)["settings"]["judge"]["prompt"] == "judge.txt"
    assert running.seen[0]["messages"][0]["content"].startswith(("Name", "Say", "Count"))


def test_difficulties_enter_the_score(make: Make, write_rows: WriteRows) -> None:
    table = [{"index": i, "instruction_difficulty": i - 1.0} for i in range(3)]
    control = {"data": {"name": "table", "identity": "1"}}
    places = {"table": write_rows(table, "table.jsonl")}
    context = make(places=places, length_control=control)
    alpaca.run(context)
    score = read_json(context.output / SCORE)
    assert score["details"]["regression"]["difficulty"] is not None
    assert score["settings"]["length_control"]["name"] == "table"


def test_a_score_with_difficulties_can_be_computed_again(make: Make, write_rows: WriteRows) -> None:
    own = {"preference": 0.3, "std_delta_len": 0.7}
    table = [{"index": i, "instruction_difficulty": i / 3 - 0.1, **own} for i in range(3)]
    places = {"table": write_rows(table, "table.jsonl")}
    context = make(places=places, length_control={"data": {"name": "table", "identity": "1"}})
    alpaca.run(context)
    places["table"].unlink()
    again = rescore(context.output)
    assert (again.is_same, again.score) == (True, read_json(context.output / SCORE)["score"])
    (context.output / LENGTH_CONTROL).unlink()
    with pytest.raises(DataError, match="written by an earlier version"):
        rescore(context.output)
