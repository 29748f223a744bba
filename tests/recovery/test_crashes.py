"""Stages crashed: exactly they and what reads them are made, once what made them crash is gone."""

from __future__ import annotations

import re

import pytest

from activeuf_core.recipes import Node
from tests.recovery.world import SCORE_ASSETS, World, below, edit, nodes

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
TOLD = re.compile(r"DataError \(2[-0-9]{9} [:0-9]{5}\): told to fail")
CASES: dict[str, set[Node]] = {
    "the loop": nodes("preference_dataset", "new-1"),
    "both trainings": nodes(("dpo_model", "reward_model"), "new-1"),
    "one training": nodes("reward_model", "new-1"),
    "all evals": nodes(SCORE_ASSETS, "new-1"),
    "one eval": nodes("ifeval_score", "new-1"),
    "a training here, an eval there": {("dpo_model", "new-1"), ("rewardbench2_score", "new-2")},
    "a loop here, a training there": {("preference_dataset", "new-1"), ("dpo_model", "new-2")},
}


@pytest.mark.parametrize("crashed", CASES.values(), ids=CASES)
def test_what_crashed_and_what_reads_it_is_made(world: World, crashed: set[Node]) -> None:
    experiments = {key for _, key in crashed}
    for number, name in enumerate(sorted(experiments)):
        world.declare(name, seed=10 + number)
    with world.told("fails", crashed):
        assert world.materialize("new-*").exit_code == 1
    lost = {node for asset, key in crashed for node in below(asset, key)}
    made = world.starts()
    assert world.states() == {
        **{node: "stale" if made[node] else "missing" for node in lost},
        **dict.fromkeys(crashed, "failed"),
    }
    reasons = world.reasons()
    assert all(TOLD.fullmatch(reasons[node]) for node in crashed), reasons
    world.recovers_exactly(crashed | lost)


def test_what_crashes_again_is_tried_once_more_by_each_recover(world: World) -> None:
    world.declare("new-1", seed=10)
    crashed = {("dpo_model", "new-1")}
    with world.told("fails", crashed):
        world.materialize("new-1")
        again = world.recover()
        reason = world.reasons()["dpo_model", "new-1"]
    assert (again.exit_code, again.jobs, dict(again.ran)) == (1, 1, dict.fromkeys(crashed, 1))
    assert reason.startswith("DataError (2 times")
    world.recovers_exactly(crashed | below("dpo_model", "new-1"))


def test_trainings_alone_then_evals_alone(world: World) -> None:
    for number in (1, 2):
        world.declare(f"new-{number}", seed=number + 10)
    trainings = nodes(("dpo_model", "reward_model"), "new-1")
    evals = nodes(SCORE_ASSETS, "new-2")
    with world.told("fails", trainings | evals):
        world.materialize("new-*")
    assert dict(world.recover("--select", "training").ran) == dict.fromkeys(trainings, 1)
    left = nodes((*SCORE_ASSETS, "scores", "wandb_summary"), "new-1", "new-2")
    assert dict(world.recover("--select", "evals").ran) == dict.fromkeys(left, 1)
    world.recovers_exactly({("leaderboard", "all")})


def test_failures_alone_and_a_dry_run(world: World) -> None:
    world.declare("new-1", seed=10)
    crashed = {("reward_model", "new-1")}
    with world.told("fails", crashed):
        world.materialize("new-1")
    edit(world.experiment("exp-a"), {"dpo_model.epochs": 9})
    before = world.states()
    assert not world.recover("--dry-run").ran
    assert world.states() == before
    expected = crashed | below("reward_model", "new-1")
    assert dict(world.recover("--only", "failed").ran) == dict.fromkeys(expected, 1)
    world.recovers_exactly(nodes("dpo_model", "exp-a") | below("dpo_model", "exp-a"))
