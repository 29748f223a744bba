"""The orchestrator is killed at every boundary, or frozen while another takes over."""

from __future__ import annotations

import signal

from tests.chaos.cells import cell, cells_for
from tests.chaos.world import LEASE_S, World

ACTOR = "orchestrator"
BOUNDARIES = (
    "before-intent",
    "before-attempt",
    "after-attempt",
    "after-intent",
    "before-sbatch",
    "after-sbatch",
    "after-id",
    "after-release",
    "after-completion",
)
FREEZES = ("after-attempt", "after-intent", "before-sbatch", "after-sbatch", "after-id")


@cells_for(ACTOR, "kill -9 at {}", BOUNDARIES)
def killed(world: World, place: str) -> None:
    """Whoever comes next goes on, and no work is begun twice."""
    world.expect_crash(world.start(crash=place), place)
    world.finish()
    world.demand_single_work()


@cell(ACTOR, "kill -9 while the jobs run", is_quick=True)
def killed_while_running(world: World) -> None:
    """The next attaches."""
    world.tell("waits")
    first = world.start()
    world.await_work()
    first.kill()
    world.fired("death of the process")
    second = world.start()
    second.await_event("Attached")
    world.let_work_end()
    world.expect_success(second)
    world.demand_single_work()


@cell(ACTOR, "kill -9 five times in a row")
def killed_again_and_again(world: World) -> None:
    """Every crash one boundary later."""
    for place in ("after-attempt", "after-intent", "before-sbatch", "after-sbatch", "after-id"):
        doomed = world.start(crash=place)
        doomed.wait()
        if world.mark.exists():
            world.fired(f"mark file of {place}")
            world.mark.unlink()
    world.demand(len(world.proofs) >= 3, f"only {world.proofs} were reached")
    world.finish()
    world.demand_single_work()


@cells_for(ACTOR, "frozen past its lease at {}, thawed later", FREEZES)
def frozen(world: World, place: str) -> None:
    """What the frozen one does late (sbatch, release) does no harm, and it ends well too."""
    first = world.start(freeze=place)
    first.await_freeze()
    world.prove(world.mark.exists() and first.is_frozen(), f"process state T at {place}")
    second = world.finish()
    world.demand(second.is_running() is False, "the second did not end")
    first.send(signal.SIGCONT)
    world.expect_success(first)


@cell(ACTOR, "frozen past its lease while the jobs run")
def frozen_while_running(world: World) -> None:
    """Another attaches and ends; the first thaws and sees the results."""
    world.tell(f"{LEASE_S + 2}")
    first = world.start()
    world.await_work()
    first.send(signal.SIGSTOP)
    first.await_freeze()
    world.fired("process state T")
    world.finish()
    first.send(signal.SIGCONT)
    world.expect_success(first)
    world.demand_single_work()


@cell(ACTOR, "two at once")
def two_at_once(world: World) -> None:
    """Two orchestrators materialize the same nodes: one set of jobs, both get the results."""
    world.tell("1")
    both = [world.start(), world.start()]
    for one in both:
        world.expect_success(one)
    world.prove(any(one.events("Attached") for one in both), "one attached to the other's jobs")
    world.demand_single_work()
