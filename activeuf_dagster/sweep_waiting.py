"""Who waits for what, so that stopping one point of a sweep ends no job that another one needs.

In: `<home>/sweeps/.waiting/<W&B run>.json`, one file per living agent program, locked while it
lives; and the runs in progress of the Dagster instance. Out: the jobs on clusters that only this
process waited for, cancelled. Jobs for a whole dataset are never among them: every point reads
those.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby

import dagster as dg

from activeuf_core.artifacts import read_json, write_json
from activeuf_core.errors import ConfigError, LaunchError
from activeuf_core.launchers.base import Target
from activeuf_core.paths import Layout
from activeuf_core.recipes import Node, RecipeBook
from activeuf_core.slurm import cancellation
from activeuf_core.slurm.overview import JobFacts, facts_of, gather
from activeuf_core.slurm.waves import Ledger, Owner
from activeuf_core.stages import stage_of
from activeuf_dagster.foreground import RANGE_TAGS
from activeuf_dagster.project import Project

FOLDER = ".waiting"
PARTITION_TAG = "dagster/partition"
IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


@contextlib.contextmanager
def waiting(layout: Layout, name: str, targets: Collection[Target]) -> Iterator[None]:
    """Within a block, let others see that this process waits for artifacts."""
    path = layout.sweeps / FOLDER / f"{name}.json"
    write_json(path, {"targets": sorted(targets)})
    with path.open(encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def awaited_by_agents(layout: Layout, but: str) -> set[Target]:
    """Return what other agent programs wait for, on whichever machine. Args: but: our own name."""
    found: set[Target] = set()
    for path in (layout.sweeps / FOLDER).glob("[!.]*.json"):
        if path.stem == but:
            continue
        with contextlib.suppress(FileNotFoundError), path.open("r+", encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found |= {(asset, fingerprint) for asset, fingerprint in read_json(path)["targets"]}
    return found


def awaited_by_runs(instance: dg.DagsterInstance, book: RecipeBook) -> set[Target]:
    """Return what the runs in progress of an instance make or wait for."""
    found: set[Target] = set()
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=IN_PROGRESS)):
        for node in _nodes_of(run, book):
            found.add((node[0], book.recipe(*node).fingerprint))
    return found


def cancel_jobs_of(
    project: Project, experiment: str, awaited: Collection[Target], why: str
) -> list[str]:
    """Cancel the jobs on clusters that this process submitted for an experiment, and that nobody
    else waits for; return their ids. Raises: LaunchError when a scheduler does not answer: the wish
    stands.
    """
    layout, ours = project.layout, Owner.this_process()
    unwanted = [
        facts
        for facts in gather(layout)
        if _is_only_for(facts, experiment, awaited)
        and (facts.wave.owner == ours or facts.wave.owner.is_gone())
    ]
    message = cancellation.by_whom(why)
    ledger, trouble = Ledger(layout), []
    for wave, group in groupby(unwanted, key=lambda facts: facts.wave):
        ids = [facts.job.job_id for facts in group]
        try:
            scheduler = project.scheduler(wave.cluster)
            cancellation.cancel(layout, scheduler, wave, ids, message)
        except (LaunchError, ConfigError) as error:
            trouble.append(f"{', '.join(ids)}: {error}")
            continue
        if ledger.slurm_id(wave.token) is not None and not facts_of(layout, wave):
            ledger.close(wave.token, "its last jobs were cancelled")
    if trouble:
        raise LaunchError("not cancelled yet: " + "; ".join(trouble))
    return [facts.job.job_id for facts in unwanted]


def _is_only_for(facts: JobFacts, experiment: str, awaited: Collection[Target]) -> bool:
    return all(
        unit.partition == experiment
        and stage_of(unit.asset).dimension == "experiment"
        and (unit.asset, unit.fingerprint) not in awaited
        for unit in facts.units
    )


def _nodes_of(run: dg.DagsterRun, book: RecipeBook) -> Iterator[Node]:
    """Yield the nodes that a run selects, as far as this catalog knows them."""
    for key in run.asset_selection or ():
        asset = key.to_user_string()
        with contextlib.suppress(ConfigError):  # a config node, or an asset of another version
            if stage_of(asset).dimension == "none":
                continue
            for partition in _partitions_of(run, book.catalog.partitions(asset)):
                yield asset, partition


def _partitions_of(run: dg.DagsterRun, known: Sequence[str]) -> Sequence[str]:
    first, last = (run.tags.get(tag, run.tags.get(PARTITION_TAG, "")) for tag in RANGE_TAGS)
    if first not in known or last not in known:
        return ()
    return known[known.index(first) : known.index(last) + 1]
