"""The measurements: each makes its projects, runs ours and the peer in turns, and returns rows."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from activeuf_core.evals.benchmarks import BENCHMARKS
from activeuf_core.paths import PROJECT
from benchmarks.slurm import peers
from benchmarks.slurm.project import UPSTREAM, BenchProject, Facts, make_project
from tests.slurm.sandbox import SandboxCluster

LOOP = "preference_dataset"
SWEEP = (LOOP, "dpo_model", "reward_model", *(row.asset for row in BENCHMARKS))
POINTS = 27
CPUS_PER_SLOT = 4
PACK = 8
"""Partitions per task, where short stages are packed (`units_per_job` of a cluster file)."""
KIB = 1024


@dataclass(frozen=True)
class Row:
    """One line of a table: what, how much, beside what, and the goal (`≤ 1.5`; '' for none)."""

    what: str
    value: str
    beside: str = ""
    goal: str = ""


@dataclass(frozen=True)
class Bench:
    """A cluster with a folder for projects, and what was asked for."""

    cluster: SandboxCluster
    folder: Path
    quick: bool
    submitit: str = ""
    profile: Path | None = None

    @property
    def slots(self) -> int:
        """Jobs of `CPUS_PER_SLOT` that fit on the cluster."""
        return len(self.cluster.nodes) * 8 // CPUS_PER_SLOT

    def project(
        self, name: str, experiments: int, cpus: int = 1, told: bool = False, pack: int = 1
    ) -> BenchProject:
        """Make a project whose data set is complete."""
        folder = self.folder / name
        folder.mkdir()
        project = make_project(folder, self.cluster, experiments, cpus, told, pack)
        project.materialize(*UPSTREAM)
        return project

    def bare(self, name: str, size: int, cpus: int = 1, told: BenchProject | None = None) -> float:
        """Return the makespan of a bare array of the payload, told what a project's is told."""
        folder = self.folder / name
        folder.mkdir()
        behaviour = told.behaviour if told else None
        return peers.bare_array(self.cluster, folder, size, cpus, behaviour)


def makespan(bench: Bench) -> Iterator[Row]:
    """No-op partitions of one asset beside a bare array of the same payload."""
    for size, rounds, goal in [(100, 2, "≤ 1.5"), *([] if bench.quick else [(1000, 1, "≤ 1.3")])]:
        ours: list[Facts] = []
        bare: list[float] = []
        for number in range(rounds):
            bare.append(bench.bare(f"bare-{size}-{number}", size))
            project = bench.project(f"ours-{size}-{number}", size)
            profile = bench.profile.with_suffix(f".{size}") if bench.profile else None
            ours.append(project.materialize(LOOP, profile=profile))
            bare.append(bench.bare(f"bare-{size}-{number}-after", size))
        yield from _against_bare(size, ours, statistics.median(bare), goal)
        packed = bench.project(f"packed-{size}", size, pack=PACK).materialize(LOOP).makespan_s
        beside = f"{packed:.1f} s, each partition still recorded on its own"
        ratio = f"{packed / statistics.median(bare):.2f}"
        yield Row(f"{size} partitions, {PACK} per task ÷ bare array", ratio, beside, goal)
        if bench.submitit:
            folder = bench.folder / f"submitit-{size}"
            folder.mkdir()
            took = peers.submitit_array(bench.cluster, folder, size, bench.submitit)
            ratio = took / statistics.median(bare)
            yield Row(f"{size} tasks by submitit ÷ bare array", f"{ratio:.2f}", f"{took:.1f} s")
    yield from _with_work(bench)
    yield from _startup()


def _against_bare(size: int, ours: Sequence[Facts], bare: float, goal: str) -> Iterator[Row]:
    one = sorted(ours, key=lambda facts: facts.makespan_s)[len(ours) // 2]
    took, waves = one.makespan_s, one.calls["sbatch"]
    beside = f"{took:.1f} s ÷ {bare:.1f} s"
    yield Row(f"{size} no-op partitions ÷ bare array", f"{took / bare:.2f}", beside, goal)
    yield Row("  more per task than bare", f"{1000 * (took - bare) / size:.0f} ms")
    yield Row("  sbatch, squeue calls", f"{waves}, {one.calls['squeue']}", "", "1 sbatch per wave")
    yield Row("  Dagster runs", str(one.runs), "", "1")
    state = one.state_bytes / size / KIB
    yield Row("  Dagster state per partition", f"{state:.1f} KB", "", "≤ 20 KB")
    yield Row(
        "  CPU of the orchestrator", f"{one.cpu_s:.1f} s", f"{1000 * one.cpu_s / size:.0f} ms"
    )
    yield Row("  its peak memory", f"{one.memory_mb:.0f} MB", "", "≤ 400 MB")
    late = sorted(one.delays_s)
    yield Row("  event after artifact, median", f"{statistics.median(late):.2f} s", "", "≤ 2 s")


def _with_work(bench: Bench) -> Iterator[Row]:
    """The same where the tasks leave the cores to the orchestrator, as on machines of their own."""
    size, seconds = 100, 4
    project = bench.project("working", size, told=True)
    project.say({"default": str(seconds)})
    bare = bench.bare("bare-working", size, told=project)
    took = project.materialize(LOOP).makespan_s
    beside = f"{took:.1f} s ÷ {bare:.1f} s"
    yield Row(f"{size} partitions of {seconds} s ÷ bare array", f"{took / bare:.2f}", beside)


def _startup() -> Iterator[Row]:
    python = PROJECT / ".venv" / "bin" / "python"
    nothing, nothing_cpu = peers.startup_ms([python, "-S", "-c", "pass"])
    # Without arguments the wrapper imports all that it needs and says how to use it.
    wrapper, wrapper_cpu = peers.startup_ms([python, "-S", "-m", "activeuf_core.task"])
    beside = f"Python alone {nothing:.0f} ms"
    yield Row("start of the task wrapper, wall", f"{wrapper:.0f} ms", beside, "≤ 60 ms")
    beside = f"Python alone {nothing_cpu:.0f} ms"
    yield Row("start of the task wrapper, CPU", f"{wrapper_cpu:.0f} ms", beside)
    shown = subprocess.run(
        [python, "-S", "-X", "importtime", "-m", "activeuf_core.task"],
        capture_output=True, text=True, check=False, cwd=PROJECT,
    )  # fmt: skip
    lines = [line.split("|") for line in shown.stderr.splitlines() if line.startswith("import")]
    costs = sorted(((int(c), name.strip()) for _, c, name in lines[1:]), reverse=True)
    worst = ", ".join(f"{name} {cost / 1000:.1f}" for cost, name in costs[:8])
    yield Row("  worst imports (ms, with theirs)", worst)


def delay(bench: Bench) -> Iterator[Row]:
    """From a task's end to its event, for tasks that end at random times."""
    size = 16 if bench.quick else 64
    project = bench.project("delay", size, cpus=CPUS_PER_SLOT, told=True)
    rng = random.Random(0)
    words = {f"{LOOP}@e{n:04d}": f"{rng.uniform(0.5, 8):.2f}" for n in range(size)}
    project.say({"default": "0", **words})
    facts = project.materialize(LOOP)
    late = sorted(facts.delays_s)
    yield Row(f"event after artifact, median of {size}", f"{late[size // 2]:.2f} s", "", "≤ 2 s")
    yield Row("  95th percentile", f"{late[int(0.95 * size)]:.2f} s")
    polls = sum(facts.calls.get(name, 0) for name in ("squeue", "sacct")) / facts.calls["look"]
    yield Row("  scheduler calls per poll", f"{polls:.1f}", f"{facts.calls['look']} polls", "≤ 2")


def memory(bench: Bench) -> Iterator[Row]:
    """The orchestrator's memory with few and with many jobs out."""
    found: dict[int, float] = {}
    for size in (10, 100 if bench.quick else 1000):
        project = bench.project(f"memory-{size}", size, told=True)
        project.say({"default": "1"})
        found[size] = project.materialize(LOOP).memory_mb
        yield Row(f"memory with {size} jobs out", f"{found[size]:.0f} MB", "", "≤ 400 MB")
    few, many = found
    each = 1024 * (found[many] - found[few]) / (many - few)
    yield Row("  per job more", f"{each:.0f} KB", "", "flat")


def sweep(bench: Bench) -> Iterator[Row]:
    """A sweep of loop → {DPO, RM} → benchmarks beside its lower bound and one allocation each."""
    points = 9 if bench.quick else POINTS
    project = bench.project("sweep", points, cpus=CPUS_PER_SLOT, told=True)
    project.say({"default": "1"})
    before = peers.seconds_held(bench.cluster, "activeuf-")
    facts = project.materialize(*SWEEP)
    held = peers.seconds_held(bench.cluster, "activeuf-") - before
    units = points * len(SWEEP)
    path = 2 + sum(row.model == "dpo_model" for row in BENCHMARKS)
    bound = max(float(path), units / bench.slots)
    folder = bench.folder / "allocations"
    folder.mkdir()
    seed = peers.one_allocation_each(
        bench.cluster, folder, points, CPUS_PER_SLOT, project.behaviour
    )
    seed_held = 2 * peers.seconds_held(bench.cluster, folder.name)
    beside = f"{facts.makespan_s:.1f} s ÷ {bound:.1f} s on {bench.slots} slots"
    ratio = facts.makespan_s / bound
    yield Row(f"sweep of {points} points ÷ lower bound", f"{ratio:.2f}", beside, "≤ 1.3")
    alone = bench.bare("bare-sweep", units, CPUS_PER_SLOT, project)
    beside = f"{alone:.1f} s for one array of all, as if nothing read anything"
    yield Row("  SLURM alone ÷ bound", f"{alone / bound:.2f}", beside)
    yield Row("  one allocation per point ÷ bound", f"{seed / bound:.2f}", f"{seed:.1f} s")
    beside = f"{held:.0f} s ÷ {units} s"
    yield Row("  slot-seconds held ÷ used", f"{held / units:.2f}", beside, "≤ 1.1")
    yield Row("  of one allocation per point", f"{seed_held / units:.2f}", f"{seed_held:.0f} s")
    yield Row("  sbatch, squeue calls", f"{facts.calls['sbatch']}, {facts.calls['squeue']}")


SCENARIOS = {"makespan": makespan, "delay": delay, "memory": memory, "sweep": sweep}
if __name__ == "__main__":
    sys.exit("Run python -m benchmarks.slurm")
