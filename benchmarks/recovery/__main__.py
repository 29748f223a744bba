"""Measure what a recovery submits, beside the fewest jobs that would do, and how long it takes.

In: SLURM's packages (`make slurm`); 4 nodes of 8 made-up CPUs on this machine's real cores. Out: a
table of what was measured, beside what, and the goal; the machine's load before and after.
Cost: about six minutes on two cores for 1,000 partitions, 1 GB in a folder that is removed.
Command: make bench-recovery, or python -m benchmarks.recovery [--partitions 1000] [--foreground]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.recovery.scenarios import lost_database, sweep
from benchmarks.slurm.__main__ import NODES, SCHEDULER
from benchmarks.slurm.scenarios import Row
from tests.slurm.sandbox import SandboxCluster, wipe_leftovers


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--partitions", type=int, default=1000, help="of the sweep, and experiments"
    )
    parser.add_argument("--foreground", action="store_true", help="without Dagster's daemon")
    parser.add_argument("--only", choices=("sweep", "lost-database"), help="one of the two")
    options = parser.parse_args()
    wipe_leftovers()
    folder = Path(tempfile.mkdtemp(prefix="activeuf-bench-"))
    try:
        if options.only != "lost-database":
            cluster = SandboxCluster(NODES, SCHEDULER)
            try:
                cluster.start()
                tell(sweep(cluster, folder, options.partitions, options.foreground))
            finally:
                cluster.close()
        if options.only != "sweep":
            tell(lost_database(folder / "finished", options.partitions))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tell(rows: Iterator[Row]) -> None:
    """Print rows as they come, and the load of the machine."""
    began, load = time.monotonic(), os.getloadavg()[0]
    sys.stdout.write("\n| what | measured | beside | goal |\n|---|---|---|---|\n")
    for row in rows:
        sys.stdout.write(f"| {row.what} | {row.value} | {row.beside} | {row.goal} |\n")
        sys.stdout.flush()
    took, after = time.monotonic() - began, os.getloadavg()[0]
    sys.stdout.write(
        f"({took:.0f} s, {os.cpu_count()} cores, load {load:.1f} before, {after:.1f} after)\n"
    )


if __name__ == "__main__":
    main()
