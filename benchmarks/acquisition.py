"""Time every acquisition function beside its formulas applied one prompt at a time.

In: random bounds, 30 completions per prompt, one thread. Out: CPU microseconds per prompt at 256
and at 60,000 prompts, and how many times faster that is than the reference of the same rule
(`activeuf_core.acquisition.reference`) on a sample of prompts: on numpy rows, and on torch rows
with 0-d tensors, which is how the research code runs its rules.
Cost: about 20 seconds and 1 GB.
Command: python -m benchmarks.acquisition
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy and torch are imported

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from activeuf_core.acquisition import config as settings
from activeuf_core.acquisition import reference
from activeuf_core.acquisition.base import Bounds
from activeuf_core.acquisition.random_stream import RandomStream
from activeuf_core.acquisition.registry import build

NUM_COMPLETIONS, NUM_HEADS = 30, 20
SIZES = (256, 60_000)
SAMPLE = 12
"""Prompts on which a reference is timed."""
MODELS = np.array([f"model {index}" for index in range(NUM_COMPLETIONS)])
RNG = np.random.default_rng(0)

Rows = dict[str, Any]
Case = tuple[str, settings.MethodConfig, Callable[[Rows], object]]

UNIFORM: dict[str, Any] = {"noise": "uniform"}
RETRIES: dict[str, Any] = {"noise": "uniform", "compat": "upstream", "max_iterations": 30}


def uniform(r: Rows) -> Callable[[], Any]:
    """Draws inside the bounds of one prompt."""
    return lambda: reference.uniform_draw(r["mean"], r["half"], RNG)


def heads(r: Rows) -> Callable[[], Any]:
    """Draws of a head for one prompt."""
    return lambda: reference.head_draw(r["heads"], RNG)


CASES: list[Case] = [
    ("random", settings.RandomConfig(), lambda r: reference.random(len(r["mean"]), RNG)),
    (
        "ultrafeedback",
        settings.UltraFeedbackConfig(),
        lambda r: reference.ultrafeedback(r["score"], RNG),
    ),
    ("maxmin", settings.MaxMinConfig(), lambda r: reference.maxmin(r["score"])),
    (
        "deltaqwen",
        settings.DeltaQwenConfig(chosen_model="model 3", rejected_model="model 7"),
        lambda r: reference.deltaqwen(r["models"], "model 3", "model 7"),
    ),
    ("dts, heads", settings.DTSConfig(), lambda r: reference.double_thompson(heads(r))),
    (
        "dts, uniform",
        settings.DTSConfig(**UNIFORM),
        lambda r: reference.double_thompson(uniform(r)),
    ),
    (
        "dts, uniform, upstream",
        settings.DTSConfig(**RETRIES),
        lambda r: reference.retried_thompson(uniform(r), RNG),
    ),
    ("drts, heads", settings.DRTSConfig(), lambda r: reference.double_thompson(heads(r), -1.0)),
    (
        "drts, uniform",
        settings.DRTSConfig(**UNIFORM),
        lambda r: reference.double_thompson(uniform(r), -1.0),
    ),
    (
        "drts, uniform, upstream",
        settings.DRTSConfig(**RETRIES),
        lambda r: reference.retried_thompson(uniform(r), RNG, -1.0),
    ),
    ("infomax", settings.InfoMaxConfig(), lambda r: reference.infomax(r["lower"], r["upper"])),
    (
        "infogain, heads",
        settings.InfoGainConfig(),
        lambda r: reference.infogain(reference.winner(heads(r)()), r["lower"], r["upper"]),
    ),
    ("ids", settings.IDSConfig(), lambda r: reference.ids(r["mean"], r["half"])),
    (
        "ids, upstream",
        settings.IDSConfig(compat="upstream"),
        lambda r: reference.upstream_ids(r["mean"], r["half"]),
    ),
    ("rucb", settings.RUCBConfig(), lambda r: reference.rucb(r["mean"], r["half"], RNG)),
    ("maxminlcb", settings.MaxMinLCBConfig(), lambda r: reference.maxminlcb(r["mean"], r["half"])),
    ("deltaucb", settings.DeltaUCBConfig(), lambda r: reference.deltaucb(r["lower"], r["upper"])),
    (
        "deltaquantile",
        settings.DeltaQuantileConfig(),
        lambda r: reference.deltaquantile(r["lower"], r["upper"], 0.05, 0.0),
    ),
]


def make_bounds(num_prompts: int) -> Bounds:
    """Rewards of 20 heads whose spread differs from completion to completion, as after training."""
    rng = np.random.default_rng(1)
    shape = (num_prompts, NUM_COMPLETIONS)
    heads_EPC = rng.standard_normal((NUM_HEADS, *shape), dtype=np.float32)
    heads_EPC *= rng.uniform(0.2, 1.5, size=shape).astype(np.float32)
    heads_EPC += rng.standard_normal(shape, dtype=np.float32)
    mean_PC, std_PC = heads_EPC.mean(axis=0), heads_EPC.std(axis=0, ddof=1)
    return Bounds(
        mean_PC,
        mean_PC - std_PC,
        mean_PC + std_PC,
        np.ones(shape, dtype=bool),
        [f"prompt-{row}" for row in range(num_prompts)],
        overall_score_PC=rng.uniform(1, 5, size=shape),
        heads_EPC=heads_EPC,
        completion_models_PC=np.broadcast_to(MODELS, shape),
    )


def rows_of(bounds: Bounds, row: int, convert: Callable[[Any], Any]) -> Rows:
    """What is known of one prompt, as the reference takes it."""
    assert bounds.heads_EPC is not None, "made above"
    assert bounds.overall_score_PC is not None, "made above"
    arrays = {
        "mean": bounds.mean_PC[row],
        "half": bounds.half_width_PC[row],
        "lower": bounds.lower_PC[row],
        "upper": bounds.upper_PC[row],
        "score": bounds.overall_score_PC[row],
        "heads": np.ascontiguousarray(bounds.heads_EPC[:, row]),
    }
    return {name: convert(array) for name, array in arrays.items()} | {"models": MODELS.tolist()}


def microseconds(run: Callable[[], object], num_prompts: int, repeats: int) -> float:
    """CPU time per prompt of the fastest of some repeats."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times) / num_prompts * 1e6


def apply(rule: Callable[[Rows], object], rows: list[Rows]) -> None:
    """Apply a reference to one prompt after another."""
    for row in rows:
        rule(row)


def main() -> None:
    """Print one line per rule."""
    torch.set_num_threads(1)
    batches = {size: make_bounds(size) for size in SIZES}
    streams = {size: RandomStream.for_batch(0, b.prompt_ids, 0) for size, b in batches.items()}
    prompts = range(SAMPLE)
    rows = {
        kind: [rows_of(batches[SIZES[0]], row, convert) for row in prompts]
        for kind, convert in (("numpy", np.asarray), ("torch", torch.from_numpy))
    }
    head = f"{'CPU us per prompt, C = 30':26}{'P=256':>8}{'P=60000':>9}"
    sys.stdout.write(f"{head}{'ref numpy':>11}{'ratio':>18}{'ref torch':>11}{'ratio':>18}\n")
    for name, config, rule in CASES:
        select = build(config).select
        ours = [
            microseconds(partial(select, batches[s], streams[s]), s, 20 if s < 1000 else 3)
            for s in SIZES
        ]
        line = f"{name:26}{ours[0]:8.2f}{ours[1]:9.2f}"
        for kind in rows:
            slow = microseconds(partial(apply, rule, rows[kind]), SAMPLE, 2)
            ratios = " / ".join(f"{slow / time:.0f}x" for time in ours)
            line += f"{slow:11.0f}{ratios:>18}"
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
