"""A node is lost, with its processes dead or alive; a stage stands still."""

from __future__ import annotations

import os
import signal

from tests.chaos.cells import cell
from tests.chaos.world import A, World

ACTOR = "slurmd / node"


def _node_of(world: World, slurm_job_id: str) -> str:
    shown = world.cluster.run("squeue", "-h", "-j", slurm_job_id, "-o", "%N", check=True)
    return shown.stdout.split()[0]


@cell(ACTOR, "slurmd killed: NODE_FAIL, requeue, and the twin lives on", breaks=True)
def lost_with_living_twin(world: World) -> None:
    """The requeued start takes over; the twin notices and leaves without publishing."""
    world.nodes = (A,)
    world.tell("6")
    first = world.start()
    twin = world.await_work()
    where = _node_of(world, twin["slurm_job_id"])
    world.cluster.lose_node(where)
    world.prove(not world.cluster.is_up(where), f"death of slurmd on {where}")
    world.until(lambda: world.cluster.state(twin["slurm_job_id"]) != "RUNNING", "requeued")
    world.prove(os.path.exists(f"/proc/{twin['pid']}"), "twin's process alive")
    world.tell("0.5")
    world.cluster.run_at_once(twin["slurm_job_id"], avoid=where)
    world.expect_success(first)
    world.demand(len(world.begins()) == 2, "there was no second start")
    world.until(lambda: not os.path.exists(f"/proc/{twin['pid']}"), "the twin left")
    world.cluster.start()


@cell(ACTOR, "node declared down, its processes killed", breaks=True)
def down(world: World) -> None:
    """Requeued, and made once."""
    world.tell("3\n0.5")
    first = world.start()
    begun = world.await_work()
    where = _node_of(world, begun["slurm_job_id"])
    world.cluster.down_node(where)
    world.until(lambda: _hurry(world, begun["slurm_job_id"]), "requeued")
    world.fired("job no longer RUNNING")
    world.cluster.resume_node(where)
    _hurry_all(world)
    world.expect_success(first)


@cell(ACTOR, "the stage stands still until its time is over", limit_s=300)
def stands_still(world: World) -> None:
    """SLURM's warning or time limit ends it; the reason is told, and the next try is whole."""
    world.nodes = (A,)
    world.tell("0.2 freezes\n0.5")
    first = world.start()
    begun = world.await_work()
    world.until(lambda: _state(begun["pid"]) == "T", "the stage stands still")
    world.fired("process state T of the stage")
    world.cluster.expire(begun["slurm_job_id"])
    if first.wait() or A not in first.completed():
        world.demand_reason("Timeout")
        world.finish()
    world.demand(len(world.begins()) == 2, "there was no second start")


@cell(
    ACTOR,
    "node lost and its task frozen; thawed while the next start works",
    breaks=True,
    limit_s=300,
)
def frozen_twin(world: World) -> None:
    """The next start goes on without the frozen one's lock; the thawed one may not publish."""
    world.nodes = (A,)
    world.tell("1\n3\n0.5")
    first = world.start()
    twin = world.await_work()
    where = _node_of(world, twin["slurm_job_id"])
    task = _parent(twin["pid"])
    for pid in (task, twin["pid"]):
        os.kill(pid, signal.SIGSTOP)
    world.until(lambda: _state(task) == "T", "the task stands still")
    world.fired("process state T of the task")
    world.cluster.lose_node(where)
    world.until(lambda: world.cluster.state(twin["slurm_job_id"]) != "RUNNING", "requeued")
    world.cluster.run_at_once(twin["slurm_job_id"], avoid=where)
    world.until(lambda: len(world.begins()) == 2, "the next start works")
    for pid in (task, twin["pid"]):
        os.kill(pid, signal.SIGCONT)
    world.expect_success(first)
    world.until(lambda: not os.path.exists(f"/proc/{twin['pid']}"), "the twin left")
    published = world.manifest(A)
    world.demand(published and published.provenance["start"] == 2, "the twin published")
    world.cluster.start()


def _hurry(world: World, slurm_job_id: str) -> bool:
    """Whether a job left the state RUNNING."""
    return world.cluster.state(slurm_job_id) != "RUNNING"


def _hurry_all(world: World) -> None:
    """Let requeued jobs start now."""
    for job in world.left_over():
        if job.state == "PENDING":
            world.cluster.run("scontrol", "update", f"job={job.job_id}", "StartTime=now")


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _parent(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])
