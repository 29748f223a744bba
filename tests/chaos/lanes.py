"""Cells played side by side; the cluster of a lane lives until a cell breaks it."""

from __future__ import annotations

import itertools
import multiprocessing
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

import tests.chaos.faults  # noqa: F401 - declares the cells
from tests.chaos import invariants, storm
from tests.chaos.cells import CELLS, Cell
from tests.chaos.world import ChaosError, Skipped, World
from tests.slurm.sandbox import SandboxCluster

START_TRIES = 4
PATIENCE_S = storm.LIMIT_S + 120.0
"""More than any cell's limit, with its end and its checks: a lane that is silent for so long is
broken.
"""


@dataclass(frozen=True)
class Outcome:
    """What came of one play of a cell."""

    name: str
    verdict: str
    """`held`, `BROKEN` or `skipped`."""
    seconds: float
    proofs: tuple[str, ...] = ()
    detail: str = ""


def play_all(names: Iterable[str], lanes: int, keep: bool = False) -> Iterator[Outcome]:
    """Play cells by name in as many lanes; yield the outcomes as they come.

    A name is asked for when a lane is free for it. Args: keep: leave the folders of broken cells.
    """
    context = multiprocessing.get_context("spawn")
    todo, done = context.Queue(), context.Queue()
    processes = [context.Process(target=_lane, args=(todo, done, keep)) for _ in range(lanes)]
    coming = iter(names)
    out = 0
    try:
        for process in processes:
            process.start()
        for name in itertools.islice(coming, lanes):
            todo.put(name)
            out += 1
        while out:
            yield done.get(timeout=PATIENCE_S)
            out -= 1
            for name in itertools.islice(coming, 1):
                todo.put(name)
                out += 1
        for _ in processes:
            todo.put(None)
        for process in processes:
            process.join(PATIENCE_S)
    finally:
        for process in processes:
            process.terminate()


def find(name: str) -> Cell:
    """Return a cell by its name; a storm's is made from its seed."""
    if name.startswith(f"{storm.ACTOR}: seed "):
        return storm.storm(name.removeprefix(f"{storm.ACTOR}: seed "))
    return next(cell for cell in CELLS if cell.name == name)


def _lane(todo: multiprocessing.Queue, done: multiprocessing.Queue, keep: bool) -> None:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    lane = Lane(keep)
    try:
        while (name := todo.get()) is not None:
            done.put(lane.play(find(name)))
    finally:
        lane.close()


class Lane:
    """One cluster after the other, and the cells that are played on them."""

    def __init__(self, keep: bool = False) -> None:
        """Args: keep: leave the folders of broken cells for a person to look at."""
        self.keep = keep
        self.cluster: SandboxCluster | None = None

    def play(self, cell: Cell) -> Outcome:
        """Play a cell and check what must hold; whatever happens, say what came of it."""
        began = time.monotonic()
        folder = Path(tempfile.mkdtemp(prefix="activeuf-chaos-"))
        world: World | None = None
        detail = ""
        verdict = "held"
        try:
            world = World(folder, self._cluster_for(cell), cell.limit_s)
            cell.play(world)
            if not world.proofs:
                raise ChaosError("nothing proves that the fault fired")
            invariants.check(world, remade=cell.remade)
        except Skipped as reason:
            verdict, detail = "skipped", str(reason)
        except (ChaosError, AssertionError, pytest.fail.Exception) as error:
            verdict, detail = "BROKEN", str(error)
        except Exception:  # noqa: BLE001 - one cell's bug must not hide the other outcomes
            verdict, detail = "BROKEN", traceback.format_exc()
        finally:
            self._tidy(cell, world, failed=verdict == "BROKEN")
        if verdict == "BROKEN" and self.keep:
            detail += f" [{folder}]"
        else:
            shutil.rmtree(folder, ignore_errors=True)
        proofs = tuple(world.proofs) if world else ()
        return Outcome(cell.name, verdict, time.monotonic() - began, proofs, detail)

    def close(self) -> None:
        """End the cluster."""
        if self.cluster is not None:
            self.cluster.close()
            self.cluster = None

    def _cluster_for(self, cell: Cell) -> SandboxCluster:
        if self.cluster is None or cell.with_accounting:
            self.close()
            self.cluster = _new_cluster(cell.with_accounting)
        return self.cluster

    def _tidy(self, cell: Cell, world: World | None, *, failed: bool) -> None:
        if world is not None:
            world.close()
        if cell.breaks or cell.with_accounting or failed:
            self.close()
            return
        assert self.cluster is not None
        with suppress(subprocess.TimeoutExpired):
            self.cluster.run("scancel", "--me", timeout_s=15)
            self.cluster.wait_for_end()


def _new_cluster(with_accounting: bool) -> SandboxCluster:
    """Start a cluster; another lane may take its ports a moment before."""
    for attempt in range(START_TRIES):
        cluster = SandboxCluster(nodes=2)
        cluster.settings["SLURM_SANDBOX_DBD"] = str(int(with_accounting))
        try:
            cluster.start()
        except AssertionError as error:
            cluster.close()
            if attempt + 1 == START_TRIES:
                raise ChaosError(str(error)) from error
        else:
            return cluster
    raise AssertionError("unreachable")
