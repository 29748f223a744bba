"""slurmdbd dies or hangs, and sacct lies: nothing waits for it."""

from __future__ import annotations

import os
import signal
import time

from activeuf_core.slurm.queue import FIELD_END
from tests.chaos.cells import cell
from tests.chaos.world import A, World

ACTOR = "slurmdbd"
EMPTY_QUEUE = '[[ -e {mark} && ! -e "$here/sacct.fired" ]] || exec squeue "$@"; fired; exit 0'
"""From the task's death until accounting was asked, the queue knows nothing."""
ROW = (
    'id="${{@: -1}}"; for task in 0 1; do '
    "cells=(${{id}}_$task $id {state} 0:0 1 1 1 2 None '' {comment} {comment}); "
    f"(IFS='{FIELD_END}'; echo \"${{{{cells[*]}}}}\"); done; exit 0"
)
"""Answers with a row per task of the job that it is asked for."""


def _lose_the_job_of_a_dead_task(world: World) -> None:
    """Kill a task, and let the queue forget its job: only accounting could say how it ended."""
    world.crash_task("before-manifest")
    world.commands.disturb("squeue", EMPTY_QUEUE.format(mark=world.mark))
    first = world.start()
    world.until(world.mark.exists, "mark file of the task")
    world.until(lambda: world.commands.has_fired("sacct"), "sacct is asked")
    world.fired("sacct.fired")
    first.wait()


@cell(ACTOR, "sacct hangs")
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
    """A row without our comment is none: the job counts as lost."""
    world.commands.disturb("sacct", f"fired; {ROW.format(state='COMPLETED', comment='other')}")
    _lose_the_job_of_a_dead_task(world)
    world.demand_reason("Lost")
    world.finish()


@cell(ACTOR, "sacct shows an old try")
def old_try(world: World) -> None:
    """What it says of the try before decides at most on a retry, never on the artifact."""
    comment = '$(command squeue -h -t all -j "$id" -o %k | head -n 1)'
    world.commands.disturb("sacct", f"fired; {ROW.format(state='NODE_FAIL', comment=comment)}")
    _lose_the_job_of_a_dead_task(world)
    world.finish()


@cell(ACTOR, "kill -9 while the jobs run", breaks=True, with_accounting=True)
def killed(world: World) -> None:
    """Jobs are submitted, run and are recorded without it."""
    world.tell("2")
    first = world.start()
    world.await_work(A)
    pid = int((world.cluster.folder / "run" / "slurmdbd.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.3)
    answer = world.cluster.run("sacct", "-n", timeout_s=30)
    world.prove(answer.returncode != 0 or "refused" in answer.stderr, "failing sacct")
    world.expect_success(first)
    world.demand_single_work()
