"""The operations of the graph: bring the selected (asset, partition) pairs up to date.

Assets with one kind of partition belong to one subsettable multi-asset whose body is the engine. So
one Dagster run covers a whole wave of partitions through all their stages, each recorded the moment
it is complete, and a failed one costs exactly what reads it.

No `from __future__ import annotations` here: Dagster reads the types of the operation's arguments
at run time.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

import dagster as dg

from activeuf_core import view
from activeuf_core.catalog import UNPARTITIONED
from activeuf_core.crash_points import reach
from activeuf_core.recipes import Node, Recipe
from activeuf_core.stages import STAGES, stage_of
from activeuf_dagster import companions, interruption
from activeuf_dagster.engine import Engine, Terms
from activeuf_dagster.event_storage import kept_open
from activeuf_dagster.events import (
    Attached,
    Blocked,
    Completed,
    Event,
    Failed,
    Progressed,
    Retried,
    Submitted,
    label,
)
from activeuf_dagster.graph import asset_specs, check_specs
from activeuf_dagster.live_log import LiveLog
from activeuf_dagster.project import Project
from activeuf_dagster.recording import Asked, Recorded, Recorder

log = logging.getLogger("activeuf.engine")
RANGE_START_TAG = "dagster/asset_partition_range_start"


SHOWN_FAILURES, SHOWN_LINES, SHOWN_CHARACTERS = 20, 100, 2000
"""How much of its failures a run repeats in its last event; each has an entry of its own before."""

OPERATIONS = {
    "datasets": ("dataset",),
    "pool_members": ("member",),
    "experiments": ("experiment", "none"),
}
"""Operation → the kinds of partitions that its assets have. Dagster allows several in one
multi-asset, but parts of it (telemetry among them, dagster 1.13.27) ask a multi-asset for *the*
partitions definition and fail on more than one.
"""


class MaterializationConfig(dg.Config):
    """Settings of one run."""

    force: bool = False
    """Make the selected partitions again even if they are complete, as a new generation: all
    downstream turns stale.
    """
    cluster: str = ""
    """Where the jobs run: a file of configs/clusters, by name. Default: $ACTIVEUF_CLUSTER, or else
    this machine.
    """
    max_parallel: int = 0
    """How many jobs this run, or the backfill that it belongs to, has out at a time; 0: as many as
    the cluster takes.
    """


def build_assets(project: Project) -> list[dg.AssetsDefinition]:
    """Return one multi-asset per kind of partition; the leaderboard, which has none, belongs to the
    experiments.
    """
    return [_multi_asset(project, name) for name in OPERATIONS]


def operation_of(asset: str) -> str:
    """Return the name of the operation that makes an asset."""
    dimension = stage_of(asset).dimension
    return next(name for name, dimensions in OPERATIONS.items() if dimension in dimensions)


def _multi_asset(project: Project, name: str) -> dg.AssetsDefinition:
    stages = [stage for stage in STAGES if operation_of(stage.asset) == name]

    @dg.multi_asset(
        name=name,
        specs=asset_specs(project.catalog, stages),
        check_specs=check_specs(stages),
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def operation(
        context: dg.AssetExecutionContext, config: MaterializationConfig
    ) -> Iterator[Recorded]:
        yield from materialize(context, project, config)

    return operation


def materialize(
    context: dg.AssetExecutionContext, project: Project, config: MaterializationConfig
) -> Iterator[Recorded]:
    """Run the engine over the run's selection, recording what completes.

    Raises: dagster.Failure at the end when a node failed or was blocked, naming each.
    """
    book = project.book()
    recorder = Recorder(Asked(context.instance), book)
    launchers = project.launchers(config.cluster)
    engine = Engine(book, launchers.cluster, launchers.orchestrator, project.runtime())
    own = selected_nodes(context)
    bad: list[Failed | Blocked] = []
    told = _Log(context)
    with (
        kept_open(context.instance),
        _terms(context, config, own, project) as terms,
        interruption.handled(context, engine),
        told.after_each_round_of(engine),
        contextlib.closing(engine.run(own, terms)) as events,
    ):
        for event in events:
            told.tell(event)
            if isinstance(event, Completed):
                recipe = event.recipe
                if event.is_adopted and recipe.node not in own:
                    continue  # recorded by the run whose own it is
                reach("before-event")
                yield from recorder.record(recipe, event.manifest, is_adopted=event.is_adopted)
                _show(context, project, recipe)
            elif isinstance(event, (Failed, Blocked)) and event.node in own:
                bad.append(event)
    if bad:
        raise _failure(bad)


@contextlib.contextmanager
def _terms(
    context: dg.AssetExecutionContext,
    config: MaterializationConfig,
    own: Sequence[Node],
    project: Project,
) -> Iterator[Terms]:
    """Yield on which terms the engine works; who makes everything again does it alone."""
    if config.force:
        yield Terms(force=True, max_parallel=config.max_parallel)
        return
    with companions.terms_of(context.instance, context.run, own, project.layout) as terms:
        yield replace(terms, max_parallel=config.max_parallel)


def _show(context: dg.AssetExecutionContext, project: Project, recipe: Recipe) -> None:
    """Refresh an experiment's readable view; nothing depends on it, so a failure is only told."""
    if stage_of(recipe.asset).dimension != "experiment":
        return
    try:
        view.refresh(project.layout, recipe.partition, recipe.asset, recipe.fingerprint)
    except OSError as error:
        folder = project.layout.experiment(recipe.partition)
        text = f"{folder} could not be refreshed ({error}). Remove it to have it anew."
        context.log.warning(text)


def selected_nodes(context: dg.AssetExecutionContext) -> list[Node]:
    """Return what the run selected, upstream first."""
    selected = {key.to_user_string() for key in context.selected_asset_keys}
    has_partitions = context.has_partition_key or RANGE_START_TAG in context.run.tags
    keys = list(context.partition_keys) if has_partitions else []
    nodes: list[Node] = []
    for stage in STAGES:
        if stage.asset in selected:
            partitions = [UNPARTITIONED] if stage.dimension == "none" else keys
            nodes += [(stage.asset, partition) for partition in partitions]
    return nodes


def describe(event: Event) -> str:
    """Return an event as one line for a log."""
    match event:
        case Submitted(job_id, nodes, launcher, path):
            return (
                f"{', '.join(map(label, nodes))}: job {job_id} submitted to {launcher}; log {path}"
            )
        case Progressed(node, _, 0):
            return f"{label(node)}: at work"
        case Progressed(node, done, total, unit, eta_s):
            eta = f", about {eta_s:.0f} s left" if eta_s is not None else ""
            return f"{label(node)}: {done} of {total} {unit}{eta}"
        case Completed(recipe, manifest, is_adopted):
            how = (
                "adopted from the store"
                if is_adopted
                else f"made in {manifest.provenance['seconds']:.1f} s"
            )
            return f"{label(recipe.node)}: complete, {how}"
        case Failed(node, failure):
            message = failure.message.removeprefix(f"{failure.kind}: ")
            return f"{label(node)}: FAILED ({failure.kind}): {message}"
        case Attached(node, holder):
            return f"{label(node)}: {holder}; waiting for it"
        case Retried(node, job_id, successor, reason):
            return f"{label(node)}: tried again as {successor} in place of {job_id}: {reason}"
        case Blocked(node, reason):
            return f"{label(node)}: not tried, because {reason}"


class _Log:
    """Tells events to the run's log and to Python's, for whoever watches which.

    Every entry of a run's log is a transaction of Dagster's: all jobs that were submitted together
    make one, and what is complete has its materialization, which says more than a line.
    """

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        self._context = context
        self._submitted: list[str] = []
        self._live = LiveLog()

    @contextlib.contextmanager
    def after_each_round_of(self, engine: Engine) -> Iterator[None]:
        """Within a block, write what is left over when a round of the engine ends."""
        before = engine.on_round

        def flush_and_go_on() -> None:
            self._flush()
            before()

        engine.on_round = flush_and_go_on
        try:
            yield
        finally:
            self._flush()

    def tell(self, event: Event) -> None:
        """Write an event down."""
        text, level = describe(event), logging.INFO
        match event:
            case Submitted():
                self._submitted.append(text)
            case Completed():
                pass
            case Failed(_, failure):
                tail, level = failure.log_tail, logging.ERROR
                told = f"{text}\nlast lines of {failure.log_path}:\n{tail}" if tail else text
                self._context.log.error(told)
            case Blocked():
                level = logging.WARNING
                self._context.log.warning(text)
            case Progressed(job_id=job_id):
                if self._live.is_due(job_id):
                    self._context.log.info(f"{text}\n{self._live.newest_lines(event)}".rstrip())
            case _:
                self._context.log.info(text)
        log.log(level, text, extra={"event": event})

    def _flush(self) -> None:
        if self._submitted:
            self._context.log.info("\n".join(self._submitted))
            self._submitted.clear()


def _failure(bad: list[Failed | Blocked]) -> dg.Failure:
    failed = [event for event in bad if isinstance(event, Failed)]
    blocked = [event for event in bad if isinstance(event, Blocked)]
    lines = [describe(event) for event in (*failed, *blocked)]
    metadata: dict[str, dg.MetadataValue] = {}
    for event in failed[:SHOWN_FAILURES]:
        tail = event.failure.log_tail[-SHOWN_CHARACTERS:]
        text = f"{event.failure.message}\n\n" + (f"```\n{tail}\n```" if tail else "(no log)")
        metadata[label(event.node)] = dg.MetadataValue.md(text)
    shown = lines[:SHOWN_LINES]
    if len(lines) > len(shown):
        shown.append(f"… and {len(lines) - len(shown)} more, in the log above")
    return dg.Failure(
        description=f"{len(failed)} failed, {len(blocked)} not tried:\n" + "\n".join(shown),
        metadata=metadata,
        allow_retries=False,
    )
