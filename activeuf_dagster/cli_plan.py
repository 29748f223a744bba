"""`activeuf plan`: what is there, what is not and why, and what a materialization would run."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from activeuf_core.errors import ConfigError, choose_from
from activeuf_core.plan import STATES, Price, State, Status, price
from activeuf_core.recipes import Node
from activeuf_core.survey import Orphaned, orphaned
from activeuf_dagster import plan_text
from activeuf_dagster.backfill_warnings import backfill_warnings
from activeuf_dagster.instance import ensure_instance
from activeuf_dagster.plan_text import Row
from activeuf_dagster.project import Project
from activeuf_dagster.selections import SELECTIONS, assets_of

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
SHOWN_ROWS = 40
COLOURED_ROWS = 400
"""More rows are written as plain text: colours cost a millisecond a row."""
console = Console(highlight=False, soft_wrap=True)


def plan(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(help="Experiments, sweeps or patterns such as 'demo-*' (default: all)."),
    ] = None,
    more: Annotated[
        list[str] | None,
        typer.Option("--experiments", help="The same as an option; may be repeated."),
    ] = None,
    select: Annotated[
        list[str] | None,
        typer.Option(help=f"Show these assets only, or {', '.join(SELECTIONS)}; may be repeated."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help=f"Show these states only: {', '.join(STATES)}.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="A row for every partition, fresh ones too.")
    ] = False,
    digests: Annotated[
        bool, typer.Option(help="Read every file and compare its digest (about 1 GB/s).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is fresh and what is not, why, and what a materialization would run. Runs
    nothing.
    """
    wanted = assets_of(select or ())
    _check(only, STATES, "state")
    gc.disable()  # nothing that is made here is dropped before the end: 0.4 s of 100,000 nodes
    try:
        view = _look([*(experiments or ()), *(more or ())], digests=digests)
    finally:
        gc.enable()
    shown = {
        node: status
        for node, status in view.found.items()
        if (wanted is None or node[0] in wanted) and (not only or status.state in only)
    }
    if as_json:
        json.dump(_as_json(shown, view), sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    if not (everything or only):
        shown = {node: one for node, one in shown.items() if one.state != "fresh"}
    _print_rows(plan_text.rows(shown, apart=everything), limit=None if everything else SHOWN_ROWS)
    for line in plan_text.sums(view.found, view.cost):
        console.print(line)
    if line := plan_text.orphans_line(view.orphaned):
        console.print(line)
    for text in view.warnings:
        console.print(f"[yellow]Warning:[/] {escape(text)}")


@dataclass(frozen=True)
class _Plan:
    """Everything that is told. `orphaned`: only of a plan of all experiments."""

    found: Mapping[Node, Status]
    cost: Price
    orphaned: Orphaned
    warnings: Sequence[str]


def _look(names: Sequence[str], *, digests: bool) -> _Plan:
    from activeuf_dagster.planning import look_at, nodes_of, past_of, recorded_in

    project = Project.load()
    chosen = project.catalog.chosen(names)
    recorded = recorded_in(ensure_instance(project.layout))
    book = project.book()
    view = look_at(book, nodes_of(book, chosen), recorded, digests=digests)
    cost = price(view.found, past_of(view, view.found))
    loose = Orphaned(0, 0) if names else orphaned(view.expected.now())
    view.expected.index.save()
    return _Plan(view.found, cost, loose, backfill_warnings(project))


def _check(given: Sequence[str] | None, known: Sequence[str], what: str) -> None:
    for name in given or ():
        if name not in known:
            raise ConfigError(f"unknown {what} {name!r}; {choose_from(name, known)}.")


def _print_rows(found: Sequence[Row], limit: int | None) -> None:
    """Print rows as a table, and how many there are besides."""
    if not found:
        return
    shown = found[:limit]
    table = [("asset", "partition", "state", "why")]
    table += [(row.asset, row.named, row.state, row.why) for row in shown]
    lines = list(plan_text.columns(table))
    if len(shown) > COLOURED_ROWS:
        console.file.write("\n".join(lines) + "\n")
    else:
        console.print(f"[bold]{lines[0]}")
        for row, line in zip(shown, lines[1:], strict=True):
            console.print(f"[{COLOURS[row.state]}]{escape(line)}")
    rest = sum(len(row.partitions) for row in found) - sum(len(row.partitions) for row in shown)
    if rest:
        hint = "--all shows every partition, --select, --only and names fewer, --json all of it"
        console.print(f"… and {rest:,} more in {len(found) - len(shown):,} rows ({hint}).")
    console.print()


def _as_json(shown: Mapping[Node, Status], view: _Plan) -> dict[str, Any]:
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
    there = plan_text.sharing(view.found, plan_text.THERE)
    return {
        "nodes": rows,
        "price": asdict(view.cost),
        "there": asdict(there),
        "orphaned": asdict(view.orphaned),
    }
