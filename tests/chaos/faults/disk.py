"""The disk that holds the home is full: nothing new is submitted, what runs is watched."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.cells import cell
from tests.chaos.invariants import check
from tests.chaos.world import AFTER_A, A, B, Skipped, World

ACTOR = "orchestrator"
BLOCK = 4096


@cell(ACTOR, "disk of the ledger full (ENOSPC)")
def ledger_full(world: World) -> None:
    """What cannot be written down is not submitted, and said; what runs is watched to its end."""
    world.tell("2", A)
    world.tell("12", B)
    with _small_disk(world.layout.slurm) as fill:
        first = world.start()
        world.await_work(A)
        fill()
        world.fired("write refused with ENOSPC")
        first.wait()
        calls = world.commands.calls("sbatch")
        world.demand(calls == 1, f"sbatch was called {calls} times")
        world.demand(first.completed() == {A, B}, "it did not watch to the end")
        world.demand_reason("No space left on device")
        (world.layout.slurm / "filler").unlink()
        world.finish(A, B, AFTER_A)
        world.until(lambda: not world.left_over(), "no job left")
    world.demand_single_work()


@cell(ACTOR, "disk of the whole home full (ENOSPC)")
def home_full(world: World) -> None:
    """It says so and waits for space; nothing is half published, and everything is made then."""
    world.tell("2")
    with _small_disk(world.layout.home) as fill:
        world.make_what_comes_before()
        first = world.start()
        world.await_work(A)
        fill()
        world.fired("write refused with ENOSPC")
        world.until(lambda: "Nothing new is submitted" in first.told(), "it says so")
        world.demand(first.is_running(), "it does not watch any more")
        (world.layout.home / "filler").unlink()
        first.wait()
        world.finish()
        check(world)
    world.nodes = ()


@contextmanager
def _small_disk(folder: Path) -> Iterator[_Fill]:
    """Put a small disk under a folder; yield what fills it to the last byte."""
    if os.geteuid():
        raise Skipped("only root can mount a small disk")
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "chaos", str(folder)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        raise Skipped(f"a small disk cannot be mounted: {mounted.stderr.strip()}")
    try:
        yield _Fill(folder / "filler")
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


class _Fill:
    """Fills the disk that a file lies on."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> None:
        """Write until nothing more fits. Raises: AssertionError when it is not a small disk."""
        with self.path.open("ab", buffering=0) as file:
            try:
                for _ in range(10_000):
                    file.write(b"x" * BLOCK)
            except OSError:
                return
        raise AssertionError(f"{self.path.parent} is not full")
