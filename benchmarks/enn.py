"""Time one outer step of the loop beside the matrix products that nothing can spare it.

In: random features: 64 prompts with 30 completions of 2,560 float16 values, and a full replay
buffer of 6,400 comparisons. Out: seconds of scoring, selecting, sampling the buffer and 100
optimiser steps of the ENN (20 heads 2560-128-128-1), in rounds that alternate with two yardsticks:
the floor: the products alone, in the same shapes and type, into arrays that exist already, each
in the fastest layout known: per optimiser step the first layer forwards and its weight gradient,
the second layer forwards and two backwards; and the products of scoring. No optimiser, no copy;
the floor and Adam: the same, and as many passes of PyTorch's fused Adam over as many weights.
CPU-seconds of one thread on a CPU; seconds on a GPU.
Cost: about 5 seconds a round and 0.6 GB.
Command: python -m benchmarks.enn [--rounds 5] [--device cuda] [--dtype bfloat16] [--pull]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are imported

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from statistics import median

import numpy as np
import torch
from torch.optim.adamw import adamw

from activeuf_core.acquisition.base import Bounds
from activeuf_core.acquisition.config import DTSConfig
from activeuf_core.acquisition.random_stream import RandomStream
from activeuf_core.acquisition.registry import build as build_acquisition_function
from activeuf_core.enn.config import ENNConfig
from activeuf_core.enn.trainer import EnsembleENN
from activeuf_core.loop.replay_buffer import ReplayBuffer

PROMPTS, COMPLETIONS, FEATURE_SIZE, BUFFER = 64, 30, 2560, 6400
LATE, EARLY = 0.9, 0.01
"""Share of the run that is over: late, the pull to the initial weights has decayed to nothing."""
PARTS = ("score", "select", "sample", "train")

Seconds = dict[str, float]


class OuterStep:
    """What the loop does with a batch, on features that exist in memory."""

    def __init__(self, config: ENNConfig, device: str, progress: float) -> None:
        rng = np.random.default_rng(0)
        shape = (PROMPTS, COMPLETIONS, FEATURE_SIZE)
        self.progress = progress
        self.features_PCD = rng.standard_normal(shape, dtype=np.float32).astype(np.float16)
        self.enn = EnsembleENN(config, FEATURE_SIZE, seed=1, device=device)
        self.rng = rng
        self.num = config.batch_size * config.max_steps
        self.buffer = ReplayBuffer(BUFFER, FEATURE_SIZE, np.dtype(np.float16))
        for start in range(0, BUFFER, PROMPTS):
            pair_2ND = rng.standard_normal((2, PROMPTS, FEATURE_SIZE), dtype=np.float32)
            self.buffer.add(np.arange(start, start + PROMPTS), *pair_2ND.astype(np.float16))
        self.select = build_acquisition_function(DTSConfig()).select
        self.mask_PC = np.ones((PROMPTS, COMPLETIONS), dtype=bool)
        self.stream = RandomStream.for_batch(0, map(str, range(PROMPTS)), 0)

    def run(self, clock: Callable[[], float]) -> Seconds:
        """Take one outer step; return the seconds of its parts."""
        times = [clock()]
        estimate = self.enn.bounds(self.features_PCD)
        times.append(clock())
        bounds = Bounds(
            estimate.mean_PC,
            estimate.lower_PC,
            estimate.upper_PC,
            self.mask_PC,
            heads_EPC=estimate.heads_EPC,
        )
        self.select(bounds, self.stream)
        times.append(clock())
        pair_ids_N, chosen_ND, rejected_ND = self.buffer.sample(self.num, self.rng)
        times.append(clock())
        self.enn.update(chosen_ND, rejected_ND, pair_ids_N=pair_ids_N, progress=self.progress)
        times.append(clock())
        return dict(zip(PARTS, np.diff(times).tolist(), strict=True))


class Floor:
    """The products of an outer step, and Adam's passes over the weights, with nothing around."""

    def __init__(self, config: ENNConfig, device: str) -> None:
        heads, (first, second) = config.num_heads, config.hidden_sizes
        rows, scored = 2 * config.batch_size, PROMPTS * COMPLETIONS
        self.steps = config.max_steps
        dtype = getattr(torch, config.dtype)

        def array(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, device=device).mul_(0.02).to(dtype)

        wide = heads * first
        self.weight, self.gradient = array(wide, FEATURE_SIZE), array(wide, FEATURE_SIZE)
        self.rows_DR, self.rows_RD = array(FEATURE_SIZE, rows), array(rows, FEATURE_SIZE)
        self.hidden, self.back = array(wide, rows), array(wide, rows)
        self.weight2, self.gradient2 = (array(heads, second, first) for _ in range(2))
        self.hidden2, self.back2 = array(heads, first, rows), array(heads, second, rows)
        self.scored_DR, self.score_hidden = array(FEATURE_SIZE, scored), array(wide, scored)
        self.score2 = array(heads, second, scored)
        size = self.weight.numel() + self.weight2.numel()
        self.adam = [torch.full((size,), 1e-4, device=device) for _ in range(4)]
        self.count = torch.ones((), device=device)

    def products(self) -> None:
        """Multiply as an outer step must."""
        torch.mm(self.weight, self.scored_DR, out=self.score_hidden)
        torch.bmm(self.weight2, self.score_hidden.view_as(self.score2), out=self.score2)
        for _ in range(self.steps):
            torch.mm(self.weight, self.rows_DR, out=self.hidden)
            torch.bmm(self.weight2, self.hidden.view_as(self.hidden2), out=self.back2)
            torch.bmm(self.back2, self.hidden2.transpose(1, 2), out=self.gradient2)
            torch.bmm(self.weight2.transpose(1, 2), self.back2, out=self.hidden2)
            torch.mm(self.back, self.rows_RD, out=self.gradient)

    def updates(self) -> None:
        """Pass over weights, gradient and two moments as Adam must."""
        weight, gradient, first, second = self.adam
        for _ in range(self.steps):
            adamw([weight], [gradient], [first], [second], [], [self.count], fused=True,
                  amsgrad=False, beta1=0.9, beta2=0.999, lr=1e-5, weight_decay=0.0, eps=1e-8,
                  maximize=False)  # fmt: skip


def clock_of(device: str) -> Callable[[], float]:
    """CPU time of this process; on a GPU the time of day, once it has done all it was told."""
    if device == "cpu":
        return time.process_time

    def finished() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return finished


def measure(step: OuterStep, floor: Floor, rounds: int, device: str) -> list[Seconds]:
    """Alternate, so that whatever else the machine does hits all three alike."""
    clock = clock_of(device)
    measured = []
    for number in range(rounds + 1):
        times = [clock()]
        floor.products()
        times.append(clock())
        parts = step.run(clock)
        times.append(clock())
        floor.updates()
        times.append(clock())
        products, ours, updates = np.diff(times).tolist()
        if number:  # the first round warms up
            measured.append(parts | {"ours": ours, "products": products, "updates": updates})
    return measured


def row(name: str, values: Iterable[float]) -> str:
    """Write the median, the least and the greatest of some values in a line."""
    values = list(values)
    return f"{name:34}{median(values):9.3f}{min(values):9.3f}{max(values):9.3f}\n"


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--pull", action="store_true", help="early in the run, weights are pulled")
    arguments = parser.parse_args()
    config = ENNConfig(dtype=arguments.dtype)
    step = OuterStep(config, arguments.device, EARLY if arguments.pull else LATE)
    floor = Floor(config, arguments.device)
    before = os.getloadavg()[0]
    rounds = measure(step, floor, arguments.rounds, arguments.device)
    unit = "CPU seconds, one thread" if arguments.device == "cpu" else "seconds"
    out = sys.stdout.write
    out(f"{f'outer step, {arguments.dtype}, {unit}':34}{'median':>9}{'least':>9}{'most':>9}\n")
    for part in (*PARTS, "ours"):
        out(row("outer step" if part == "ours" else f"  {part}", (r[part] for r in rounds)))
    out(row("floor: products", (r["products"] for r in rounds)))
    out(row("Adam's passes", (r["updates"] for r in rounds)))
    out(row("outer step / floor", (r["ours"] / r["products"] for r in rounds)))
    both = (r["ours"] / (r["products"] + r["updates"]) for r in rounds)
    out(row("outer step / (floor and Adam)", both))
    out(f"load {before:.1f} before, {os.getloadavg()[0]:.1f} after\n")


if __name__ == "__main__":
    main()
