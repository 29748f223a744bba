"""Principles: who can get which, and draws that depend on nothing else."""

from __future__ import annotations

from collections import Counter

import pytest

from activeuf_core.completions.principles import SYSTEM_PROMPTS, draw, principles_of


@pytest.mark.parametrize(
    ("source", "principles"),
    [
        ("truthful_qa", {"honesty", "truthfulness"}),
        ("flan_v2_cot", {"helpfulness", "verbalized_calibration"}),
        ("evol_instruct", {"helpfulness"}),
        ("koala", {"helpfulness", "honesty", "truthfulness"}),
        (None, {"helpfulness", "honesty", "truthfulness"}),
    ],
)
def test_source_decides_the_principles(source: str | None, principles: set[str]) -> None:
    assert set(principles_of(source)) == principles


def test_draw_belongs_to_its_principle() -> None:
    for number in range(50):
        steering = draw("koala", f"p{number}", "member", 0)
        assert steering.system_prompt in SYSTEM_PROMPTS[steering.principle]


def test_draw_depends_on_prompt_member_and_seed() -> None:
    draws = {draw("koala", "p", "m", 0), draw("koala", "p", "m", 0)}
    assert len(draws) == 1
    others = [draw("koala", f"p{i}", f"m{i % 3}", i % 5) for i in range(200)]
    assert len(set(others)) > 25


def test_principles_are_drawn_evenly() -> None:
    counts = Counter(draw("koala", f"p{i}", "m", 0).principle for i in range(900))
    assert all(250 < count < 350 for count in counts.values())


def test_wordings_differ() -> None:
    wordings = [text for texts in SYSTEM_PROMPTS.values() for text in texts]
    assert len(set(wordings)) == len(wordings) == 34
