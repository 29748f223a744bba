"""The metrics on outputs whose numbers can be counted by hand, and what always holds."""

from __future__ import annotations

import random

import pytest

from activeuf_core.errors import DataError
from activeuf_core.rewards import legacy_metrics
from activeuf_core.rewards.config import AnswerSettings, Tags
from activeuf_core.rewards.metrics import METRICS, Sample, measure
from activeuf_core.rewards.proportions import proportion, share_of

FORMAT = "<reasoning>r</reasoning><answer>{}</answer>"
TAGS = Tags()

OUTPUTS = [
    ("100", FORMAT.format("100")),
    ("100", FORMAT.format("it is 100")),
    ("100", FORMAT.format("95")),
    ("100", FORMAT.format("115")),
    ("100", "<answer>100</answer>"),
    ("100", "it must be 100"),
    ("100", f"Sure:\n{FORMAT.format('7')}"),
    ("Paris", FORMAT.format("paris")),
]


def samples() -> list[Sample]:
    return [Sample(f"q{i}", gold, text) for i, (gold, text) in enumerate(OUTPUTS)]


COUNTS = {
    "exact_accuracy": (3, 8),
    "numerical_accuracy": (3, 7),
    "numerical_flexible": (4, 7),
    "partial_accuracy": (4, 7),
    "partial_accuracy_wide": (5, 7),
    "format_compliance": (5, 8),
    "format_lenient": (6, 8),
}


@pytest.mark.parametrize("name", [metric.name for metric in METRICS])
def test_counts_by_hand(name: str) -> None:
    found = measure(samples()).metrics[name]
    assert (found.count, found.n) == COUNTS[name]


def test_order_does_not_count() -> None:
    shuffled = random.Random(4).sample(samples(), len(OUTPUTS))
    assert measure(shuffled) == measure(samples())


def test_parts_add_up_to_the_whole() -> None:
    first, second = measure(samples()[:3]).metrics, measure(samples()[3:]).metrics
    for name, found in measure(samples()).metrics.items():
        assert found.count == first[name].count + second[name].count
        assert found.n == first[name].n + second[name].n


def test_errors_are_no_wrong_answers_and_can_be_counted_as_such() -> None:
    lost = Sample("q9", "100", None, error="the server went away")
    found = measure([*samples(), lost])
    assert (found.num_samples, found.num_errors) == (9, 1)
    assert found.metrics["exact_accuracy"].n == 8
    assert found.with_errors_wrong["exact_accuracy"].n == 9
    assert found.with_errors_wrong["numerical_accuracy"].n == 8


def test_nothing_answered_is_no_zero() -> None:
    found = measure([Sample("q", "1", None, error="x")])
    assert found.metrics["exact_accuracy"].value is None
    assert found.mean_tokens is None


def test_truncation_tokens_and_latency() -> None:
    found = measure(
        [
            Sample("a", "1", "x", is_truncated=True, num_tokens=10, latency_s=1.0),
            Sample("b", "1", "x", num_tokens=20),
        ]
    )
    assert (found.truncation.count, found.mean_tokens, found.mean_latency_s) == (1, 15.0, 1.0)


def test_flat_form_counts_errors_as_wrong() -> None:
    flat = measure([*samples(), Sample("q9", "100", None, error="x")]).flat()
    assert flat["exact_accuracy"] == 3 / 9
    assert flat["total_examples"] == 9


def test_flat_form_has_the_older_names() -> None:
    flat = measure(samples()).flat()
    assert flat["exact_accuracy"] == 3 / 8
    assert (flat["exact_correct"], flat["format_correct"], flat["total_examples"]) == (3, 5, 8)
    assert set(measure(samples()).as_json()["metrics"]) == set(COUNTS)


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (992, 1319, 0.7281, 0.7747),
    ],
)
def test_wilson_interval_of_published_values(count: int, n: int, low: float, high: float) -> None:
    found = proportion(count, n)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_wilson_interval_agrees_with_its_definition() -> None:
    z = 1.959963984540054
    for count, n in [(1, 7), (3, 7), (40, 1000)]:
        found = proportion(count, n)
        for end in (found.low, found.high):
            assert end is not None
            assert abs(count / n - end) == pytest.approx(z * (end * (1 - end) / n) ** 0.5)


def test_share_holds_its_value_and_can_be_written() -> None:
    found = share_of([True, False, True, True])
    assert (found.low or 0) < 0.75 < (found.high or 0)
    assert str(proportion(992, 1319)).startswith("75.21% (992/1319), 95 % interval 72.8% to 77.5%")
    assert str(share_of([])) == "none to count"


def test_impossible_share_is_refused() -> None:
    with pytest.raises(DataError, match="3 of 2"):
        proportion(3, 2)


def test_legacy_definitions_differ_as_they_are_said_to() -> None:
    golds, texts = map(list, zip(*OUTPUTS, strict=True))
    by_rewards = legacy_metrics.by_rewards(texts, golds, TAGS)
    assert by_rewards == {"exact": 1 / 8, "partial": 1 / 8, "numerical": 3 / 8, "format": 6 / 8}
    assert legacy_metrics.by_numbers(texts, golds, TAGS) == {
        "exact": 3 / 8,
        "partial": 4 / 8,
        "format": 6 / 8,
    }
    assert legacy_metrics.by_search(texts, golds, TAGS)["format"] == 6 / 8


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 1,234", 1234.0),
        ("so 3+4 = 7", 7.0),
        ("<answer> -5 </answer> ok", -5.0),
        ("there are 9", 9.0),
        ("the answer is - and <answer>8</answer>", 8.0),
        ("nothing", None),
    ],
)
def test_legacy_search_order(text: str, number: float | None) -> None:
    assert legacy_metrics.searched_number(text, TAGS) == number


def test_settings_move_the_band() -> None:
    narrow = measure(samples(), TAGS, AnswerSettings(tolerance=0.01))
    assert narrow.metrics["partial_accuracy"].count == 3
