"""Measure the SLURM launcher on a private cluster, beside a peer or a limit in the same run.

In: SLURM's packages (`make slurm`); 4 nodes of 8 made-up CPUs on this machine's real cores. Out:
tables of what was measured, beside what, and the goal; the machine's load before and after.
Cost: about five minutes on two cores (--quick: one and a half), 1 GB in a folder that is removed.
Command: make bench-slurm, or python -m benchmarks.slurm [--only makespan|delay|memory|sweep]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.slurm.scenarios import SCENARIOS, Bench
from tests.slurm.sandbox import SandboxCluster, wipe_leftovers

NODES = 4
SCHEDULER = (
    "SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,bf_continue,"
    "default_queue_depth=1000,correspond_after_task_cnt=1000,max_rpc_cnt=150"
)
"""The sandbox's, but the backfill scheduler looks every second, not every other: it starts most
jobs of a sweep, which wait for half of that on average."""


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=SCENARIOS, action="append", help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="smaller, for a look")
    parser.add_argument("--submitit", default="", help="an interpreter that has submitit: a peer")
    parser.add_argument("--profile", type=Path, help="where to leave cProfile's files")
    options = parser.parse_args()
    wipe_leftovers()
    folder = Path(tempfile.mkdtemp(prefix="activeuf-bench-"))
    cluster = SandboxCluster(NODES, SCHEDULER)
    try:
        cluster.start()
        bench = Bench(cluster, folder, options.quick, options.submitit, options.profile)
        for name in options.only or SCENARIOS:
            measure(name, bench)
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


def measure(name: str, bench: Bench) -> None:
    """Run one scenario and print its table."""
    began, load = time.monotonic(), os.getloadavg()[0]
    sys.stdout.write(f"\n{name}\n| what | measured | how | goal |\n|---|---|---|---|\n")
    for row in SCENARIOS[name](bench):
        sys.stdout.write(f"| {row.what} | {row.value} | {row.beside} | {row.goal} |\n")
        sys.stdout.flush()
    took = time.monotonic() - began
    cores = os.cpu_count()
    sys.stdout.write(f"({took:.0f} s, {cores} cores, load {load:.1f} before, ")
    sys.stdout.write(f"{os.getloadavg()[0]:.1f} after)\n")


if __name__ == "__main__":
    main()
