"""Cancelling on purpose: the wish first, then SLURM, then the end: everybody tells one story.

A job's orchestrator need not run, and need not be told. It finds the wish before it finds the job
gone, and then says who cancelled it instead of trying again; and where SLURM did not listen, it
carries the wish out itself. Without an orchestrator the end on disk is enough: the attempt is dead,
and the next materialization makes a new one.
"""

from __future__ import annotations

import getpass
import platform
import time
from collections.abc import Collection, Sequence

from activeuf_core.artifacts import write_json
from activeuf_core.paths import Layout, RunFolder
from activeuf_core.slurm.scheduler import Scheduler
from activeuf_core.slurm.waves import Ledger, Wave

CANCELLED = "Cancelled"
"""Kind of the end of a job that a person did not want any more."""


def by_whom(how: str) -> str:
    """Return the message of a cancellation: who, where, how and when, and what to do next."""
    who, when = f"{getpass.getuser()} on {platform.node()}", time.strftime("%Y-%m-%d %H:%M:%S")
    return (
        f"cancelled on purpose by {who} ({how}) at {when}. "
        "Next: materialize again when it is wanted."
    )


def cancel(
    layout: Layout, scheduler: Scheduler, wave: Wave, job_ids: Collection[str], message: str
) -> None:
    """Cancel jobs of one wave, queued, running or about to be submitted, and write their end down.

    Raises: LaunchError when the scheduler does not answer. The wish stands: an orchestrator that
    waits for the jobs carries it out as soon as it can.
    """
    ledger = Ledger(layout)
    for job_id in job_ids:
        ledger.wish_cancelled(wave.token, job_id, message)
    named = targets(ledger.slurm_id(wave.token), wave, job_ids)
    if named is not None:
        scheduler.cancel(wave.token, named)
    for job_id in job_ids:
        write_end(layout, job_id, CANCELLED, message)


def targets(slurm_id: int | None, wave: Wave, job_ids: Collection[str]) -> Sequence[str] | None:
    """Return what scancel is told beside the wave's name: [] for all of the wave.

    None where some jobs are meant of a wave that has no id yet: SLURM has no name for those, and
    none of them runs before its id is on disk.
    """
    if set(job_ids) >= set(wave.job_ids):
        return []
    if slurm_id is None:
        return None
    return [f"{slurm_id}_{wave.job_ids.index(job_id)}" for job_id in job_ids]


def write_end(layout: Layout, job_id: str, kind: str, message: str, successor: str = "") -> None:
    """Write down, for everybody, that a job ended without all of its artifacts."""
    record = {"kind": kind, "message": message, "time": time.time()}
    path = RunFolder(layout.run(job_id)).ended
    write_json(path, {**record, "successor": successor} if successor else record)
