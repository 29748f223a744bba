"""`activeuf recover`: plan, then make exactly what is stale, missing, broken or has failed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from activeuf_core.errors import ConfigError, choose_from
from activeuf_core.plan import TO_RUN, Price, price
from activeuf_core.recipes import Node
from activeuf_core.recovery import Recovery, Wish, decide, facts_of
from activeuf_core.stages import STAGES
from activeuf_dagster.instance import ensure_instance
from activeuf_dagster.project import Project
from activeuf_dagster.selections import SELECTIONS

if TYPE_CHECKING:
    import dagster as dg

console = Console(highlight=False, soft_wrap=True)
SHOWN_REASONS = 3


def recover(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(help="Experiments, sweeps or patterns such as 'demo-*' (default: all)."),
    ] = None,
    select: Annotated[
        list[str] | None,
        typer.Option(help=f"These assets only, or {', '.join(SELECTIONS)}; may be repeated."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help=f"These states only: {', '.join(sorted(TO_RUN))}.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run.")] = False,
    cluster: Annotated[
        str,
        typer.Option(
            help="Where jobs run: a file of configs/clusters (default: this machine).",
            envvar="ACTIVEUF_CLUSTER",
        ),
    ] = "",
) -> None:
    """Make what is stale, missing, broken or has failed, with what waits for it."""
    import dagster as dg

    project = Project.load()
    wish = Wish(_states(only), _assets(select))
    chosen = project.catalog.chosen(experiments)
    project.launchers(cluster)
    ensure_instance(project.layout)
    with dg.DagsterInstance.get() as instance:
        recovery, cost = plan_recovery(instance, project, chosen, wish)
        tell(recovery, cost)
        if dry_run or not recovery.to_run:
            return
        succeeded = _run_here(instance, project, list(recovery.to_run), cluster)
    if not succeeded:
        raise typer.Exit(1)


def plan_recovery(
    instance: dg.DagsterInstance, project: Project, experiments: Sequence[str], wish: Wish
) -> tuple[Recovery, Price]:
    """Return what to do, and what it would cost."""
    from activeuf_dagster.planning import nodes_of, surveyed

    book = project.book()
    found, knowledge = surveyed(instance, book, nodes_of(book, experiments))
    recovery = decide(facts_of(book, found, knowledge), wish)
    past = [look.manifest for look in knowledge.found.values() if look.manifest]
    to_pay = {
        node: replace(found[node], state="stale") if found[node].is_fresh else found[node]
        for node in recovery.to_run
    }
    return recovery, price(to_pay, past)


def tell(recovery: Recovery, cost: Price) -> None:
    """Print what will be done, why, and what it costs."""
    if recovery.to_record:
        console.print(f"{len(recovery.to_record)} are complete and have only to be recorded.")
    if not recovery.to_run:
        console.print("Nothing has to run.")
    counts = Counter(asset for asset, _ in recovery.to_run)
    for stage in STAGES:
        if stage.asset in counts:
            console.print(
                f"  {counts[stage.asset]:>5} {stage.asset:<20} {_why(recovery.to_run, stage.asset)}"
            )
    if recovery.to_run:
        gpu = f", {cost.gpu_hours:.2f} GPU-hours" if cost.gpu_hours else ""
        console.print(f"By what such artifacts took before: {cost.hours:.2f} hours of jobs{gpu}.")


def _why(to_run: Mapping[Node, str], asset: str) -> str:
    reasons = Counter(reason for node, reason in to_run.items() if node[0] == asset)
    shown = [
        f"{reason} ({count})" if count > 1 else reason
        for reason, count in reasons.most_common(SHOWN_REASONS)
    ]
    more = len(reasons) - len(shown)
    return escape("; ".join(shown) + (f"; and {more} other reasons" if more > 0 else ""))


def _states(only: Sequence[str] | None) -> frozenset[str]:
    for name in only or ():
        if name not in TO_RUN:
            raise ConfigError(f"unknown state {name!r}; {choose_from(name, TO_RUN)}.")
    return frozenset(only) if only else TO_RUN


def _assets(select: Sequence[str] | None) -> frozenset[str] | None:
    if not select:
        return None
    known = [stage.asset for stage in STAGES]
    found: set[str] = set()
    for name in select:
        if name not in known and name not in SELECTIONS:
            raise ConfigError(
                f"unknown asset or selection {name!r}; {choose_from(name, [*known, *SELECTIONS])}."
            )
        found |= set(SELECTIONS.get(name, (name,)))
    return frozenset(found)


def _run_here(
    instance: dg.DagsterInstance, project: Project, nodes: Sequence[Node], cluster: str
) -> bool:
    """Make nodes in this process; return whether all of it succeeded."""
    from activeuf_dagster.code_location import build
    from activeuf_dagster.exact_waves import exact_waves
    from activeuf_dagster.foreground import run_wave

    _show_progress(len(nodes))
    definitions = build(project)
    done = [
        run_wave(definitions, instance, wave, cluster=cluster)
        for wave in exact_waves(nodes, project)
    ]
    return all(done)


def _show_progress(total: int) -> None:
    from activeuf_dagster.progress import ProgressLines

    engine_log = logging.getLogger("activeuf.engine")
    engine_log.setLevel(logging.INFO)
    engine_log.propagate = False
    engine_log.handlers = [ProgressLines(console, total)]
