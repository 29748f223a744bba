"""A small project with many experiments, on one data set whose stages are made beforehand.

In: a folder, how many experiments, how long a payload works. Out: config files, a cluster file, and
the environment that an orchestrator needs to use them.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activeuf_core.paths import PROJECT
from tests.slurm.sandbox import SandboxCluster

PAYLOAD = PROJECT / "tests" / "fakes" / "payload.py"
CLUSTER = "bench"
UPSTREAM = ("prompts", "completions", "annotations", "candidate_pool", "features")
"""Stages of the data set: made before the clock starts."""
MEMORY = "100M"


@dataclass(frozen=True)
class Facts:
    """What one orchestrator took.

    `began` and `ended` (seconds since the epoch) are those of its Dagster runs; `whole_s` is its
    command with the start of the interpreter; `delays_s` from each artifact's publication to the
    time of its materialization event.
    """

    began: float
    ended: float
    runs: int
    cpu_s: float
    memory_mb: float
    calls: Mapping[str, int]
    delays_s: Sequence[float]
    whole_s: float
    state_bytes: int

    @property
    def makespan_s(self) -> float:
        """Seconds that the Dagster runs took."""
        return self.ended - self.began


@dataclass(frozen=True)
class BenchProject:
    """A project's folder, on a cluster."""

    folder: Path
    cluster: SandboxCluster

    @property
    def environment(self) -> dict[str, str]:
        """What an orchestrator of this project is started with."""
        return {
            **self.cluster.environment,
            "PATH": job_path(),
            "ACTIVEUF_CONFIGS": str(self.folder / "configs"),
            "ACTIVEUF_HOME": str(self.folder / "home"),
            "ACTIVEUF_CLUSTER": CLUSTER,
            "ACTIVEUF_STAGE_PYTHON": str(PAYLOAD),
            "ACTIVEUF_TRACKING": "none",
            "DAGSTER_HOME": str(self.folder / "dagster"),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "PYTHONPATH": str(PROJECT),
        }

    def materialize(self, *assets: str, profile: Path | None = None) -> Facts:
        """Materialize all partitions of some assets by an orchestrator; return what it took.

        Raises: RuntimeError when it failed.
        """
        extra = ["--profile", str(profile)] if profile else []
        argv = [sys.executable, "-m", "benchmarks.slurm.orchestrate", *extra, *assets]
        before, began = folder_size(self.folder / "dagster"), time.time()
        done = subprocess.run(
            argv,
            env=self.environment,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        if done.returncode:
            raise RuntimeError(f"{shlex.join(argv)}: {done.stderr[-2000:]}")
        found = json.loads(done.stdout.splitlines()[-1])
        if not found.pop("success"):
            raise RuntimeError(f"{shlex.join(argv)}: the run failed\n{done.stderr[-2000:]}")
        state = folder_size(self.folder / "dagster") - before
        return Facts(**found, whole_s=time.time() - began, state_bytes=state)

    def say(self, words: Mapping[str, str]) -> None:
        """Tell the payload how long to work: `default`, or `<asset>@<partition>`, → seconds."""
        for name, text in words.items():
            (self.behaviour / name).write_text(text, encoding="utf-8")

    @property
    def behaviour(self) -> Path:
        """Folder in which the payload looks for what it is told."""
        return self.folder / "behaviour"


def make_project(
    folder: Path,
    cluster: SandboxCluster,
    experiments: int,
    cpus: int = 1,
    told: bool = False,
    pack: int = 1,
) -> BenchProject:
    """Write a project with experiments e0000, e0001, …, which differ by their seed.

    Args: cpus: of one job; the cluster's CPUs divided by it are the slots. told: the payload looks
    for its orders, instead of ending at once. pack: partitions per task.
    """
    project = BenchProject(folder, cluster)
    project.behaviour.mkdir(parents=True)
    (folder / "dagster").mkdir()
    (folder / "base").mkdir()
    (folder / "base" / "model.safetensors").write_bytes(b"weights")
    (folder / "pool.jsonl").write_text('{"prompt_id": "1"}\n', encoding="utf-8")
    configs = folder / "configs"
    _write(configs / "models.yaml", {"base": {"path": "base"}})
    dataset = {
        "prompts": {"source": {"path": "pool.jsonl"}},
        "model_pool": {"a": None},
        "judge": {"mode": "verifiable"},
        "features": {"model": "base"},
    }
    _write(configs / "datasets" / "tiny.yaml", dataset)
    for number in range(experiments):
        experiment = {
            "dataset": "tiny",
            "seed": number,
            "loop": {"acquisition": {"method": "random"}},
            "dpo_model": {"base_model": "base"},
            "reward_model": {"base_model": "base"},
        }
        _write(configs / "experiments" / f"e{number:04d}.yaml", experiment)
    _write(configs / "clusters" / f"{CLUSTER}.yaml", _cluster_file(project, cpus, told, pack))
    return project


def _cluster_file(project: BenchProject, cpus: int, told: bool, pack: int) -> dict[str, Any]:
    setup = [f"export ACTIVEUF_STAGE_PYTHON='{PAYLOAD}'"]
    if told:
        setup.append(f"export ACTIVEUF_BEHAVIOUR='{project.behaviour}'")
    return {
        "launcher": "slurm",
        "slurm_partition": "normal",
        "defaults": {"memory": MEMORY, "cpus": cpus, "units_per_job": pack},
        "light": {"memory": MEMORY},
        "setup": setup,
        "poll_s": 0.5,
        "poll_max_s": 5.0,
        "call_timeout_s": 10.0,
    }


def _write(path: Path, value: Mapping[str, Any]) -> None:
    """Write a config file; JSON is YAML too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def job_path() -> str:
    """Return a PATH on which `python3` is this interpreter: what a payload is started with."""
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def folder_size(folder: Path) -> int:
    """Return how many bytes the files of a folder hold."""
    return sum(
        os.path.getsize(os.path.join(place, name))
        for place, _, names in os.walk(folder)
        for name in names
    )
