"""Rubric: what the judge reads."""

from __future__ import annotations

import pytest

from activeuf_core.annotations.config import LlmJudge
from activeuf_core.annotations.rubric import ASPECTS, ask, aspects_of
from activeuf_core.config import ModelRef
from activeuf_core.errors import ConfigError
from activeuf_core.schemas import assistant_message, user_message


def asked(aspect: str) -> str:
    return ask(user_message("Why?"), "Because.", ASPECTS[aspect])[-1]["content"]


def test_judge_reads_prompt_completion_and_scale() -> None:
    text = asked("honesty")
    assert text.index("Why?") < text.index("Because.") < text.index("1: ") < text.index("5: ")


def test_aspects_differ_only_after_what_is_judged() -> None:
    beginnings = {asked(name).partition("</completion>")[0] for name in ASPECTS}
    assert len(beginnings) == 1


def test_turns_of_a_conversation_are_told_apart() -> None:
    prompt = [*user_message("a"), *assistant_message("b"), *user_message("c")]
    text = ask(prompt, "d", ASPECTS["honesty"])[-1]["content"]
    assert "User: a\n\nAssistant: b\n\nUser: c" in text


def test_default_aspects_exist() -> None:
    judge = LlmJudge(mode="llm", model=ModelRef(name="m", identity="x"))
    assert len(aspects_of(judge.aspects)) == 4


def test_unknown_aspect_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown aspect 'honest'; did you mean 'honesty'"):
        aspects_of(["honest"])
