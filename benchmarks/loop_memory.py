"""Measure how much memory the loop takes beside the memory map of its features.

In: a synthetic candidate pool with 30 completions per prompt and 2,560 float16 values for each,
written to a temporary folder. Out: peak memory of the stage, run whole in a process of its own:
all that was resident at once, and of it what is not pages of files, sampled 20 times a second.
Cost: 1 GB on disk and half a minute for 5,000 prompts; 9.5 GB and about ten minutes for 60,000.
Command: python -m benchmarks.loop_memory [--prompts 60000] [--heads full] [--folder DIR]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are imported

import argparse
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from activeuf_core import paths
from activeuf_core.jobs import Unit
from activeuf_core.loop.run import run
from activeuf_core.paths import UnitFolder
from activeuf_core.schemas import CANDIDATE, user_message
from activeuf_core.stage import StageContext

COMPLETIONS, FEATURE_SIZE = 30, 2560
PROMPTS_PER_WRITE = 500
HEADS: dict[str, dict[str, Any]] = {"small": {"num_heads": 2, "hidden_sizes": [16]}, "full": {}}
"""Small heads train in a sixtieth of the time; the full ones add what they are, times four."""
LIMIT_GB = 2.0


def candidates(first: int, num: int) -> pa.Table:
    """Return the candidates of some prompts, with scores at random and texts of 400 characters."""
    rng = np.random.default_rng(first)
    names = [f"prompt-{number:06d}" for number in range(first, first + num)]
    rows = num * COMPLETIONS
    columns = {
        "prompt_id": pa.array(names).take(pa.array(np.repeat(np.arange(num), COMPLETIONS))),
        "source": pa.array(["synthetic"] * rows),
        "prompt": pa.array([user_message("A question?")] * rows, CANDIDATE.field("prompt").type),
        "model": pa.array([f"model-{number:02d}" for number in range(COMPLETIONS)] * num),
        "completion": pa.array([f"{first} {row} ".ljust(400, "x") for row in range(rows)]),
        "finish_reason": pa.array(["stop"] * rows),
        "ratings": pa.array(["{}"] * rows),
        "overall_score": pa.array(rng.uniform(1, 5, rows)),
    }
    return pa.table(columns, schema=CANDIDATE)


def write_inputs(folder: Path, num_prompts: int) -> None:
    """Write a pool, its features and their index."""
    shape = (num_prompts * COMPLETIONS, FEATURE_SIZE)
    matrix = np.lib.format.open_memmap(folder / paths.FEATURES, "w+", np.float16, shape)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((PROMPTS_PER_WRITE * COMPLETIONS, FEATURE_SIZE), dtype=np.float32)
    block = noise.astype(np.float16)
    pool, index = folder / paths.CANDIDATES, folder / paths.FEATURE_INDEX
    about = pa.schema([CANDIDATE.field("prompt_id"), CANDIDATE.field("model")])
    with pq.ParquetWriter(pool, CANDIDATE) as to_pool, pq.ParquetWriter(index, about) as to_index:
        for first in range(0, num_prompts, PROMPTS_PER_WRITE):
            num = min(PROMPTS_PER_WRITE, num_prompts - first)
            table = candidates(first, num)
            to_pool.write_table(table)
            to_index.write_table(table.select(about.names))
            start = first * COMPLETIONS
            # Rolled, so that no two prompts are alike.
            matrix[start : start + len(table)] = np.roll(block, first, axis=1)[: len(table)]
    matrix.flush()


def run_stage(folder: Path, heads: dict[str, Any]) -> None:
    """Run the stage on the inputs in a folder."""
    enn = {"method": "ensemble", **heads}
    config = {"acquisition": {"method": "drts"}, "enn": enn, "checkpoint_every": 100}
    inputs = {asset: {"pool": str(folder)} for asset in ("candidate_pool", "features")}
    unit = Unit("preference_dataset", "benchmark", "", "1", 0, config, inputs, {})
    output, checkpoints = UnitFolder(folder / "run"), folder / "checkpoints"
    output.output.mkdir(parents=True)
    checkpoints.mkdir()
    run(StageContext(unit, output, checkpoints))


def resident(pid: int) -> dict[str, float]:
    """Read the memory of a process in GB from the kernel; empty once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    fields = dict(line.split(":", 1) for line in lines)
    wanted = {"peak": "VmHWM", "own": "RssAnon"}
    return {
        name: int(fields[field].split()[0]) / 1e6
        for name, field in wanted.items()
        if field in fields
    }


def watch(process: Any) -> dict[str, float]:
    """Return the largest values until a process has ended."""
    largest: dict[str, float] = {}
    while process.is_alive():
        for name, value in resident(process.pid).items():
            largest[name] = max(value, largest.get(name, 0.0))
        process.join(0.05)
    return largest


def main() -> int:
    """Print the peaks; the exit status says whether the goal is met."""
    parser = argparse.ArgumentParser(description="Measure the memory of the loop.")
    parser.add_argument("--prompts", type=int, default=5000)
    parser.add_argument("--heads", choices=HEADS, default="small")
    parser.add_argument("--folder", help="where there is room for the features")
    arguments = parser.parse_args()
    out = sys.stdout.write
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        context = multiprocessing.get_context("spawn")
        inputs = context.Process(target=write_inputs, args=(Path(folder), arguments.prompts))
        inputs.start()
        inputs.join()
        size = (Path(folder) / paths.FEATURES).stat().st_size / 1e9
        out(f"{arguments.prompts} prompts, features of {size:.2f} GB, {arguments.heads} heads\n")
        started = time.perf_counter()
        stage = context.Process(target=run_stage, args=(Path(folder), HEADS[arguments.heads]))
        stage.start()
        peak = watch(stage)
        seconds = time.perf_counter() - started
    if stage.exitcode:
        out(f"the stage ended with exit status {stage.exitcode}\n")
        return 1
    out(f"peak of all resident memory {peak['peak']:.2f} GB (goal: {LIMIT_GB} GB)\n")
    out(f"peak without pages of files {peak['own']:.2f} GB; {seconds:.0f} s\n")
    return int(peak["peak"] > LIMIT_GB)


if __name__ == "__main__":
    sys.exit(main())
