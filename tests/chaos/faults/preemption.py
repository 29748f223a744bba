"""A job of higher priority takes the nodes: once, twice, in the middle of a checkpoint, at once."""

from __future__ import annotations

import time

from tests.chaos.cells import cell
from tests.chaos.world import A, World

ACTOR = "preemption"


def _preempt(world: World, slurm_job_id: str, seconds: float = 1.0) -> None:
    """Take all nodes for a moment, and let what was put back start at once afterwards."""
    taker = world.cluster.submit("--exclusive", "-N2", "--wrap", f"sleep {seconds}")
    world.until(lambda: world.cluster.state(slurm_job_id) != "RUNNING", "the job was preempted")
    world.prove("preempted JobId" in world.cluster.log("slurmctld"), "slurmctld's log: preempted")
    world.cluster.wait_for_end(taker)
    world.until(lambda: not world.is_held_back(slurm_job_id), "the job may start again")


@cell(ACTOR, "once")
def once(world: World) -> None:
    """Goes on from its checkpoint."""
    world.nodes = (A,)
    world.configure(slurm_partition="requeue")
    world.tell("3 checkpoints")
    first = world.start()
    begun = world.await_work()
    time.sleep(0.8)
    _preempt(world, begun["slurm_job_id"])
    world.expect_success(first)
    world.demand(world.journal("resume")[-1]["done"] > 0, "it began from nothing")


@cell(ACTOR, "twice in a row")
def twice(world: World) -> None:
    """Goes on from its checkpoint, twice."""
    world.nodes = (A,)
    world.configure(slurm_partition="requeue")
    world.tell("4 checkpoints")
    first = world.start()
    for count in (1, 2):
        begun = world.await_work(A, count)
        time.sleep(0.8)
        _preempt(world, begun["slurm_job_id"])
    world.expect_success(first)
    done = [note["done"] for note in world.journal("resume")]
    world.demand(done == sorted(done) and done[-1] > done[1], f"no progress was kept: {done}")


@cell(ACTOR, "in the middle of a checkpoint")
def while_saving(world: World) -> None:
    """A half checkpoint is none; the one before counts."""
    world.nodes = (A,)
    world.configure(slurm_partition="requeue")
    world.tell("2 slow-checkpoints")
    first = world.start()
    begun = world.await_work()
    world.until(lambda: len(world.journal("saving")) >= 2, "a checkpoint is being saved")
    _preempt(world, begun["slurm_job_id"])
    world.expect_success(first)


@cell(ACTOR, "without grace: the job is ended, not put back")
def without_grace(world: World) -> None:
    """A new job goes on from the checkpoint."""
    world.nodes = (A,)
    world.configure(slurm_partition="scavenge")
    world.tell("3 checkpoints")
    first = world.start()
    begun = world.await_work()
    time.sleep(0.8)
    taker = world.cluster.submit("--exclusive", "-N2", "--wrap", "sleep 1")
    world.until(lambda: world.cluster.state(begun["slurm_job_id"]) == "PREEMPTED", "PREEMPTED")
    world.fired("state PREEMPTED")
    world.cluster.wait_for_end(taker)
    world.expect_success(first)
    world.demand_reason("Preempted")
    world.demand(world.journal("resume")[-1]["done"] > 0, "it began from nothing")
