"""slurmctld dies, lies or is slow."""

from __future__ import annotations

import time

from tests.chaos.cells import cell
from tests.chaos.world import A, World

ACTOR = "slurmctld"


@cell(ACTOR, "kill -9 one second after the jobs' start", breaks=True)
def killed_after_start(world: World) -> None:
    """It forgets what it did in the last seconds: jobs may be finished and held, or run twice."""
    world.tell("1.5")
    first = world.start()
    world.await_work()
    time.sleep(1)
    world.cluster.kill("slurmctld")
    world.prove(not world.cluster.is_up("slurmctld"), "death of slurmctld")
    time.sleep(3)
    world.cluster.start()
    world.expect_success(first)


@cell(ACTOR, "kill -9 right after the submission", breaks=True)
def killed_after_submission(world: World) -> None:
    """It forgets an acknowledged id, and gives it out again."""
    world.commands.disturb("scontrol", "[[ $1 != release ]] || { fired; sleep 2; exit 1; }")
    first = world.start()
    world.until(lambda: world.commands.has_fired("scontrol"), "the release")
    world.cluster.kill("slurmctld")
    world.prove(not world.cluster.is_up("slurmctld"), "death of slurmctld")
    world.commands.mend("scontrol")
    world.cluster.start()
    world.expect_success(first)
    world.demand_single_work()


@cell(ACTOR, "dead for 20 s", breaks=True, limit_s=300)
def dead(world: World) -> None:
    """The jobs run on and are recorded by their manifests, without any answer."""
    world.tell("4")
    first = world.start(A)
    world.await_work()
    time.sleep(0.5)
    world.cluster.kill("slurmctld")
    world.prove(not world.cluster.is_up("slurmctld"), "death of slurmctld")
    gone = time.monotonic()
    world.expect_success(first)
    world.demand(time.monotonic() - gone < 20, "it waited for the controller")
    time.sleep(max(0.0, 20 - (time.monotonic() - gone)))
    world.cluster.start()
    world.finish()


@cell(ACTOR, "answers after 10 s")
def slow(world: World) -> None:
    """Calls are given up after their time; what was seen last stands."""
    world.tell("2")
    world.commands.disturb("squeue", "fired; sleep 10")
    first = world.start()
    world.until(lambda: "squeue did not answer" in first.told(), "a look given up")
    world.prove(world.commands.has_fired("squeue"), "squeue.fired")
    time.sleep(10)
    world.commands.mend("squeue")
    world.expect_success(first)
    world.demand_single_work()


@cell(ACTOR, "an empty queue while the jobs run")
def empty_while_running(world: World) -> None:
    """A process that holds its lock is alive, whatever the queue says."""
    world.tell("5")
    first = world.start()
    world.await_work()
    world.commands.disturb("squeue", "fired; exit 0")
    world.until(lambda: world.commands.has_fired("squeue"), "squeue.fired")
    world.fired("squeue.fired")
    time.sleep(4)
    world.commands.mend("squeue")
    world.expect_success(first)
    world.demand_single_work()


@cell(ACTOR, "an empty queue while the jobs wait")
def empty_while_waiting(world: World) -> None:
    """Believed lost and submitted again: only the newest attempt works."""
    blockers = [world.cluster.submit("--exclusive", "-N2", "--wrap", "sleep 8")]
    world.cluster.wait_for_state(blockers[0], "RUNNING")
    first = world.start()
    first.await_event("Submitted")
    time.sleep(2)
    world.commands.disturb("squeue", "fired; exit 0")
    world.until(lambda: world.commands.has_fired("squeue"), "squeue.fired")
    world.fired("squeue.fired")
    time.sleep(4)
    world.commands.mend("squeue")
    world.expect_success(first)


@cell(ACTOR, "frozen for 12 s while the jobs run", breaks=True)
def frozen(world: World) -> None:
    """Every command hangs; nothing is lost."""
    world.tell("1.5")
    first = world.start()
    world.await_work()
    with world.cluster.frozen():
        world.prove(world.cluster.run("squeue").returncode, "squeue without an answer")
        time.sleep(8)
        world.demand(first.is_running(), "it gave up")
    world.expect_success(first)
    world.demand_single_work()
