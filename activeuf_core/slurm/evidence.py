"""What a job left behind, gathered for the verdict on how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from activeuf_core.artifacts import ArtifactStore, read_json
from activeuf_core.jobs import Job, Unit
from activeuf_core.launchers.local import tail_of
from activeuf_core.paths import Layout, RunFolder, WaveFolder
from activeuf_core.slurm.cluster import Resources
from activeuf_core.slurm.failures import Ending
from activeuf_core.slurm.queue import QueueRow
from activeuf_core.slurm.values import kibibytes

TAIL_LINES = 40
FINAL_STATES = ("succeeded", "failed", "cancelled")


def open_units(layout: Layout, job: Job) -> list[Unit]:
    """Return the units of a job that have no complete artifact."""
    store = ArtifactStore(layout)
    return [u for u in job.units if not store.inspect(u.asset, u.fingerprint).is_complete]


def failure_of(run: RunFolder, unit: Unit) -> Mapping[str, Any] | None:
    """Return why a stage says that a unit failed, None when it says nothing."""
    try:
        return read_json(run.latest_start().unit(unit.name).failure)
    except FileNotFoundError:
        return None


def has_said_its_end(run: RunFolder) -> bool:
    """Whether the task wrapper wrote down that it came to its end."""
    try:
        return read_json(run.latest_start().status)["state"] in FINAL_STATES
    except (FileNotFoundError, KeyError):
        return False


def slurm_log(wave: WaveFolder, index: int, size: int) -> Path:
    """Return where SLURM writes what an element of a wave prints."""
    return wave.path / (f"slurm-{index}.log" if size > 1 else "slurm.log")


def ending_of(
    run: RunFolder,
    unit: Unit,
    row: QueueRow | None,
    log: Path,
    resources: Resources,
    slurm_id: str,
    vanished_waiting: bool = False,
) -> Ending:
    """Return all that is known of a job that ended without a unit's artifact.

    Args: row: SLURM's last word, None when it no longer knows the job. log: what SLURM wrote.
    vanished_waiting: it was seen waiting last, and SLURM still knows other tasks of its array.
    """
    start = run.latest_start()
    memory = resources.memory
    return Ending(
        state=row.state if row else "",
        reason=row.reason if row else "",
        exit_code=row.exit_code if row else None,
        signal=row.signal if row else None,
        elapsed_s=row.elapsed_s if row else None,
        nodes=row.nodes if row else "",
        slurm_job_id=row.task_id if row else slurm_id,
        stage_failure=failure_of(run, unit),
        log_tail=tail_of(start.log, TAIL_LINES),
        slurm_log_tail=tail_of(log, TAIL_LINES),
        checkpoint_advanced=_checkpoint_advanced(run, unit),
        vanished_waiting=vanished_waiting,
        memory_mb=int(kibibytes(memory) // 1024) if memory else None,
        time_limit_s=resources.minutes * 60,
    )


def _checkpoint_advanced(run: RunFolder, unit: Unit) -> bool:
    """Whether the newest start of a job left a checkpoint that is younger than itself."""
    numbers = run.start_numbers()
    if not numbers or not unit.checkpoints:
        return False
    began = float(read_json(run.starts / f"{numbers[-1]}.json")["time"])
    folder = Path(unit.checkpoints)
    return any(path.stat().st_mtime > began for path in folder.rglob("*") if path.is_file())
