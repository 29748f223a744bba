"""Something that artifacts are made from has changed: what is concerned is made, nothing else."""

from __future__ import annotations

import dataclasses
import shutil
from typing import Any, NamedTuple

import pytest

from activeuf_core import stages
from activeuf_core.evals.benchmarks import BENCHMARKS
from activeuf_core.recipes import Node
from tests.recovery.world import EXPERIMENTS, World, below, edit, nodes

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
EXPERIMENT, DATASET = "experiments/exp-a.yaml", "datasets/tiny.yaml"
SHARERS = ("exp-a", "exp-b")
"""Who reads that data set."""


class Key(NamedTuple):
    """A setting in a file, another value, the asset whose recipe it enters, and how the plan says
    so.
    """

    file: str
    dotted: str
    value: Any
    asset: str
    reason: str = ""


COUNT = (
    Key(EXPERIMENT, "dpo_model.learning_rate", 0.5, "dpo_model", "learning_rate: 2e-05 → 0.5"),
    Key(EXPERIMENT, "reward_model.epochs", 7, "reward_model", "epochs: 2.0 → 7.0"),
    Key(EXPERIMENT, "loop.batch_size", 8, "preference_dataset", "batch_size: 64 → 8"),
    Key(
        EXPERIMENT,
        "loop.acquisition.ucb_beta",
        0.25,
        "preference_dataset",
        "acquisition.ucb_beta: 1.0 → 0.25",
    ),
    Key(EXPERIMENT, "seed", 99, "preference_dataset", "seed: 0 → 99"),
    Key(EXPERIMENT, "benchmarks.gsm8k.limit", 10, "gsm8k_score", "limit: None → 10"),
    Key(
        EXPERIMENT,
        "benchmarks.truthfulqa.num_fewshot",
        2,
        "truthfulqa_score",
        "num_fewshot: None → 2",
    ),
    Key(DATASET, "judge.mode", "precomputed", "annotations", "judge.mode: verifiable → precom"),
    Key(DATASET, "features.model", "base-2", "features", "model.identity: "),
    Key(DATASET, "prompts.limit", 1, "prompts", "limit: None → 1"),
)
COUNT_NOT = (
    Key(EXPERIMENT, "dpo_model.per_device_batch_size", 1, "dpo_model"),
    Key(EXPERIMENT, "reward_model.save_every", 3, "reward_model"),
    Key(EXPERIMENT, "loop.checkpoint_every", 3, "preference_dataset"),
    Key(EXPERIMENT, "loop.batch_size", 64, "preference_dataset"),
    Key(EXPERIMENT, "benchmarks.all.batch_size", 1, "gsm8k_score"),
    Key(EXPERIMENT, "description", "in other words", "dpo_model"),
    Key(DATASET, "features.batch_size", 1, "features"),
)
"""How fast, how often, in which words; the one of the loop is its default, written out."""


def name_of(key: Key) -> str:
    return f"{key.dotted}={key.value}"


def experiments_of(key: Key) -> tuple[str, ...]:
    """Return whose experiments a file is."""
    return SHARERS if key.file == DATASET else ("exp-a",)


def concerned(key: Key) -> set[Node]:
    """Return what a key enters, directly or not."""
    return nodes(key.asset, *experiments_of(key)) | below(key.asset, *experiments_of(key))


@pytest.mark.parametrize("key", COUNT, ids=name_of)
def test_a_key_concerns_its_asset_and_what_reads_it(world: World, key: Key) -> None:
    path = world.folder / "configs" / key.file
    before = path.read_text()
    edit(path, {key.dotted: key.value})
    assert world.states() == dict.fromkeys(concerned(key), "stale")
    reasons = world.reasons()
    assert all(key.reason in reasons[node] for node in nodes(key.asset, *experiments_of(key)))
    path.write_text(before)
    assert world.states() == {}
    edit(path, {key.dotted: key.value})
    world.recovers_exactly(concerned(key))
    path.write_text(before)
    world.recovers_exactly(set())


@pytest.mark.parametrize("key", COUNT_NOT, ids=name_of)
def test_a_key_that_changes_no_result_concerns_nothing(world: World, key: Key) -> None:
    edit(world.folder / "configs" / key.file, {key.dotted: key.value})
    world.recovers_exactly(set())


@pytest.mark.parametrize("asset", ["dpo_model", "ifeval_score"])
def test_a_code_version_concerns_its_asset_of_all_experiments(
    world: World, asset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stages.stage_of(asset)
    bumped = dataclasses.replace(before, version="77")
    monkeypatch.setitem(stages._BY_ASSET, asset, bumped)
    assert all(f"version: {before.version} → 77" in world.reasons()[node] for node in nodes(asset))
    world.recovers_exactly(nodes(asset) | below(asset))


def test_a_source_file_concerns_its_data_set_only(world: World) -> None:
    (world.folder / "others.jsonl").write_text('{"prompt_id": "3"}\n')
    assert world.reasons()["prompts", "other"].startswith("source.identity: ")
    world.recovers_exactly(nodes("prompts", "exp-c") | below("prompts", "exp-c"))


def test_the_weights_of_a_base_model_concern_who_starts_from_it(world: World) -> None:
    edit(world.experiment("exp-b"), {"dpo_model.base_model": "base-2"})
    assert world.recover().exit_code == 0
    (world.folder / "base-2" / "model.safetensors").write_bytes(b"even other weights")
    world.recovers_exactly(nodes("dpo_model", "exp-b") | below("dpo_model", "exp-b"))


def test_a_forced_new_generation_concerns_its_readers(world: World) -> None:
    forced = world.force("dpo_model", "exp-a")
    assert (forced.jobs, dict(forced.ran)) == (1, {("dpo_model", "exp-a"): 1})
    assert "dpo_model: " in world.reasons()["gsm8k_score", "exp-a"]
    world.recovers_exactly(below("dpo_model", "exp-a"))


def test_what_is_made_again_of_the_same_leaves_its_readers_fresh(world: World) -> None:
    shutil.rmtree(world.artifact("dpo_model", "exp-a"))
    made = world.activeuf("materialize", "exp-a")
    assert dict(made.ran) == {("dpo_model", "exp-a"): 1}
    world.recovers_exactly(set())


def test_an_experiment_that_is_renamed_keeps_all_that_does_not_bear_its_name(world: World) -> None:
    world.experiment("exp-a").rename(world.experiment("exp-z"))
    kept = nodes(("preference_dataset", "dpo_model", "reward_model"), "exp-z")
    kept |= below(("dpo_model", "reward_model"), "exp-z")
    kept |= nodes(
        [row.asset for row in BENCHMARKS if row.optional], "exp-z"
    )  # left out: read nothing
    named = nodes(("wandb_summary", "leaderboard"), "exp-z")
    assert world.states() == {
        **dict.fromkeys(kept, "unrecorded"),
        ("wandb_summary", "exp-z"): "missing",
        ("leaderboard", "all"): "stale",
    }
    world.recovers_exactly(named)
    assert world.recorded("dpo_model") >= {"exp-z", "exp-b", "exp-c"}


def test_an_experiment_that_is_removed_concerns_the_leaderboard_only(world: World) -> None:
    assert world.orphans() == 0
    world.experiment("exp-b").unlink()
    own = nodes(("preference_dataset", "dpo_model", "reward_model", "leaderboard"), "exp-b")
    assert world.orphans() == len(own | below("preference_dataset", "exp-b"))
    assert set(world.plan()) == nodes(stages._BY_ASSET, *set(EXPERIMENTS) - {"exp-b"})
    world.recovers_exactly({("leaderboard", "all")})
