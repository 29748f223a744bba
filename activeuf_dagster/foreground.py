"""Materialize without a daemon: Dagster runs in this process, one per wave of equally partitioned
assets.

Used by `activeuf materialize` and `activeuf demo`. The runs are ordinary runs of the instance: the
UI shows them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import dagster as dg
from dagster._core.events import RunFailureReason

from activeuf_core.recipes import Node
from activeuf_core.stages import stage_of
from activeuf_dagster.companions import along_with
from activeuf_dagster.event_storage import kept_open
from activeuf_dagster.grouping import in_flow_order
from activeuf_dagster.materialization import MaterializationConfig, operation_of
from activeuf_dagster.project import Project
from activeuf_dagster.run_launcher import HOST_TAG, Host

RANGE_TAGS: tuple[str, str] = (
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)
log = logging.getLogger("activeuf.engine")
DEFAULTS = MaterializationConfig()
NO_TAGS: Mapping[str, str] = {}
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Wave:
    """One Dagster run: some assets over one contiguous range of partitions ('' for none)."""

    assets: tuple[str, ...]
    first: str
    last: str


def waves(nodes: Sequence[Node], project: Project) -> list[Wave]:
    """Split nodes, given in flow order, into runs: neighbours of one dimension, contiguous
    partitions.

    The leaderboard rides along with the experiments' last run.
    """
    found: list[Wave] = []
    for dimension, group in groupby(nodes, key=lambda node: stage_of(node[0]).dimension):
        members = list(group)
        assets = tuple(dict.fromkeys(asset for asset, _ in members))
        if dimension == "none":
            found.append(Wave(assets, "", ""))
            continue
        keys = {partition for _, partition in members}
        order = project.catalog.partitions(assets[0])
        found += [Wave(assets, first, last) for first, last in contiguous_ranges(keys, order)]
    if (
        len(found) > 1
        and not found[-1].first
        and stage_of(found[-2].assets[0]).dimension == "experiment"
    ):
        last, before = found.pop(), found.pop()
        found.append(Wave((*before.assets, *last.assets), before.first, before.last))
    return found


def contiguous_ranges(keys: set[str], order: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the (first, last) of every run of wanted keys that are neighbours in `order`."""
    for wanted, group in groupby(order, key=keys.__contains__):
        members = list(group)
        if wanted:
            yield members[0], members[-1]


def run_waves(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    planned: Sequence[Wave],
    project: Project,
    settings: MaterializationConfig = DEFAULTS,
    tags: Mapping[str, str] = NO_TAGS,
) -> bool:
    """Run waves in this process, upstream first; return whether all of them succeeded.

    The first wave of one kind of partitions makes the others' along with its own; what is complete
    after it needs no run.
    """
    succeeded = True
    for _, group in groupby(planned, key=lambda wave: stage_of(wave.assets[0]).dimension):
        together = list(group)
        of_wave = {wave: nodes_in(wave, project) for wave in together}
        everything = in_flow_order({node for nodes in of_wave.values() for node in nodes})
        with along_with(() if settings.force else everything):
            for number, wave in enumerate(together):
                if number and not settings.force and _is_made(of_wave[wave], project):
                    continue
                succeeded &= run_wave(definitions, instance, wave, settings, tags)
    return succeeded


def nodes_in(wave: Wave, project: Project) -> list[Node]:
    """Return the nodes of a wave."""
    found: list[Node] = []
    for asset in wave.assets:
        order = project.catalog.partitions(asset)
        is_whole = stage_of(asset).dimension == "none"
        first, last = (0, 0) if is_whole else (order.index(wave.first), order.index(wave.last))
        found += [(asset, key) for key in order[first : last + 1]]
    return found


def _is_made(nodes: Sequence[Node], project: Project) -> bool:
    """Whether all nodes are complete now, tables of what exists included."""
    book = project.book()
    recipes = (book.recipe(*node) for node in nodes)
    return all(book.store.inspect(one.asset, one.fingerprint).is_complete for one in recipes)


def run_wave(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    wave: Wave,
    settings: MaterializationConfig = DEFAULTS,
    tags: Mapping[str, str] = NO_TAGS,
) -> bool:
    """Run one wave in this process; return whether all of it succeeded.

    Args: tags: by which the run can be found. Raises: KeyboardInterrupt when the run was
    interrupted, which Dagster would report as one more failure.
    """
    job = definitions.resolve_implicit_global_asset_job_def()
    of_run = {**tags, HOST_TAG: str(Host.here())}
    if wave.first:
        of_run |= dict(zip(RANGE_TAGS, (wave.first, wave.last), strict=True))
    operations = {operation_of(asset) for asset in wave.assets}
    config = {**QUIET, "ops": {name: {"config": settings.model_dump()} for name in operations}}
    with kept_open(instance):
        result = job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(asset) for asset in wave.assets],
            tags=of_run,
            run_config=config,
            raise_on_error=False,
        )
    if not result.success:
        if _was_interrupted(result):
            raise KeyboardInterrupt
        for text in _unexpected_errors(result):
            log.error(text)
    return result.success


def _was_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    reasons = [
        event.job_failure_data.failure_reason for event in result.all_events if event.is_job_failure
    ]
    return RunFailureReason.UNEXPECTED_TERMINATION in reasons


def _unexpected_errors(result: dg.ExecuteInProcessResult) -> list[str]:
    """Return what ended steps other than partitions that failed, of which all was told before."""
    steps = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    whole = [event.job_failure_data.error for event in result.all_events if event.is_job_failure]
    found = [error for error in (*steps, *whole) if error and error.cls_name != "Failure"]
    return [f"The Dagster run ended with an error: {error.to_string()}" for error in found]
