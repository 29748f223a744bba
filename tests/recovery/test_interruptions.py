"""Two at once, one that dies, a clock that is wrong, a database that is gone: no job twice."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.recovery.world import RECOVER, World, age, below, edit, jobs_of, nodes

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
DAY_S = 86_400.0
CHANGED = nodes("dpo_model", "exp-a", "exp-b") | below("dpo_model", "exp-a", "exp-b")


def change(world: World) -> None:
    """Make the DPO models of two experiments stale."""
    for name in ("exp-a", "exp-b"):
        edit(world.experiment(name), {"dpo_model.learning_rate": 0.5})


def skew(folder: Path, seconds: float) -> None:
    """Let all that nodes wrote below a folder look as if their clocks were off."""
    for path in folder.rglob("status.json"):
        status = json.loads(path.read_text())
        times = {key: status[key] + seconds for key in ("started", "updated") if key in status}
        path.write_text(json.dumps({**status, **times}))
    age(folder, time.time() + seconds)


def test_two_at_once_share_the_work(world: World) -> None:
    change(world)

    def both() -> None:
        processes = [world.start(*RECOVER) for _ in range(2)]
        assert [one.wait() for one in processes] == [0, 0]

    done = world.counted(both)
    assert dict(done.ran) == dict.fromkeys(CHANGED, 1)
    assert done.jobs == jobs_of(CHANGED)
    world.recovers_exactly(set())


@pytest.mark.parametrize(
    ("how", "skewed_by"),
    [(signal.SIGKILL, 0.0), (signal.SIGKILL, DAY_S), (signal.SIGINT, -DAY_S)],
    ids=["killed", "killed, nodes a day ahead", "interrupted, nodes a day behind"],
)
def test_one_that_died_is_taken_over(world: World, how: signal.Signals, skewed_by: float) -> None:
    change(world)
    at_work = nodes("dpo_model", "exp-a", "exp-b")

    def die_and_recover() -> None:
        with world.told("waits", at_work):
            first = world.start(*RECOVER)
            world.wait_for_start(at_work)
            first.send(how)
            assert first.wait() in (-signal.SIGKILL, 130)
            skew(world.rig.layout.home, skewed_by)
            assert {world.states()[node] for node in at_work} == {"running"}
            second = world.start(*RECOVER)
            world.rig.wait_until(lambda: "makes it already" in second.path.read_text())
            world.rig.go()
        assert second.wait() == 0

    done = world.counted(die_and_recover)
    assert dict(done.ran) == dict.fromkeys(CHANGED, 1)
    assert done.jobs == jobs_of(CHANGED)
    world.recovers_exactly(set())


@pytest.mark.parametrize("seconds", [DAY_S, -DAY_S])
def test_clocks_that_are_off_concern_nothing(world: World, seconds: float) -> None:
    skew(world.rig.layout.home, seconds)
    age(world.folder / "configs", time.time() + seconds)
    age(world.folder / "pool.jsonl", time.time() + seconds)
    world.recovers_exactly(set())


def test_a_lost_database_is_filled_from_the_store(world: World) -> None:
    everything = set(world.plan())
    shutil.rmtree(world.folder / "dagster")
    assert world.states() == dict.fromkeys(everything, "unrecorded")
    world.recovers_exactly(set())
    assert world.recorded("dpo_model") == {"exp-a", "exp-b", "exp-c"}


def test_a_lost_database_and_a_lost_model(world: World) -> None:
    shutil.rmtree(world.folder / "dagster")
    shutil.rmtree(world.artifact("dpo_model", "exp-a"))
    world.recovers_exactly({("dpo_model", "exp-a")})
