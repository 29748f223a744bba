"""What the launcher is measured against: a bare array, the one-allocation script, submitit.

Each runs the payload that the launcher's jobs run, by SLURM itself and with the same requests.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from benchmarks.slurm.project import MEMORY, PAYLOAD, job_path
from tests.slurm.sandbox import SandboxCluster

LOOK_S = 0.2
PATIENCE_S = 900
SUBMITIT = """
import os, sys, time, submitit
def payload(folder):
    path = os.path.join(folder, "value.json")
    with open(path + ".partial", "w") as handle:
        handle.write("{}")
    os.replace(path + ".partial", path)
folders = [os.path.join(sys.argv[1], str(n)) for n in range(int(sys.argv[2]))]
for folder in folders:
    os.makedirs(folder)
executor = submitit.SlurmExecutor(folder=os.path.join(sys.argv[1], "log"))
executor.update_parameters(time=10, mem=sys.argv[3], array_parallelism=len(folders))
began = time.time()
for job in executor.map_array(payload, folders):
    job.result()
print(time.time() - began)
"""


def bare_array(
    cluster: SandboxCluster, folder: Path, size: int, cpus: int = 1, behaviour: Path | None = None
) -> float:
    """Run the payload's command as an array, nothing around it; return the seconds from the call of
    sbatch to the last result.
    """
    results: list[Path] = []
    for number in range(size):
        results += write_stage(folder / str(number), ["bare"])
    run = f'"{folder}/$SLURM_ARRAY_TASK_ID"'
    told = f"export ACTIVEUF_BEHAVIOUR={shlex.quote(str(behaviour))}\n" if behaviour else ""
    text = f"{told}exec {PAYLOAD} -m bare --config {run}/stage.json --run-dir {run}"
    began = time.time()
    submit(cluster, folder, text, [f"--array=0-{size - 1}", f"--cpus-per-task={cpus}"])
    return last_change(results) - began


def one_allocation_each(
    cluster: SandboxCluster, folder: Path, points: int, cpus: int, behaviour: Path
) -> float:
    """Run a sweep as one job per point that holds two slots from its loop to its last evaluation;
    return the seconds from the call of sbatch to the last result.
    """
    parts = {
        "loop": ["loop"],
        "dpo": ["dpo"],
        "rm": ["rm"],
        "dpo_evals": ["e1", "e2", "e3", "e4"],
        "rm_evals": ["e5"],
    }
    results: list[Path] = []
    for point in range(points):
        for name, units in parts.items():
            results += write_stage(folder / str(point) / name, units)

    def stage(name: str) -> str:
        run = f'"{folder}/$SLURM_ARRAY_TASK_ID/{name}"'
        return f"{PAYLOAD} -m x --config {run}/stage.json --run-dir {run}"

    lines = [
        f"export ACTIVEUF_BEHAVIOUR={shlex.quote(str(behaviour))}",
        stage("loop"),
        f"{stage('dpo')} &\n{stage('rm')} &\nwait",
        f"{stage('dpo_evals')} &\n{stage('rm_evals')} &\nwait",
    ]
    options = [f"--array=0-{points - 1}", "--ntasks=2", f"--cpus-per-task={cpus}"]
    began = time.time()
    submit(cluster, folder, "\n".join(lines), options)
    return last_change(results) - began


def submitit_array(cluster: SandboxCluster, folder: Path, size: int, python: str) -> float:
    """Run a function that writes a file with submitit's `map_array`, by an interpreter that has it;
    return the seconds from submission to the last result.
    """
    argv = [python, "-c", SUBMITIT, folder, str(size), MEMORY]
    done = cluster.run(*argv, check=True, timeout_s=PATIENCE_S)
    return float(done.stdout.split()[-1])


def submit(cluster: SandboxCluster, folder: Path, text: str, options: Sequence[str]) -> None:
    """Submit lines of bash."""
    script = folder / "script.sh"
    script.write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
    log = f"--output={folder}/slurm-%a.log"
    argv = ["sbatch", f"--job-name={folder.name}", f"--mem={MEMORY}", log, *options, script]
    cluster.run(*argv, check=True, variables={"PATH": job_path()})


def write_stage(folder: Path, assets: Sequence[str]) -> list[Path]:
    """Write the stage.json of one unit per asset; return where the payload leaves its results."""
    folder.mkdir(parents=True)
    common = {"partition": folder.name, "fingerprint": "0" * 32, "config": {}}
    units = [{"asset": asset, **common} for asset in assets]
    (folder / "stage.json").write_text(json.dumps({"units": units}), encoding="utf-8")
    return [folder / "units" / f"{asset}-{'0' * 12}" / "result.json" for asset in assets]


def seconds_held(cluster: SandboxCluster, names: str) -> float:
    """Return for how long the jobs whose names begin so held their allocation, by SLURM's record:
    whole seconds, so it is exact only over many jobs.
    """
    held = 0.0
    for line in (cluster.folder / "log" / "jobcomp.log").read_text().splitlines():
        facts = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if facts["Name"].startswith(names):
            start, end = (datetime.fromisoformat(facts[key]) for key in ("StartTime", "EndTime"))
            held += (end - start).total_seconds()
    return held


def startup_ms(argv: Sequence[str | Path], times: int = 20) -> tuple[float, float]:
    """Return the milliseconds of a command from start to end: the least of wall time, for whatever
    else runs only adds to it, and the mean of CPU time.
    """
    walls, cpus = [], []
    for _ in range(times):
        began, before = time.perf_counter(), os.times()
        subprocess.run(argv, capture_output=True, check=False)
        after = os.times()
        walls.append(1000 * (time.perf_counter() - began))
        cpus.append(
            1000 * (after.children_user + after.children_system)
            - 1000 * (before.children_user + before.children_system)
        )
    return min(walls), sum(cpus) / times


def last_change(paths: Sequence[Path]) -> float:
    """Wait until all paths are there; return when the last came. Raises: TimeoutError."""
    end, missing = time.monotonic() + PATIENCE_S, list(paths)
    while missing:
        while missing and missing[-1].exists():
            missing.pop()
        if time.monotonic() > end:
            raise TimeoutError(f"{missing[-1]} is not there after {PATIENCE_S} s; look at squeue")
        time.sleep(LOOK_S)
    return max(path.stat().st_mtime for path in paths)
