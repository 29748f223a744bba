"""The sbatch client dies, answers nonsense, or does not answer."""

from __future__ import annotations

from tests.chaos.cells import cell
from tests.chaos.world import World

ACTOR = "sbatch client"


@cell(ACTOR, "killed before it sends")
def killed_before(world: World) -> None:
    """No job exists: sbatch is called again after the settling time."""
    world.commands.disturb("sbatch", "once; kill -9 $$")
    world.finish()
    world.prove(world.commands.has_fired("sbatch"), "sbatch.fired")
    world.demand_single_work()


@cell(ACTOR, "killed after it sent", is_quick=True)
def killed_after(world: World) -> None:
    """The job is found by its token."""
    world.commands.disturb("sbatch", 'once; sbatch "$@" > /dev/null; kill -9 $$')
    world.finish()
    world.prove(world.commands.has_fired("sbatch"), "sbatch.fired")
    world.demand_single_work()


@cell(ACTOR, "time-out: the controller is frozen, and creates the job at thaw", breaks=True)
def timed_out(world: World) -> None:
    """Unknown is not "not submitted"."""
    world.commands.disturb("sbatch", "once; sleep 0.5")
    first = world.start()
    world.until(lambda: world.commands.has_fired("sbatch"), "sbatch.fired")
    with world.cluster.frozen():
        world.until(lambda: "sbatch" in first.errors.read_text(), "sbatch gave up")
        world.fired("sbatch gave up, in the log")
    world.expect_success(first)
    world.demand_single_work()


@cell(ACTOR, "exit code 0 without an id")
def without_id(world: World) -> None:
    """The job is found by its token."""
    world.commands.disturb("sbatch", 'once; sbatch "$@" > /dev/null; exit 0')
    world.finish()
    world.prove(world.commands.has_fired("sbatch"), "sbatch.fired")
    world.demand_single_work()


@cell(ACTOR, "a garbage id")
def garbage(world: World) -> None:
    """The job is found by its token."""
    world.commands.disturb("sbatch", 'once; sbatch "$@" > /dev/null; echo "a batch jöb"; exit 0')
    world.finish()
    world.prove(world.commands.has_fired("sbatch"), "sbatch.fired")
    world.demand_single_work()


@cell(ACTOR, "the id of no job")
def wrong_id(world: World) -> None:
    """A number is believed once; the queue then knows better."""
    world.commands.disturb("sbatch", 'once; sbatch "$@" > /dev/null; echo 987654; exit 0')
    world.finish()
    world.prove(world.commands.has_fired("sbatch"), "sbatch.fired")


@cell(ACTOR, "an error message, and the job exists all the same")
def error_and_job(world: World) -> None:
    """A failed sbatch proves nothing."""
    text = "sbatch: error: Batch job submission failed: Unspecified error"
    world.commands.disturb("sbatch", f'once; sbatch "$@" > /dev/null; echo "{text}" >&2; exit 1')
    world.finish()
    world.prove(world.commands.has_fired("sbatch"), "sbatch.fired")
    world.demand_single_work()
