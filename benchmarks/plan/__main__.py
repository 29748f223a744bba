"""Measure `activeuf plan` on homes of 10,000 and 100,000 asset partitions, beside two other ways.

In: nothing; it makes the homes in a folder that is removed. Out: one table: seconds with and
without imports, CPU seconds, MB; beside a plain scan of the same manifests and Dagster's resolver
on a smaller home. Each figure is the best of some runs: noise only ever adds.
Cost: about six minutes on two cores, 4 GB of disk (--quick: half a minute, 0.5 GB).
Command: make bench-plan, or python -m benchmarks.plan [--quick] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from activeuf_core.paths import PROJECT
from benchmarks.plan.home import edit_features, environment

RUNS = 3
SIZES = {"10,000": 999, "100,000": 9_990}
"""Asset partitions → experiments that make them: ten each, and eight of the data set."""
SMALL = 99
"""Experiments of the home that Dagster's resolver is asked about."""


@dataclass(frozen=True)
class Facts:
    """What one way took, its interpreter's start included in `whole_s`."""

    imports_s: float
    work_s: float
    imports_cpu_s: float
    work_cpu_s: float
    memory_mb: float
    count: int
    whole_s: float


def main() -> None:
    """Make the homes, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="10,000 only, each thing once")
    parser.add_argument("--keep", type=Path, help="make the homes here, use those that are there")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="activeuf-bench-"))
    runs = 1 if options.quick else RUNS
    sys.stdout.write("| what | s | with imports | whole command | CPU s | MB | goal |\n")
    sys.stdout.write("|---|---|---|---|---|---|---|\n")
    try:
        for size, experiments in list(SIZES.items())[: 1 if options.quick else None]:
            _measure_size(made(folder, experiments), size, runs)
        _measure_resolver(made(folder, SMALL), runs)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(f"({os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end)\n")


def made(folder: Path, experiments: int) -> Path:
    """Return a home with so many experiments, made now unless it is there."""
    home = folder / str(experiments)
    if not (home / "made").exists():
        home.mkdir(parents=True)
        command = [sys.executable, "-m", "benchmarks.plan.home", str(home), str(experiments)]
        began = time.monotonic()
        subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
        (home / "made").write_text(f"{time.monotonic() - began:.0f} s\n")
    return home


def _measure_size(home: Path, size: str, runs: int) -> None:
    small = size == "10,000"
    shutil.rmtree(home / "home" / "index", ignore_errors=True)
    _say(f"plan of {size}, first look: every manifest read", took(home, "plan"), "")
    goal = "≤ 0.5 s" if small else "≤ 5 s, ≤ 500 MB"
    fresh = best(home, "plan", runs)
    _say(f"plan of {size}, all fresh", fresh, goal)
    scan = best(home, "scan", runs)
    _say(f"plain scan of the same {scan.count:,} manifests", scan, "")
    _ratio(f"plan ÷ plain scan, {size}", fresh.work_s / scan.work_s)
    with edit_features(home):
        _say(f"plan of {size}, all stale, with reasons", best(home, "plan", runs), goal)
    _say(
        f"tick of the sensor, {size}, nothing changed",
        best(home, "sensor", runs),
        "≤ 1 s" if small else "",
    )
    if not small:
        load = best(home, "load", runs)
        _say(f"loading the definitions of {load.count:,} experiments", load, "≤ 5 s")


def _measure_resolver(home: Path, runs: int) -> None:
    resolver, plan = best(home, "resolver", runs), best(home, "plan", runs)
    _say(f"Dagster's resolver on {resolver.count:,} partitions", resolver, "")
    _say(f"plan of the same {resolver.count:,}", plan, "")
    _ratio("Dagster's resolver ÷ plan", resolver.work_s / plan.work_s)


def best(home: Path, way: str, runs: int) -> Facts:
    """Return the fastest of some runs."""
    return min((took(home, way) for _ in range(runs)), key=lambda facts: facts.work_s)


def took(home: Path, way: str) -> Facts:
    """Run one way in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.plan.measure", way]
    began = time.monotonic()
    done = subprocess.run(
        command,
        cwd=PROJECT,
        env={**os.environ, **environment(home)},
        check=True,
        capture_output=True,
        text=True,
    )
    whole = time.monotonic() - began
    return Facts(**json.loads(done.stderr.splitlines()[-1]), whole_s=whole)


def _say(what: str, facts: Facts, goal: str) -> None:
    cpu = f"{facts.work_cpu_s:.2f}"
    whole = f"{facts.imports_s + facts.work_s:.2f} | {facts.whole_s:.2f}"
    row = f"| {what} | {facts.work_s:.2f} | {whole} | {cpu} | {facts.memory_mb:.0f} | {goal} |\n"
    sys.stdout.write(row)
    sys.stdout.flush()


def _ratio(what: str, value: float) -> None:
    sys.stdout.write(f"| {what} | {value:.1f} | | | | | |\n")


if __name__ == "__main__":
    main()
