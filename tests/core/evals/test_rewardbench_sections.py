"""RewardBench's arithmetic against values computed by hand."""

from __future__ import annotations

import pytest

from activeuf_core.evals.outcome import Part
from activeuf_core.evals.rewardbench_sections import (
    SECTIONS,
    is_right,
    section_parts,
    subset_parts,
)


def part(score: float, stderr: float | None = 0.1, n: int = 10) -> Part:
    """Return a subset's part."""
    return Part(score, stderr, n)


@pytest.mark.parametrize(
    ("chosen", "rejected", "value"), [(1.0, 0.5, 1.0), (0.5, 1.0, 0.0), (1.0, 1.0, 0.0)]
)
def test_equal_rewards_are_a_wrong_answer(chosen: float, rejected: float, value: float) -> None:
    assert is_right(chosen, rejected) == value


def test_accuracy_is_per_subset() -> None:
    parts = subset_parts(["a", "b", "a"], [1.0, 0.0, 0.0])
    assert parts == {"a": Part(0.5, 0.5, 2), "b": Part(0.0, None, 1)}


def test_mathematics_weighs_as_much_as_code() -> None:
    code = {name: part(0.0) for name in SECTIONS["Reasoning"] if name != "math-prm"}
    sections = section_parts({**code, "math-prm": part(1.0)})
    assert sections["Reasoning"].score == pytest.approx(0.5)


def test_section_is_weighted_by_published_counts_not_by_rows() -> None:
    subsets = {"alpacaeval-easy": part(1.0, n=1), "mt-bench-med": part(0.0, n=500)}
    found = section_parts(subsets)["Chat"]
    assert found.score == pytest.approx(100 / 140)
    assert found.stderr == pytest.approx(((100 / 140 * 0.1) ** 2 + (40 / 140 * 0.1) ** 2) ** 0.5)
    assert found.n == 501


def test_error_of_a_section_needs_that_of_every_subset() -> None:
    subsets = {"alpacaeval-easy": part(1.0), "mt-bench-med": part(0.0, stderr=None)}
    assert section_parts(subsets)["Chat"].stderr is None


def test_unknown_subset_is_a_section_of_its_own() -> None:
    sections = section_parts({"ours": part(0.25), "donotanswer": part(1.0)})
    assert list(sections) == ["Safety", "ours"]
    assert sections["ours"] == part(0.25)


def test_published_sections_hold_every_subset_once() -> None:
    names = [name for weights in SECTIONS.values() for name in weights]
    assert len(names) == len(set(names)) == 23
    rows = sum(weight for weights in SECTIONS.values() for weight in weights.values())
    assert rows - 984 + 447 == 2985
