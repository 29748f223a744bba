"""The measurements: a sweep of which some fail and that is recovered twice, and a lost database."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from activeuf_core.paths import PROJECT, Layout
from activeuf_dagster.backfill import daemon_is_alive
from benchmarks.plan.home import environment
from benchmarks.slurm.peers import bare_array
from benchmarks.slurm.project import UPSTREAM, BenchProject, make_project
from benchmarks.slurm.scenarios import LOOP, Row
from tests.slurm.sandbox import SandboxCluster

ACTIVEUF = (sys.executable, "-m", "activeuf_dagster.cli")
FAIL_EVERY = 20
"""One of so many partitions fails at its first try."""
PATIENCE_S = 120.0
LOOK_S = 0.5
MAKE_HOME = """
import pathlib, sys
from benchmarks.plan.home import fill
fill(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
"""


@dataclass(frozen=True)
class Step:
    """One command: what it printed, how long it took, and what it submitted."""

    printed: Mapping[str, Any]
    seconds: float
    jobs: int
    sbatches: int


def sweep(
    cluster: SandboxCluster, folder: Path, partitions: int, foreground: bool
) -> Iterator[Row]:
    """A backfill of one asset of which a twentieth fails, then `recover` twice."""
    project = make_project(folder / "sweep", cluster, partitions, told=True)
    failing = range(FAIL_EVERY // 2, partitions, FAIL_EVERY)
    project.say({f"{LOOP}@e{number:04d}": "fails once" for number in failing})
    project.materialize(*UPSTREAM)
    (folder / "bare").mkdir()
    bare = bare_array(cluster, folder / "bare", partitions, behaviour=project.behaviour)
    (project.behaviour / "log").unlink()  # `once` counts its lines
    with contextlib.nullcontext() if foreground else served(project):
        how = ("--foreground",) if foreground else ("--wait",)
        first, second, third = [_recover(project, *how) for _ in range(3)]
    where = "in the foreground" if foreground else "by Dagster's daemon"
    yield _row(f"{partitions} partitions {where}", first, partitions)
    yield Row(
        "  the same ÷ a bare array of as many", f"{first.seconds / bare:.2f}", f"{bare:.1f} s"
    )
    yield _row(f"`recover`: {len(failing)} that failed", second, len(failing))
    yield _row("`recover` again", third, 0)
    total, ideal = first.jobs + second.jobs + third.jobs, partitions + len(failing)
    yield Row("jobs submitted ÷ fewest that would do", f"{total / ideal:.3f}", f"{ideal}", "1")
    starts = len((project.behaviour / "log").read_text().splitlines())
    yield Row("payloads begun", str(starts), "", str(ideal))


def lost_database(folder: Path, experiments: int) -> Iterator[Row]:
    """Experiments are finished, Dagster's database is gone: `recover` records all, runs nothing."""
    folder.mkdir()
    variables = {**os.environ, **environment(folder), "PYTHONPATH": str(PROJECT)}
    argv = [sys.executable, "-c", MAKE_HOME, str(folder), str(experiments)]
    subprocess.run(argv, env=variables, cwd=PROJECT, check=True, capture_output=True)
    layout = Layout(folder / "home")
    shutil.rmtree(layout.dagster)
    runs = set(os.listdir(layout.runs)) if layout.runs.exists() else set()
    began = time.monotonic()
    first = _activeuf(variables, "recover", "--all", "--foreground", "--json")
    took = time.monotonic() - began
    began = time.monotonic()
    second = _activeuf(variables, "recover", "--all", "--foreground", "--json")
    again = time.monotonic() - began
    begun = set(os.listdir(layout.runs)) - runs if layout.runs.exists() else set()
    what = f"{experiments} finished experiments without a database: `recover`"
    yield Row(what, f"{took:.1f} s", f"{first['recorded']} artifacts recorded", "≤ 60 s")
    yield Row("  jobs", str(len(begun)), f"{len(first['to_run'])} planned", "0")
    beside = f"{second['recorded']} recorded, {len(second['to_run'])} planned"
    yield Row("  `recover` again", f"{again:.1f} s", beside, "0, 0")


@contextlib.contextmanager
def served(project: BenchProject) -> Iterator[None]:
    """Within a block, `activeuf ui` runs: Dagster's daemon with it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = project.folder / "ui.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*ACTIVEUF, "ui", "--port", str(port)],
            env=project.environment,
            cwd=PROJECT,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        _wait_for_daemon(project, process, log)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S / 4)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _wait_for_daemon(project: BenchProject, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    with dg.DagsterInstance.from_config(project.environment["DAGSTER_HOME"]) as instance:
        while not daemon_is_alive(instance):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"no daemon came up; {log}: {log.read_text()[-2000:]}")
            time.sleep(LOOK_S)


def _recover(project: BenchProject, *options: str) -> Step:
    """Recover one asset; return what that took."""
    waves = Layout(project.folder / "home").slurm
    before, began = _waves(waves), time.monotonic()
    printed = _activeuf(
        project.environment, "recover", "--all", "--select", LOOP, "--json", *options
    )
    seconds = time.monotonic() - began
    new = _waves(waves) - before
    jobs = [job for job in project.cluster.jobs_seen() if job.name in new]
    return Step(printed, seconds, len(jobs), len(new))


def _activeuf(variables: Mapping[str, str], *words: str) -> Mapping[str, Any]:
    """Run a command that prints JSON; it may say by its exit code that something failed."""
    done = subprocess.run(
        [*ACTIVEUF, *words],
        env=dict(variables),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"activeuf {' '.join(words)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def _waves(folder: Path) -> set[str]:
    """Return the submissions that came so far that sbatch was called."""
    return {path.parent.name for path in folder.glob("*/submitting.json")}


def _row(what: str, step: Step, ideal: int) -> Row:
    calls = f"{step.sbatches} sbatch"
    return Row(what, f"{step.jobs} jobs, {calls}", f"{step.seconds:.1f} s", f"{ideal} jobs")
