"""Stopping one point of a sweep: its jobs on clusters end, those that anybody else needs go on.

In: the open submissions of the home, and what runs, backfills, recoveries and other agents are
going to make. Out: the jobs that this process submitted, or a dead one did, for the point's
experiment alone, cancelled. Jobs for a whole dataset are never among them: every point reads those.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from itertools import groupby

import dagster as dg

from activeuf_core.errors import ConfigError, LaunchError
from activeuf_core.launchers.base import Target
from activeuf_core.slurm import cancellation
from activeuf_core.slurm.overview import JobFacts, facts_of, gather
from activeuf_core.slurm.waves import Ledger, Owner
from activeuf_core.stages import stage_of
from activeuf_dagster.project import Project
from activeuf_dagster.recovering import busy


def awaited_by_others(instance: dg.DagsterInstance, project: Project) -> set[Target]:
    """Return the artifacts that others make or wait for; ours must not be announced any more."""
    book = project.book()
    found: set[Target] = set()
    for asset, partition in busy(instance, project):
        with contextlib.suppress(ConfigError):  # a partition that another config folder declares
            found.add((asset, book.recipe(asset, partition).fingerprint))
    return found


def cancel_jobs_of(
    project: Project, experiment: str, awaited: Collection[Target], why: str
) -> list[str]:
    """Cancel the jobs for an experiment that nobody else waits for; return their ids.

    Args: awaited: what others wait for. why: for people who look at the jobs. Raises: LaunchError
    when a scheduler does not answer: the wish stands, and whoever sees the jobs carries it out.
    """
    unwanted = [
        facts
        for facts in gather(project.layout)
        if _is_ours(facts) and _is_only_for(facts, experiment, awaited)
    ]
    trouble: list[str] = []
    for _, group in groupby(unwanted, key=lambda facts: facts.wave.token):
        trouble += _cancelled(project, list(group), cancellation.by_whom(why))
    if trouble:
        raise LaunchError("not cancelled yet: " + "; ".join(trouble))
    return [facts.job.job_id for facts in unwanted]


def _cancelled(project: Project, jobs: Sequence[JobFacts], message: str) -> list[str]:
    """Cancel jobs of one submission; return what stood in the way."""
    wave, ids = jobs[0].wave, [facts.job.job_id for facts in jobs]
    try:
        scheduler = project.scheduler(wave.cluster)
        cancellation.cancel(project.layout, scheduler, wave, ids, message)
    except (LaunchError, ConfigError) as error:
        return [f"{', '.join(ids)}: {error}"]
    if jobs[0].slurm_id is not None and not facts_of(project.layout, wave):
        Ledger(project.layout).close(wave.token, "its last jobs were cancelled")
    return []


def _is_ours(facts: JobFacts) -> bool:
    """Whether this process submitted a job, or one that is known to be dead."""
    return facts.wave.owner == Owner.this_process() or facts.wave.owner.is_gone()


def _is_only_for(facts: JobFacts, experiment: str, awaited: Collection[Target]) -> bool:
    return all(
        unit.partition == experiment
        and stage_of(unit.asset).dimension == "experiment"
        and (unit.asset, unit.fingerprint) not in awaited
        for unit in facts.units
    )
