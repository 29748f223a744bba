"""`activeuf plan`: what is there, what is not and why, and what a materialization would run."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from activeuf_core.errors import ConfigError, choose_from
from activeuf_core.plan import STATES, Price, State, Status, price
from activeuf_core.recipes import Node
from activeuf_core.stages import STAGES
from activeuf_dagster.instance import ensure_instance
from activeuf_dagster.project import Project

if TYPE_CHECKING:
    from activeuf_core.plan import Knowledge

COLOURS: Mapping[State, str] = {
    "fresh": "green",
    "unrecorded": "green",
    "running": "cyan",
    "failed": "red",
    "broken": "red",
    "stale": "yellow",
    "missing": "yellow",
    "blocked": "magenta",
}
console = Console(highlight=False, width=None if sys.stdout.isatty() else 180)


def plan(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(help="Experiments, sweeps or patterns such as 'demo-*' (default: all)."),
    ] = None,
    select: Annotated[
        list[str] | None, typer.Option(help="Show these assets only; may be repeated.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help=f"Show these states only: {', '.join(STATES)}.")
    ] = None,
    digests: Annotated[
        bool, typer.Option(help="Read every file and compare its digest (about 1 GB/s).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is fresh and what is not, why, and what a materialization would run. Runs
    nothing.
    """
    project = Project.load()
    _check(select, [stage.asset for stage in STAGES], "asset")
    _check(only, STATES, "state")
    found, knowledge = _survey(project, project.catalog.chosen(experiments), digests=digests)
    cost = price(found, knowledge.found)
    shown = {
        node: status
        for node, status in found.items()
        if (not select or node[0] in select) and (not only or status.state in only)
    }
    if as_json:
        sys.stdout.write(json.dumps(_as_json(shown, cost), indent=1) + "\n")
        return
    console.print(_table(shown))
    _tell(found, cost)


def _survey(
    project: Project, experiments: Sequence[str], *, digests: bool
) -> tuple[dict[Node, Status], Knowledge]:
    import dagster as dg

    from activeuf_dagster.planning import nodes_of, surveyed

    ensure_instance(project.layout)
    book = project.book()
    with dg.DagsterInstance.get() as instance:
        return surveyed(instance, book, nodes_of(book, experiments), digests=digests)


def _check(given: Sequence[str] | None, known: Sequence[str], what: str) -> None:
    for name in given or ():
        if name not in known:
            raise ConfigError(f"unknown {what} {name!r}; {choose_from(name, known)}.")


def _table(shown: Mapping[Node, Status]) -> Table:
    table = Table("asset", "partition", "state", "why", box=None)
    for (asset, partition), one in shown.items():
        why = "" if one.state == "fresh" else escape(one.reason)
        table.add_row(asset, partition, f"[{COLOURS[one.state]}]{one.state}", why)
    return table


def _tell(found: Mapping[Node, Status], cost: Price) -> None:
    """Print the sums."""
    counts = Counter(status.state for status in found.values())
    console.print("\n" + ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]))
    if not cost.partitions:
        console.print("Nothing has to run.")
        return
    shared = cost.partitions - cost.distinct
    sharing = f" ({shared} are the same as others and cost nothing)" if shared else ""
    console.print(f"A materialization would make {cost.distinct} artifacts{sharing}.")
    gpu = f", {cost.gpu_hours:.2f} GPU-hours" if cost.gpu_hours else ""
    console.print(f"By what such artifacts took before: {cost.hours:.2f} hours of jobs{gpu}.")
    if cost.unknown:
        console.print(f"Without an estimate, never made here: {', '.join(cost.unknown)}.")


def _as_json(shown: Mapping[Node, Status], cost: Price) -> dict[str, Any]:
    rows = [
        {
            "asset": asset,
            "partition": partition,
            "state": one.state,
            "reason": one.reason,
            "fingerprint": one.fingerprint,
            "changes": [asdict(change) for change in one.changes],
        }
        for (asset, partition), one in shown.items()
    ]
    return {"nodes": rows, "price": vars(cost)}
