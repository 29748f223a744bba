"""What waits and runs on clusters: the files of a home and one look at the queue, put together.

In: the open waves of a home, whoever submitted them, and the queue's rows, or None where the
controller did not answer. Out: a `JobOverview` per job that still has something to make. The files
alone say what was submitted, how far a stage is and why earlier attempts ended, so that all of this
is there while a controller is down.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from activeuf_core.artifacts import read_json
from activeuf_core.jobs import Job, Unit, load_job
from activeuf_core.paths import Layout, RunFolder
from activeuf_core.slurm import evidence
from activeuf_core.slurm.cluster import Resources
from activeuf_core.slurm.queue import QueueRow
from activeuf_core.slurm.reasons import in_words
from activeuf_core.slurm.waves import Ledger, Wave


@dataclass(frozen=True)
class JobFacts:
    """What the files say of a job that has not ended.

    `units` are those without an artifact. `orchestrator_lives` is None where nothing is known: of
    the processes of another machine.
    """

    job: Job
    wave: Wave
    index: int
    units: tuple[Unit, ...]
    slurm_id: int | None = None
    is_submitting: bool = False
    status: str = ""
    """The task wrapper's last word, '' before it began."""
    progress: Mapping[str, Any] | None = None
    orchestrator_lives: bool | None = None
    log: str = ""


@dataclass(frozen=True)
class JobOverview:
    """One job, for people. `state` is SLURM's word where SLURM has one, else ours in lower case."""

    job_id: str
    artifacts: tuple[str, ...]
    cluster: str
    wave: str
    slurm_id: str
    state: str
    why: str
    nodes: str
    elapsed_s: int | None
    limit_s: int
    done: int | None
    total: int | None
    unit: str
    eta_s: float | None
    attempt: int
    history: tuple[Mapping[str, Any], ...]
    orchestrator: str
    orchestrator_lives: bool | None
    log: str


def gather(layout: Layout) -> list[JobFacts]:
    """Return the jobs of all open waves that have not ended, oldest wave first."""
    ledger = Ledger(layout)
    waves = sorted(ledger.open_waves(), key=lambda wave: wave.opened)
    return [facts for wave in waves for facts in facts_of(layout, wave)]


def facts_of(layout: Layout, wave: Wave) -> list[JobFacts]:
    """Return what the files say of a wave's jobs that have not ended."""
    ledger = Ledger(layout)
    slurm_id = ledger.slurm_id(wave.token)
    is_submitting = ledger.submitting_since(wave.token) is not None
    lives = wave.owner.lives()
    found: list[JobFacts] = []
    for index, job_id in enumerate(wave.job_ids):
        run = RunFolder(layout.run(job_id))
        if run.ended.exists() or not run.job.exists():
            continue
        job = load_job(run.job)
        units = tuple(evidence.open_units(layout, job))
        if not units:
            continue
        start = run.latest_start()
        facts = JobFacts(
            job=job,
            wave=wave,
            index=index,
            units=units,
            slurm_id=slurm_id,
            is_submitting=is_submitting,
            status=_status(start),
            progress=_progress(start, units),
            orchestrator_lives=lives,
            log=str(start.log),
        )
        found.append(facts)
    return found


def overview(facts: Sequence[JobFacts], queue: Sequence[QueueRow] | None) -> list[JobOverview]:
    """Return what there is to see of jobs.

    Args: queue: rows of the waves' names; None: the controller did not answer.
    """
    rows = {(row.name, row.array_id, row.index): row for row in queue or ()}
    return [_one(one, _row_of(one, rows), queue is not None) for one in facts]


def task_id(facts: JobFacts) -> str:
    """Return the id that people and scancel use, '' while there is none."""
    if facts.slurm_id is None:
        return ""
    return f"{facts.slurm_id}_{facts.index}" if facts.wave.size > 1 else str(facts.slurm_id)


def chosen(jobs: Sequence[JobOverview], word: str) -> list[JobOverview]:
    """Return the jobs that a word means: our id, SLURM's (`23` is all of an array, `23_4` one task
    of it), or `asset[partition]`.
    """
    return [
        job
        for job in jobs
        if word in (job.job_id, job.slurm_id, *job.artifacts)
        or (word and word == job.slurm_id.partition("_")[0])
    ]


def _row_of(
    facts: JobFacts, rows: Mapping[tuple[str, int, int | None], QueueRow]
) -> QueueRow | None:
    if facts.slurm_id is None:
        return None
    index = facts.index if facts.wave.size > 1 else None
    return rows.get((facts.wave.token, facts.slurm_id, index))


def _one(facts: JobFacts, row: QueueRow | None, was_asked: bool) -> JobOverview:
    state, why = _standing(facts, row, was_asked)
    progress = facts.progress or {}
    owner = facts.wave.owner
    return JobOverview(
        job_id=facts.job.job_id,
        artifacts=tuple(f"{unit.asset}[{unit.partition}]" for unit in facts.units),
        cluster=facts.wave.cluster,
        wave=facts.wave.token,
        slurm_id=task_id(facts),
        state=state,
        why=why,
        nodes=row.nodes if row else "",
        elapsed_s=row.elapsed_s if row and row.phase != "queued" else None,
        limit_s=60 * Resources.model_validate(facts.wave.resources).minutes,
        done=progress.get("done"),
        total=progress.get("total"),
        unit=str(progress.get("unit", "")),
        eta_s=progress.get("eta_s"),
        attempt=max(unit.attempt for unit in facts.units),
        history=facts.job.history,
        orchestrator=f"{owner.host}:{owner.pid}",
        orchestrator_lives=facts.orchestrator_lives,
        log=facts.log,
    )


def _standing(facts: JobFacts, row: QueueRow | None, was_asked: bool) -> tuple[str, str]:
    """Return a job's state and why it is in it."""
    if facts.slurm_id is None:
        return _before_its_id(facts)
    if row is None and not was_asked:
        said = f"its task said last: {facts.status}" if facts.status else "it had not begun"
        return "unknown", f"the controller does not answer; {said}"
    if row is None:
        return "gone", f"SLURM does not know it (any more); {_verdict(facts)}"
    if row.phase == "ended":
        return row.state, f"ended without its artifact; {_verdict(facts)}"
    restarts = f"restart {row.restarts}" if row.restarts else ""
    why = in_words(row.reason) if row.phase == "queued" else ""
    return row.state, "; ".join(filter(None, [why, restarts]))


def _before_its_id(facts: JobFacts) -> tuple[str, str]:
    if facts.orchestrator_lives is False:
        return "abandoned", "its orchestrator ended while it was submitted; materialize again"
    if facts.is_submitting:
        return "submitting", "sbatch was called, and SLURM's answer is awaited"
    return "submitting", "about to be submitted"


def _verdict(facts: JobFacts) -> str:
    if facts.orchestrator_lives is False:
        return "what became of it is decided when it is materialized again"
    return "its orchestrator decides what becomes of it"


def _status(start: RunFolder) -> str:
    with contextlib.suppress(FileNotFoundError):
        return str(read_json(start.status)["state"])
    return ""


def _progress(start: RunFolder, units: Sequence[Unit]) -> Mapping[str, Any] | None:
    """Return how far the first open unit is that says so."""
    for unit in units:
        with contextlib.suppress(FileNotFoundError):
            return read_json(start.unit(unit.name).progress)
    return None
