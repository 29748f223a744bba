"""The task dies anywhere between its first byte and its exit, or lies about its work."""

from __future__ import annotations

import os
import signal

from activeuf_core.paths import MANIFEST
from tests.chaos.cells import cell, cells_for
from tests.chaos.world import A, B, World

ACTOR = "task"
IN_STAGE = ("mid-write", "mid-checkpoint", "before-result", "after-result")
IN_WRAPPER = ("before-manifest", "after-manifest", "after-rename")


@cells_for(ACTOR, "stage killed {}", IN_STAGE)
def stage_killed(world: World, place: str) -> None:
    """The wrapper says why, the stage is tried again; a finished result is not lost."""
    world.tell("1 checkpoints")
    world.crash_task(place)
    first = world.start()
    world.until(world.mark.exists, f"mark file of {place}")
    world.fired(f"mark file of {place}")
    if first.wait():
        world.demand_reason("SIGKILL")
        world.finish()


@cells_for(ACTOR, "wrapper killed {}", IN_WRAPPER)
def wrapper_killed(world: World, place: str) -> None:
    """The artifact is whole or not there, never half."""
    world.crash_task(place)
    first = world.start()
    world.until(world.mark.exists, f"mark file of {place}")
    world.fired(f"mark file of {place}")
    if first.wait():
        world.demand_reason("SIGKILL")
    world.finish()


@cell(ACTOR, "exit 0 without output", is_quick=True)
def silent(world: World) -> None:
    """COMPLETED is no artifact."""
    world.tell("0.2 silent\n0.5", A)
    first = world.start()
    world.demand(first.wait() == 0 and A not in first.completed(), "it passed for complete")
    world.prove(len(world.begins(A)) == 1, "a start without a result")
    world.demand_reason("CompletedWithoutArtifact")
    world.finish()


@cell(ACTOR, "hangs; cancelled by a person with scancel")
def hangs(world: World) -> None:
    """The reason is told, and the next try is whole."""
    world.tell("0.1 hangs\n0.5", A)
    first = world.start()
    begun = world.await_work(A)
    world.prove(begun["words"][-1] == "hangs", "journal of the hanging start")
    # scancel of SLURM 22.05 does not know an array's task by its raw id, and exits 0.
    shown = world.cluster.run("squeue", "-h", "-j", begun["slurm_job_id"], "-o", "%i", check=True)
    world.cluster.run("scancel", shown.stdout.split()[0], check=True)
    first.wait()
    world.demand_reason("CancelledByOther")
    world.finish()


@cell(ACTOR, "another partition's manifest in its output")
def foreign_in_output(world: World) -> None:
    """The wrapper writes the manifest; what a stage wrote by that name counts for nothing."""
    world.tell("0.2 foreign", A)
    world.finish()
    world.prove(world.begins(A)[0]["words"][-1] == "foreign", "journal of the start")


@cell(ACTOR, "another partition's artifact at its address", remade=1)
def foreign_at_address(world: World) -> None:
    """Recognised as foreign, set aside, and made."""
    world.start(B).wait()
    source = world.layout.artifact(B[0], world.fingerprint(B))
    target = world.layout.artifact(A[0], world.fingerprint(A))
    world.run_tool("cp", "-r", str(source), str(target))
    found = world.store.inspect(A[0], world.fingerprint(A))
    world.prove(found.reason.startswith("foreign"), f"inspection: {found.reason[:40]}")
    world.finish()


@cell(ACTOR, "last line torn after publication", remade=1)
def torn(world: World) -> None:
    """Found as broken by its size, and made again."""
    world.finish()
    path = world.layout.artifact(A[0], world.fingerprint(A)) / "rows.jsonl"
    os.truncate(path, path.stat().st_size - 9)
    found = world.store.inspect(A[0], world.fingerprint(A))
    world.prove(found.reason.startswith("broken"), f"inspection: {found.reason[:40]}")
    world.finish()


@cell(ACTOR, "manifest torn after publication", remade=1)
def torn_manifest(world: World) -> None:
    """Found as broken by its seal, and made again."""
    world.finish()
    path = world.layout.artifact(A[0], world.fingerprint(A)) / MANIFEST
    os.truncate(path, path.stat().st_size // 2)
    found = world.store.inspect(A[0], world.fingerprint(A))
    world.prove(found.reason.startswith("broken"), f"inspection: {found.reason[:40]}")
    world.finish()


@cell(ACTOR, "wrapper killed while the stage works")
def wrapper_killed_while_working(world: World) -> None:
    """The stage dies with it, so that nobody works unseen."""
    world.tell("3 checkpoints\n0.5", A)
    first = world.start()
    begun = world.await_work(A)
    with open(f"/proc/{begun['pid']}/stat") as file:
        wrapper = int(file.read().rpartition(")")[2].split()[1])
    os.kill(wrapper, signal.SIGKILL)
    world.until(lambda: not os.path.exists(f"/proc/{begun['pid']}"), "the stage died too")
    world.fired("death of wrapper and stage")
    if first.wait():
        world.demand_reason("SIGKILL")
    world.finish()
