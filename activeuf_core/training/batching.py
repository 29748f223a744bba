"""How many comparisons go through the device at once, and how many optimiser steps that makes.

In: a training's config and the number of comparisons. Out: `Batching` and `Schedule`, which decide
everything that the trainer is told about sizes and lengths. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from activeuf_core.errors import ConfigError
from activeuf_core.training.config import TrainingConfig


@dataclass(frozen=True)
class Batching:
    """Comparisons per forward pass of one process, and forward passes per optimiser step."""

    per_device: int
    accumulation: int


@dataclass(frozen=True)
class Schedule:
    """Optimiser steps in all, those of the warm-up, and how often each comparison is seen."""

    steps: int
    warmup_steps: int
    passes: float


def plan_batching(config: TrainingConfig, num_processes: int = 1) -> Batching:
    """Divide the batch of one optimiser step over processes and forward passes.

    Raises: ConfigError when it cannot be divided evenly.
    """
    at_once = config.per_device_batch_size * num_processes
    if config.batch_size % at_once:
        fitting = [
            size
            for size in _divisors(config.batch_size)
            if config.batch_size % (size * num_processes) == 0
        ]
        allowed = (
            ", ".join(map(str, fitting))
            or f"none: batch_size must be a multiple of {num_processes}"
        )
        raise ConfigError(
            f"batch_size {config.batch_size} is not a multiple of per_device_batch_size "
            f"{config.per_device_batch_size} x {num_processes} process(es) = {at_once}. "
            f"With this batch_size, per_device_batch_size may be: {allowed}."
        )
    return Batching(config.per_device_batch_size, config.batch_size // at_once)


def halve(batching: Batching) -> Batching | None:
    """Return the batching to try after the device ran out of memory: the same optimiser step in
    smaller passes.

    Half per pass and twice the passes; where an odd number cannot be halved, the next smaller
    divisor. None when a pass already holds a single comparison.
    """
    together = batching.per_device * batching.accumulation
    smaller = [size for size in _divisors(together) if size <= batching.per_device // 2]
    return Batching(smaller[-1], together // smaller[-1]) if smaller else None


def plan_steps(config: TrainingConfig, num_pairs: int) -> Schedule:
    """Count optimiser steps: a last, smaller batch of an epoch is a step of its own."""
    per_epoch = math.ceil(num_pairs / config.batch_size)
    steps = config.max_steps or math.ceil(config.epochs * per_epoch)
    return Schedule(steps, math.ceil(config.warmup_fraction * steps), steps / per_epoch)


def reference_pays_in_advance(schedule: Schedule, num_processes: int = 1) -> bool:
    """Whether to compute the reference model's log-probabilities once, before training.

    In training they cost one forward pass per comparison and epoch; in advance, one per comparison.
    Several processes would have to share the result through a file system, so they compute it as
    they go.
    """
    return schedule.passes > 1.0 and num_processes == 1


def _divisors(number: int) -> list[int]:
    return [size for size in range(1, number + 1) if number % size == 0]
