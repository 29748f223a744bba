"""What a task knows of the SLURM allocation that it runs in: its array element, its secrets, its
size, and how to ask for another turn before the time limit.

Outside SLURM every function says that there is nothing. Standard library only: the task wrapper
imports it inside every SLURM task.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from activeuf_core.artifacts import read_json
from activeuf_core.paths import WaveFolder

REQUEUE_TIMEOUT_S = 30
MARGIN_S = 15.0
"""What is left of the warning time for writing the state and asking for the requeue."""


def element(wave: WaveFolder) -> Path:
    """Return the run folder of this array element: line SLURM_ARRAY_TASK_ID of the wave's list."""
    index = int(os.environ.get("SLURM_ARRAY_TASK_ID") or 0)
    with wave.jobs.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if number == index:
                return Path(line.rstrip("\n"))
    raise IndexError(f"{wave.jobs} has no line {index}: the array is larger than its list of jobs.")


def secrets(wave: WaveFolder | None) -> dict[str, str]:
    """Return the secret environment variables of a wave's stages, {} when there are none."""
    if wave is None or not wave.secrets.exists():
        return {}
    return dict(read_json(wave.secrets))


def facts(wave: WaveFolder | None, started: float) -> dict[str, Any]:
    """Return what SLURM gave to this task, {} outside SLURM.

    `cpus` and `gpus` count the whole allocation; `queue_wait_s` is from submission to `started`,
    by the clocks of two machines.
    """
    job_id = os.environ.get("SLURM_JOB_ID")
    if not job_id:
        return {}
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    nodes = int(os.environ.get("SLURM_JOB_NUM_NODES") or 1)
    found: dict[str, Any] = {
        "launcher": "slurm",
        "slurm_job_id": f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else job_id,
        "slurm_cluster": os.environ.get("SLURM_CLUSTER_NAME", ""),
        "slurm_restarts": int(os.environ.get("SLURM_RESTART_COUNT") or 0),
        "nodes": os.environ.get("SLURM_JOB_NODELIST", ""),
        "cpus": int(os.environ.get("SLURM_CPUS_ON_NODE") or 1) * nodes,
        "gpus": int(os.environ.get("SLURM_GPUS_ON_NODE") or 0) * nodes,
    }
    submitted = _submitted(wave)
    if submitted is not None:
        found["queue_wait_s"] = round(max(0.0, started - submitted), 2)
    return found


def warning_grace() -> float:
    """Return how many seconds a stage has between SLURM's warning and the end of its patience."""
    return max(5.0, float(os.environ.get("ACTIVEUF_WARN_S") or 60) - MARGIN_S)


def may_requeue() -> bool:
    """Whether the job may ask for another turn: not more often than the cluster file says."""
    turns = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    return "SLURM_JOB_ID" in os.environ and turns < int(os.environ.get("ACTIVEUF_REQUEUES") or 0)


def requeue() -> str:
    """Put this job back into the queue, which ends this process; return why it did not work."""
    command = ["scontrol", "requeue", os.environ["SLURM_JOB_ID"]]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=REQUEUE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode:
        return done.stderr.strip()
    time.sleep(REQUEUE_TIMEOUT_S)  # SLURM ends the process now; on its return nobody else did
    return "SLURM accepted the requeue and did not end the job"


def _submitted(wave: WaveFolder | None) -> float | None:
    """Return when the wave was submitted, None when nobody says.

    Where the orchestrator's files are copied here, they are as they were just before that.
    """
    if wave is None:
        return None
    for path, field in ((wave.submitting, "time"), (wave.intent, "opened")):
        with contextlib.suppress(FileNotFoundError):
            return float(read_json(path)[field])
    return None
