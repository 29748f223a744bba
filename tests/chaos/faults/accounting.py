"""slurmdbd dies or hangs, and sacct lies: nothing waits for it."""

from __future__ import annotations

import time

from tests.chaos.cells import cell
from tests.chaos.world import A, World

ACTOR = "slurmdbd"
EMPTY_QUEUE = 'fired; [[ ! -e "$here/sacct.fired" ]] || exec squeue "$@"; exit 0'
"""The queue knows nothing until accounting was asked."""


def _lose_the_job_of_a_dead_task(world: World) -> None:
    """Kill a task, and let the queue forget its job: only accounting could say how it ended."""
    world.crash_task("before-manifest")
    first = world.start()
    world.until(world.mark.exists, "mark file of the task")
    world.commands.disturb("squeue", EMPTY_QUEUE)
    world.until(lambda: world.commands.has_fired("sacct"), "sacct is asked")
    world.fired("sacct.fired")
    first.wait()


@cell(ACTOR, "sacct hangs", limit_s=120)
def hangs(world: World) -> None:
    """It is given up after its time."""
    world.commands.disturb("sacct", "fired; sleep 60")
    _lose_the_job_of_a_dead_task(world)
    world.finish()


@cell(ACTOR, "sacct shows nothing of the job")
def knows_nothing(world: World) -> None:
    """The job counts as lost, and is tried again."""
    world.commands.disturb("sacct", "fired; exit 0")
    _lose_the_job_of_a_dead_task(world)
    world.finish()


@cell(ACTOR, "sacct shows another's job under the id")
def another_job(world: World) -> None:
    """A row without our name and comment is none."""
    row = "1|1|COMPLETED|0:0|1|other|other"
    world.commands.disturb("sacct", f"fired; echo '{row}'; exit 0")
    _lose_the_job_of_a_dead_task(world)
    world.finish()


@cell(ACTOR, "kill -9 while the jobs run", breaks=True, with_accounting=True, limit_s=150)
def killed(world: World) -> None:
    """Jobs are submitted, run and are recorded without it."""
    world.tell("2")
    first = world.start()
    world.await_work(A)
    pid = int((world.cluster.folder / "run" / "slurmdbd.pid").read_text())
    import os
    import signal

    os.kill(pid, signal.SIGKILL)
    time.sleep(0.3)
    answer = world.cluster.run("sacct", "-n", timeout_s=30)
    world.prove(answer.returncode != 0 or "refused" in answer.stderr, "failing sacct")
    world.expect_success(first)
    world.demand_single_work()
