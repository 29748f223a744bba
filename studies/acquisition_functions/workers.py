"""Runs in several processes, each of which loads the pool once.

In: pairs of function and seed. Out: `Run`s in the order in which they end. Heavy: needs torch. A
run is one thread, so that its result does not depend on how many are made beside it.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import torch

from studies.acquisition_functions.features import load_features
from studies.acquisition_functions.pool import read_pool
from studies.acquisition_functions.runs import Material, Run, StudySettings, run

Units = Sequence[tuple[str, int]]
"""Functions with seeds."""


@dataclass(frozen=True)
class Place:
    """Where a process finds the material, so that it need not be sent."""

    pool: Path
    cache: Path
    model: Path | None
    max_prompts: int | None

    def load(self) -> Material:
        """Read the pool and its features; compute these if nobody has."""
        pool = read_pool(self.pool, self.max_prompts)
        return Material(pool, load_features(pool, self.cache, self.model))


_material: list[Material] = []
"""In a process that makes runs: what it has loaded."""


def make_runs(
    units: Units, settings: StudySettings, place: Place, num_processes: int
) -> Iterator[Run]:
    """Yield runs as they end; those that have not begun are dropped when the caller stops."""
    if not units:
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_processes, spawn, _begin, (place,)) as processes:
        futures = [processes.submit(_one, name, seed, settings) for name, seed in units]
        try:
            yield from (future.result() for future in as_completed(futures))
        finally:
            processes.shutdown(wait=False, cancel_futures=True)


def _begin(place: Place) -> None:
    torch.set_num_threads(1)
    _material.append(place.load())


def _one(name: str, seed: int, settings: StudySettings) -> Run:
    return run(name, seed, settings, _material[0])
