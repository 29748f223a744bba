"""Which ready nodes become one job."""

from __future__ import annotations

import pytest

from activeuf_core.recipes import Recipe, RecipeBook
from activeuf_dagster.engine import Engine
from activeuf_dagster.events import Completed, Submitted
from activeuf_dagster.grouping import Ready, group_for_jobs, packed
from activeuf_dagster.project import Project
from tests.fakes.launcher import InstantLauncher

EXPERIMENTS = ("exp-a", "exp-b", "exp-c")


@pytest.fixture
def book(project: Project) -> RecipeBook:
    """The recipes of the small project."""
    return project.book()


def ready(book: RecipeBook, asset: str, *partitions: str) -> list[Ready]:
    recipes = [book.recipe(asset, partition) for partition in partitions]
    return [(recipe.node, recipe) for recipe in recipes]


def names(groups: list[list[Ready]]) -> list[list[tuple[str, str]]]:
    return [[node for node, _ in group] for group in groups]


def one_each(asset: str) -> int:
    del asset
    return 1


def test_a_node_is_a_job(book: RecipeBook) -> None:
    groups = group_for_jobs(ready(book, "dpo_model", *EXPERIMENTS))
    assert packed(groups, one_each) == groups
    assert [len(group) for group in groups] == [1, 1, 1]


def test_benchmarks_of_one_model_share_a_job(book: RecipeBook) -> None:
    both = [n for x in EXPERIMENTS for n in ready(book, "gsm8k_score", x)]
    both += [n for x in EXPERIMENTS for n in ready(book, "ifeval_score", x)]
    assert [len(group) for group in group_for_jobs(both)] == [2, 2, 2]


def test_short_stages_are_packed_and_assets_are_not_mixed(book: RecipeBook) -> None:
    nodes = ready(book, "dpo_model", *EXPERIMENTS) + ready(book, "reward_model", *EXPERIMENTS)
    found = names(packed(group_for_jobs(nodes), lambda asset: 2))
    assert found == [
        [("dpo_model", "exp-a"), ("dpo_model", "exp-b")],
        [("dpo_model", "exp-c")],
        [("reward_model", "exp-a"), ("reward_model", "exp-b")],
        [("reward_model", "exp-c")],
    ]


def test_what_shares_a_process_is_never_torn_apart(book: RecipeBook) -> None:
    nodes = [n for x in EXPERIMENTS for n in ready(book, "gsm8k_score", x)]
    nodes += [n for x in EXPERIMENTS for n in ready(book, "ifeval_score", x)]
    groups = packed(group_for_jobs(nodes), lambda asset: 3)
    assert [len(group) for group in groups] == [2, 2, 2]
    together: list[Recipe] = [recipe for _, recipe in groups[0]]
    assert {recipe.partition for recipe in together} == {"exp-a"}


def test_each_node_of_a_packed_job_is_recorded_on_its_own(
    project: Project, launcher: InstantLauncher
) -> None:
    nodes = [("prompts", "tiny"), ("completions", "tiny--a"), ("completions", "tiny--b")]
    launcher.pack = 5
    events = list(Engine(project.book(), launcher, launcher, poll_s=0).run(nodes))
    jobs = [event for event in events if isinstance(event, Submitted)]
    done = [event.recipe.node for event in events if isinstance(event, Completed)]
    assert done == nodes
    assert [len(job.nodes) for job in jobs] == [1, 2]
