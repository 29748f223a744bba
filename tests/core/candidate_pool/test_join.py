"""The stage `candidate_pool`: order, what is left out, figures and checks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from activeuf_core import paths
from activeuf_core.candidate_pool.join import run
from activeuf_core.errors import DataError
from activeuf_core.schemas import PROMPT, read_rows, write_rows
from activeuf_core.stage import StageContext
from tests.fakes.stage_context import passed

Join = Callable[..., StageContext]
A = {"p0": ("aaaa", 1.0), "p1": ("aaaa", 2.0), "p2": ("aaaa", 3.0)}
B = {"p0": ("bb", 3.0), "p1": ("bb", 1.0), "p2": (" ", 1.0)}


@pytest.fixture
def join(make_context: Callable[..., StageContext], make_member: Any, prompts: Path) -> Join:
    """Return a function that runs the stage on members and some settings."""

    def join_members(members: dict[str, Any], **config: Any) -> StageContext:
        folders = {name: make_member(name, answers) for name, answers in members.items()}
        inputs = {"prompts": {"d": prompts}, "completions": folders, "annotations": folders}
        if config.get("judging") == "lazy":
            inputs["annotations"] = {}
        context = make_context("candidate_pool", config, inputs)
        run(context)
        return context

    return join_members


def keys(context: StageContext) -> list[tuple[str, str]]:
    rows = read_rows(context.output / paths.CANDIDATES)
    return [(row["prompt_id"], row["model"]) for row in rows]


def test_rows_of_a_prompt_are_adjacent_and_models_alphabetical(join: Join) -> None:
    context = join({"b": {**B, "p2": ("bb", 0.0)}, "a": A})
    assert keys(context) == [(f"p{i}", model) for i in range(3) for model in "ab"]


def test_row_holds_prompt_completion_and_score(join: Join) -> None:
    row = read_rows(join({"b": B, "a": A}).output / paths.CANDIDATES)[1]
    assert (row["prompt"][0]["content"], row["completion"], row["overall_score"]) == (
        "q0",
        "bb",
        3.0,
    )


def test_prompt_id_that_comes_twice_is_refused_by_name(join: Join, prompts: Path) -> None:
    path = prompts / paths.PROMPTS
    rows = read_rows(path)
    write_rows(path, PROMPT, [*rows, rows[0]])
    with pytest.raises(
        DataError, match=r"rows 0 and 3 are both of prompt 'p0'; prompt ids must be"
    ):
        join({"a": A, "b": B})


def test_blank_completion_can_cost_a_prompt(join: Join) -> None:
    context = join({"a": A, "b": B})
    assert {prompt_id for prompt_id, _ in keys(context)} == {"p0", "p1"}
    assert context.metadata["dropped_blank"] == context.metadata["dropped_prompts"] == 1


def test_blank_completion_can_be_kept(join: Join) -> None:
    assert len(keys(join({"a": A, "b": B}, drop_empty=False))) == 6


def test_unrated_completion_is_left_out_or_kept(join: Join) -> None:
    unrated = {**B, "p0": ("bb", None), "p2": ("bb", 1.0)}
    context = join({"a": A, "b": unrated})
    assert ("p0", "b") not in keys(context)
    assert context.metadata["dropped_unrated"] == 1


def test_kept_unrated_completion_has_a_null_and_joins_no_pair(join: Join) -> None:
    unrated = {"p0": ("bb", None), "p1": ("bb", 1.0)}
    context = join({"a": A, "b": unrated}, drop_unrated=False)
    assert read_rows(context.output / paths.CANDIDATES)[1]["overall_score"] is None
    assert context.metadata["pairs"] == 1


def test_lazy_judging_keeps_every_completion_unrated(join: Join) -> None:
    context = join({"a": A, "b": B}, judging="lazy")
    rows = read_rows(context.output / paths.CANDIDATES)
    assert [(row["ratings"], row["overall_score"]) for row in rows] == [("{}", None)] * 4
    assert (context.metadata["dropped_unrated"], context.metadata["pairs"]) == (0, 0)
    assert all(passed(context).values())


def test_figures_of_the_pool(join: Join) -> None:
    metadata = join({"a": A, "b": B}).metadata
    assert (metadata["prompts"], metadata["candidates"], metadata["pairs"]) == (2, 4, 2)
    assert metadata["longer_wins_share"] == 0.5
    assert "| a | 2 | 1.500 | 50.0% | 4 |" in metadata["models"]["text"]


def test_all_checks_pass_on_a_sound_pool(join: Join) -> None:
    assert passed(join({"a": A, "b": B})) == {
        "pool_not_empty": True,
        "every_model_present": True,
        "length_bias": True,
    }


def test_too_few_candidates_everywhere_fails_the_blocking_check(join: Join) -> None:
    context = join({"a": A, "b": B}, min_candidates=3)
    assert keys(context) == []
    assert [c["name"] for c in context.checks if c["blocking"] and not c["passed"]] == [
        "pool_not_empty"
    ]


def test_member_without_a_candidate_is_named(join: Join) -> None:
    context = join({"a": A, "b": {**B, "p2": ("b", 1.0)}, "c": {"p0": ("", 1.0)}})
    check = next(c for c in context.checks if c["name"] == "every_model_present")
    assert not check["passed"]
    assert check["values"]["absent"] == check["values"]["rarest"] == "c"


def test_pool_that_rewards_length_fails_its_check(join: Join) -> None:
    short = dict.fromkeys(A, ("b", 0.0))
    assert not passed(join({"a": A, "b": short}))["length_bias"]


def test_models_are_drawn(join: Join) -> None:
    context = join({"a": A, "b": B})
    plot = context.output / context.metadata["model_plot"]["path"]
    assert 1000 < plot.stat().st_size < 25_000
