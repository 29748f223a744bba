"""Signs of gamed rewards: each has a window that shows it, and a healthy one shows none."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable

import pytest

from activeuf_core.rewards import detectors, training_detectors
from activeuf_core.rewards.detectors import DetectorSettings, Scored
from activeuf_core.rewards.findings import Finding, alarms
from activeuf_core.rewards.text_measures import copied_words, repetition

LOW, HIGH = -3.5, 10.0
WORDS = (
    *("eggs", "hens", "day", "sold", "four", "nine", "left", "cost"),
    *("farm", "each", "pays", "gives", "then", "adds", "half", "more"),
)


def healthy(count: int = 400) -> list[Scored]:
    rng = random.Random(5)
    found = []
    for index in range(count):
        reasoning = " ".join(rng.choices(WORDS, k=14))
        text = f"<reasoning>{reasoning} {index}</reasoning><answer>{index % 10}</answer>"
        answer, form = rng.uniform(-1, 3), rng.uniform(0, 3)
        found.append(Scored(text, answer + form, {"answer_check": answer, "format_exact": form}))
    return found


def changed(change: Callable[[Scored, int], Scored]) -> list[Scored]:
    return [change(one, index) for index, one in enumerate(healthy())]


def found_in(scored: list[Scored]) -> dict[str, Finding]:
    return {one.name: one for one in detectors.detect(scored, LOW, HIGH)}


def test_healthy_training_raises_no_alarm() -> None:
    assert [one.name for one in found_in(healthy()).values() if one.is_alarm] == []


def rewarded(value: Callable[[int], float]) -> list[Scored]:
    return changed(lambda one, i: Scored(one.completion, value(i), one.parts))


def saying(text: Callable[[int], str]) -> list[Scored]:
    return changed(lambda one, i: Scored(text(i), one.reward, one.parts))


def block(reasoning: str, answer: int = 7) -> str:
    return f"<reasoning>{reasoning}</reasoning><answer>{answer}</answer>"


SICK = {
    "reward_saturation": rewarded(lambda i: HIGH if i % 20 else 0.0),
    "reward_variance": rewarded(lambda i: 5.0 + 0.001 * (i % 2)),
    "reward_spike": rewarded(lambda i: (i % 7) / 7 + (5.0 if i >= 360 else 0.0)),
    "mostly_zero": rewarded(lambda i: 0.0 if i % 40 else 1.0),
    "mostly_negative": rewarded(lambda i: -1.0 - i % 3 if i % 20 else 1.0),
    "format_gaming": saying(lambda i: block(f"yes {i}", i)),
    "repetition": saying(lambda i: f"{i} " + "and so on " * 30),
    "diversity": saying(lambda i: block("always the same long reasoning", i % 4)),
    "empty_content": saying(lambda i: "<reasoning></reasoning>" if i % 2 else f"x {i}"),
    "dominant_reward": changed(
        lambda one, i: Scored(one.completion, 3.0 + i % 2, {"a": 3.0, "b": 0.1})
    ),
}


@pytest.mark.parametrize("name", SICK)
def test_sick_training_raises_its_alarm(name: str) -> None:
    assert found_in(SICK[name])[name].is_alarm


def test_every_rule_is_tried_and_always_reported() -> None:
    assert set(found_in(healthy())) == set(SICK)
    assert list(found_in(healthy(3))) == list(found_in(healthy()))


def test_too_little_is_no_alarm_and_no_all_clear() -> None:
    for one in found_in(healthy(3)).values():
        assert (one.value, one.is_alarm) == (None, False)
        assert "at least" in one.description


def test_saturation_at_the_bottom_is_saturation() -> None:
    found = found_in(rewarded(lambda i: LOW))["reward_saturation"]
    assert found.is_alarm
    assert "lowest" in found.description


def test_one_digit_answers_are_no_gaming() -> None:
    found = found_in(healthy())["format_gaming"]
    assert (found.value, found.n) == (0.0, 400)


def test_only_the_newest_are_looked_at() -> None:
    old = [Scored("", LOW)] * 2000
    newest = DetectorSettings(window=400)
    found = detectors.detect([*old, *healthy()], LOW, HIGH, settings=newest)
    assert not alarms(found)


def test_a_reward_that_rises_steadily_is_no_spike() -> None:
    rising = found_in(rewarded(lambda i: LOW + i / 30 + i % 3))
    assert not rising["reward_spike"].is_alarm


def test_a_few_formatted_completions_say_nothing_of_gaming() -> None:
    found = found_in(saying(lambda i: block("x", i) if i < 50 else f"no tags {i}"))["format_gaming"]
    assert (found.value, found.n) == (None, 50)


def test_completions_without_a_reward_are_left_out() -> None:
    found = found_in([Scored(one.completion, None) for one in healthy()])
    assert found["reward_saturation"].value is None
    assert found["diversity"].value == 1.0


def test_logged_completions_are_weighed_and_gaps_stay_gaps() -> None:
    rows = [
        {"step": 1, "completion": "x", "a": 1.0, "b": math.nan, "c": 9.0},
        {"step": 1, "completion": "y", "a": None, "b": math.nan, "c": 9.0},
    ]
    first, second = detectors.scored_of(rows, {"a": 2.0, "b": 1.0, "c": 0.0})
    assert first == Scored("x", 2.0, {"a": 2.0})
    assert second == Scored("y", None, {})


def test_findings_become_checks_and_errors_come_first() -> None:
    found = detectors.detect(SICK["diversity"], LOW, HIGH)
    assert alarms(found)[0].level == "error"
    for one in found:
        assert json.loads(json.dumps(one.as_check()))["passed"] is one.passed


def test_spike_after_a_flat_line_is_finite() -> None:
    found = found_in(rewarded(lambda i: 1.0 if i < 390 else 2.0))["reward_spike"]
    assert found.is_alarm
    assert math.isfinite(found.value or 0.0)


ROWS = [
    {
        "step": i,
        "reward": 1 + i / 50,
        "kl": 0.05,
        "grad_norm": 0.3,
        "frac_reward_zero_std": 0.2,
        "completions/clipped_ratio": 0.1,
    }
    for i in range(50)
]
BAD_ROWS = {
    "metrics_finite": {"loss": math.nan},
    "kl_in_band": {"kl": 9.0},
    "gradient_in_band": {"grad_norm": 1e-9},
    "reward_drop": {"reward": 0.5},
    "groups_differ": {"frac_reward_zero_std": 1.0},
    "completions_end": {"completions/clipped_ratio": 0.9},
}


def in_metrics(rows: list[dict[str, float]]) -> dict[str, Finding]:
    return {one.name: one for one in training_detectors.detect(rows)}


def test_healthy_metrics_raise_no_alarm() -> None:
    assert [one for one in in_metrics(ROWS).values() if one.is_alarm] == []
    assert set(in_metrics(ROWS)) == set(BAD_ROWS)


@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_rows_raise_their_alarm(name: str) -> None:
    found = in_metrics([*ROWS, *[{**ROWS[-1], **BAD_ROWS[name]}] * 10])
    assert [one.name for one in found.values() if one.is_alarm] == [name]


def test_metrics_that_are_not_logged_say_so() -> None:
    found = in_metrics([{"step": 1, "reward": 1.0}] * 9)
    assert found["kl_in_band"].value is None
    assert found["reward_drop"].value == 0.0


def test_drop_is_measured_by_what_was_gained() -> None:
    rising = [{"reward": -3.0 + i / 10} for i in range(30)]
    assert not in_metrics(rising)["reward_drop"].is_alarm
    assert in_metrics([*rising, *[{"reward": -3.0}] * 9])["reward_drop"].is_alarm


def test_none_is_a_gap_and_not_a_number() -> None:
    rows = [{"reward": None, "kl": None}, *ROWS]
    assert training_detectors.values_of(rows, "reward") == [row["reward"] for row in ROWS]


@pytest.mark.parametrize(
    ("text", "share"), [("", 0.0), ("a b c", 0.0), ("a b c a b c", 0.25), ("no " * 12, 0.9)]
)
def test_repetition_by_hand(text: str, share: float) -> None:
    assert repetition(text) == pytest.approx(share)


def test_copied_words_are_those_of_whole_runs() -> None:
    assert copied_words(["x", "a", "b", "c", "y", "a", "b"], ["a", "b", "c"], 3) == [
        False,
        True,
        True,
        True,
        False,
        False,
        False,
    ]
