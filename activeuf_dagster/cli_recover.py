"""`activeuf recover`: have exactly that made which is stale, missing, broken or has failed.

It looks, records what is complete in the store and unknown to Dagster, and then asks Dagster's
daemon for one backfill of exactly the rest, or makes it in this process where no daemon lives.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from activeuf_core.announcements import announced, planning_alone
from activeuf_core.errors import ConfigError, choose_from
from activeuf_core.plan import TO_RUN, State
from activeuf_core.recipes import Node
from activeuf_core.recovery import SETTLED, Wish
from activeuf_core.stages import STAGES
from activeuf_dagster.instance import ensure_instance
from activeuf_dagster.plan_text import price_lines
from activeuf_dagster.project import Project
from activeuf_dagster.selections import SELECTIONS, assets_of
from activeuf_dagster.served import address, refuse_newer
from activeuf_dagster.terminal import show_progress, what_an_interruption_left

if TYPE_CHECKING:
    import dagster as dg

    from activeuf_dagster.backfill import Backfill
    from activeuf_dagster.recovering import Plan

SHOWN, SHOWN_GROUPS = 3, 12
"""How many reasons are shown per asset, nodes per reason, and reasons in all."""
LONGEST = 80
"""Characters of a reason that are shown; `activeuf plan` shows all."""
LOOK_EVERY_S, PROGRESS_EVERY_S = 2.0, 5.0
console = Console(highlight=False, soft_wrap=True)


Cluster = Annotated[
    str,
    typer.Option(
        help="Where jobs run: a file of configs/clusters (default: this machine).",
        envvar="ACTIVEUF_CLUSTER",
    ),
]
Daemon = Annotated[
    bool | None,
    typer.Option(
        "--daemon/--foreground",
        help="One backfill through Dagster's daemon, or runs in this process "
        "(default: the daemon if one lives).",
    ),
]


def recover(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(help="Experiments, sweeps or patterns such as 'demo-*'."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All experiments, those of sweeps too.")
    ] = False,
    select: Annotated[
        list[str] | None,
        typer.Option(help=f"These assets only, or {', '.join(SELECTIONS)}; may be repeated."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help=f"These states only: {', '.join(sorted(TO_RUN))}; may be repeated."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")
    ] = False,
    max_parallel: Annotated[
        int | None, typer.Option(help="At most so many jobs at a time, over all runs.")
    ] = None,
    cluster: Cluster = "",
    daemon: Daemon = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the backfill to its end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make what is stale, missing, broken or has failed, with what waits for it: nothing more,
    nothing less. Asks nothing.
    """
    import dagster as dg

    console.stderr = as_json
    project = Project.load()
    wish = Wish(_states(only), assets_of(select or ()))
    never_begun_too = not dry_run and "missing" in wish.states
    if never_begun_too and bool(experiments) == everything:
        raise ConfigError(
            f"which of {len(project.catalog.experiments)} experiments? Name some, a sweep or a "
            "pattern such as 'demo-*', or say --all. `--dry-run` says what would run; `--only "
            "failed` needs no names."
        )
    chosen = project.catalog.chosen(experiments)
    settings = _settings(project, cluster, max_parallel)
    ensure_instance(project.layout)
    with dg.DagsterInstance.get() as instance:
        order = _Order(instance, project, chosen, wish, settings)
        done = order.carry_out(dry_run=dry_run, daemon=daemon, wait=wait)
    if as_json:
        sys.stdout.write(json.dumps(done.as_json(), indent=1) + "\n")
    if done.succeeded is False:
        raise typer.Exit(1)


@dataclass
class _Outcome:
    """What became of a recovery. `succeeded`: None where that is not known yet. `left`: what is not
    fresh afterwards, and why.
    """

    plan: Plan
    recorded: int = 0
    backfill_id: str = ""
    succeeded: bool | None = None
    left: Mapping[Node, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        recovery = self.plan.recovery
        return {
            "to_run": [
                {"asset": a, "partition": p, "state": self.plan.found[a, p].state, "why": why}
                for (a, p), why in recovery.to_run.items()
            ],
            "left_out": _rows(recovery.left_out),
            "not_asked": len(recovery.not_asked),
            "to_record": len(recovery.to_record),
            "recorded": self.recorded,
            "price": vars(self.plan.cost),
            "backfill": self.backfill_id or None,
            "succeeded": self.succeeded,
            "left": _rows(self.left),
        }


@dataclass(frozen=True)
class _Order:
    """A recovery that was asked for."""

    instance: dg.DagsterInstance
    project: Project
    experiments: Sequence[str]
    wish: Wish
    settings: Mapping[str, Any]

    def carry_out(self, *, dry_run: bool, daemon: bool | None, wait: bool) -> _Outcome:
        """Plan, record, launch; alone, so that of two recoveries the second sees the first."""
        from activeuf_dagster import recovering
        from activeuf_dagster.backfill import daemon_is_alive

        layout = self.project.layout
        with contextlib.ExitStack() as meanwhile:
            with planning_alone(layout, on_wait=_tell_who_plans):
                done = _Outcome(self._planned())
                if dry_run:
                    return done
                done.recorded = self._adopt(done.plan.recovery.to_record)
                to_run = done.plan.recovery.to_run
                if not to_run:
                    done.succeeded = True
                    return done
                if daemon is None:
                    daemon = daemon_is_alive(self.instance)
                if daemon:
                    refuse_newer(layout, to_run)
                    done.backfill_id = recovering.start_backfill(
                        self.instance, done.plan, self.settings, "recover"
                    )
                else:
                    meanwhile.enter_context(announced(layout, to_run))
            if done.backfill_id:
                self._follow(done, wait)
            else:
                self._run_here(done)
        return done

    def _planned(self) -> Plan:
        from activeuf_dagster import recovering

        plan = recovering.make_plan(self.instance, self.project, self.experiments, self.wish)
        tell(plan)
        for text in recovering.warnings(self.instance, self.project, plan):
            console.print(f"[yellow]Warning:[/] {escape(text)}")
        return plan

    def _adopt(self, nodes: Sequence[Node]) -> int:
        from activeuf_dagster import recovering

        if not nodes:
            return 0
        count = recovering.adopt(self.instance, self.project, nodes, _every_few_seconds())
        console.print(f"{count} complete artifacts recorded; nothing was run for them.")
        return count

    def _run_here(self, done: _Outcome) -> None:
        from activeuf_dagster import recovering
        from activeuf_dagster.code_location import build

        show_progress(console, len(done.plan.recovery.to_run))
        try:
            done.succeeded = recovering.run_here(
                build(self.project), self.instance, self.project, done.plan, self.settings
            )
        except KeyboardInterrupt:
            console.print(what_an_interruption_left(self.project))
            raise typer.Exit(130) from None
        self._tell_what_is_left(done)

    def _follow(self, done: _Outcome, wait: bool) -> None:
        from activeuf_dagster import recovering
        from activeuf_dagster.backfill import daemon_is_alive, look

        name = done.backfill_id
        if not daemon_is_alive(self.instance):
            console.print("No daemon lives: it begins when one is started (`activeuf ui`).")
        console.print(
            f"Backfill {name} of {len(done.plan.recovery.to_run)} partitions is with Dagster's "
            f"daemon, which looks every 30 s.\n"
            f"  {address(self.project.layout) or '<UI>'}/runs/b/{name}\n"
            "  activeuf plan --only running --only failed"
        )
        if not wait:
            return
        try:
            last = _watch(lambda: look(self.instance, name))
        except KeyboardInterrupt:
            console.print(f"No longer followed; backfill {name} goes on.")
            raise typer.Exit(130) from None
        done.succeeded = last.status == "COMPLETED_SUCCESS"
        error = f": {escape(recovering.why_ended(last))}" if last.error else ""
        console.print(f"Backfill {name}: {last.status}{error}")
        self._tell_what_is_left(done)

    def _tell_what_is_left(self, done: _Outcome) -> None:
        from activeuf_dagster import recovering

        after = recovering.make_plan(self.instance, self.project, self.experiments, Wish())
        done.left = {
            node: one.state if one.reason == one.state else f"{one.state}: {one.reason}"
            for node, one in after.found.items()
            if one.state not in SETTLED
        }
        if not done.left:
            console.print(f"All {len(after.found)} asset partitions are fresh.")
            return
        console.print(f"{len(done.left)} of {len(after.found)} asset partitions are not fresh:")
        _print_grouped(done.left)


def tell(plan: Plan) -> None:
    """Print what will be done, why, what it costs, and what is left out."""
    recovery, cost = plan.recovery, plan.cost
    if recovery.to_record:
        console.print(f"{len(recovery.to_record)} are complete and have only to be recorded.")
    if recovery.to_run:
        console.print(f"{len(recovery.to_run)} of {len(plan.found)} asset partitions are to run:")
        for stage in STAGES:
            reasons = [why for node, why in recovery.to_run.items() if node[0] == stage.asset]
            if reasons:
                console.print(f"  {len(reasons):>5}  {stage.asset:<20}  {_why(reasons)}")
        for line in price_lines(cost):
            console.print(line)
    else:
        console.print("Nothing has to run.")
    if recovery.left_out:
        console.print(f"{len(recovery.left_out)} are not fresh and left out:")
        _print_grouped(recovery.left_out)
    if recovery.not_asked:
        console.print(f"{len(recovery.not_asked)} more are not fresh and were not asked for.")


def _print_grouped(reasons: Mapping[Node, str]) -> None:
    """Print nodes with their reasons, those with the same one together."""
    groups: dict[str, list[Node]] = {}
    for node, why in reasons.items():
        groups.setdefault(why, []).append(node)
    for why, nodes in list(groups.items())[:SHOWN_GROUPS]:
        names = ", ".join(f"{asset}[{partition}]" for asset, partition in nodes[:SHOWN])
        more = f" and {len(nodes) - SHOWN} more" if len(nodes) > SHOWN else ""
        console.print(f"  {escape(names)}{more}: {escape(why)}")
    rest = sum(map(len, list(groups.values())[SHOWN_GROUPS:]))
    if rest:
        console.print(f"  and {rest} more (`activeuf plan` shows all)")


def _why(reasons: Sequence[str]) -> str:
    """Return the most frequent reasons, short and without the names of partitions."""
    plain = (re.sub(r"(\w)\[[\w.=+-]+\]", r"\1", why) for why in reasons)
    counts = Counter(why if len(why) <= LONGEST else f"{why[:LONGEST]}…" for why in plain)
    shown = [f"{why} ({n})" if n > 1 else why for why, n in counts.most_common(SHOWN)]
    more = f"; {len(counts) - SHOWN} other reasons" if len(counts) > SHOWN else ""
    return escape("; ".join(shown) + more)


def _watch(ask: Callable[[], Backfill]) -> Backfill:
    """Print how far a backfill is whenever that changes, until it is over; return it."""
    said = ""
    while True:
        now = ask()
        line = f"{len(now.made)} made, {len(now.failed)} failed, of {len(now.targets)}"
        if line != said:
            console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {line}")
            said = line
        if not now.is_open:
            return now
        time.sleep(LOOK_EVERY_S)


def _every_few_seconds() -> Callable[[int, int], None]:
    """Return what tells how many artifacts are recorded, now and then."""
    last = time.monotonic()

    def tell_progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > PROGRESS_EVERY_S:
            last = time.monotonic()
            console.print(f"{done} of {total} recorded", style="dim")

    return tell_progress


def _tell_who_plans(holder: str) -> None:
    console.print(f"Waiting until {escape(holder)} has planned.")


def _settings(project: Project, cluster: str, max_parallel: int | None) -> dict[str, Any]:
    """Return the settings of all runs. Raises: ConfigError for a wrong cluster or number."""
    if max_parallel is not None and max_parallel < 1:
        raise ConfigError(f"--max-parallel is {max_parallel}; allowed: a number from 1.")
    project.launchers(cluster)  # a wrong name is said now
    limit = {"max_parallel": max_parallel} if max_parallel is not None else {}
    return {"cluster": cluster, **limit}


def _states(only: Sequence[str] | None) -> frozenset[State]:
    for name in only or ():
        if name not in TO_RUN:
            raise ConfigError(f"unknown state {name!r}; {choose_from(name, TO_RUN)}.")
    return frozenset(state for state in TO_RUN if not only or state in only)


def _rows(reasons: Mapping[Node, str]) -> list[dict[str, str]]:
    return [{"asset": a, "partition": p, "why": why} for (a, p), why in reasons.items()]
