"""Recovering: look, decide, record what is complete, and have exactly the rest made.

Used by `activeuf recover` and by the sensor that does the same by itself. The decision is
`activeuf_core.recovery`; here is what it needs to know of Dagster, and what becomes of it: one
backfill where a daemon lives, runs in this process otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from activeuf_core.announcements import announcements
from activeuf_core.artifact_index import Look
from activeuf_core.launchers.base import Target
from activeuf_core.plan import Price, Status, price
from activeuf_core.recipes import Node
from activeuf_core.recovery import Recovery, Wish, decide, facts_of
from activeuf_dagster import backfill
from activeuf_dagster.exact_waves import exact_waves
from activeuf_dagster.foreground import run_waves
from activeuf_dagster.materialization import MaterializationConfig, operation_of
from activeuf_dagster.planning import look_at, nodes_of, past_of
from activeuf_dagster.project import Project
from activeuf_dagster.recorded import recorded_versions
from activeuf_dagster.unrecorded import record

BY_TAG = "activeuf/launched_by"
"""Who launched a backfill or a run: `recover` or `automation`."""
RECOVERY_TAG = "activeuf/recovery"
"""Which recovery a run in the foreground belongs to; the UI filters by it."""


@dataclass(frozen=True)
class Plan:
    """What a recovery does, what it costs, the status of all nodes that it looked at, and what lies
    in the store.
    """

    recovery: Recovery
    cost: Price
    found: Mapping[Node, Status]
    looks: Mapping[Target, Look]


def make_plan(
    instance: dg.DagsterInstance,
    project: Project,
    experiments: Sequence[str],
    wish: Wish,
    barred: Callable[[Mapping[Node, Status]], Mapping[Node, str]] = lambda found: {},
) -> Plan:
    """Return what a recovery of experiments has to do; what others make already is left out.

    Args: barred: says, of nodes whose status is known, which must not be made and why.
    """
    book = project.book()
    view = look_at(book, nodes_of(book, experiments), recorded_versions(instance))
    found, knowledge = view.found, view.knowledge
    wish = replace(wish, busy=busy(instance, project), barred=barred(found))
    recovery = decide(facts_of(view.expected.now(), found, knowledge), wish)
    to_pay = {node: replace(found[node], state="missing") for node in recovery.to_run}
    past = past_of(view, to_pay)
    return Plan(recovery, price(to_pay, past), found, past)


def busy(instance: dg.DagsterInstance, project: Project) -> dict[Node, str]:
    """Return what backfills, runs and recoveries in the foreground are still going to make."""
    found = backfill.nodes_of_runs(instance, project.catalog)
    found |= announcements(project.layout)
    for one in backfill.open_backfills(instance):
        found |= dict.fromkeys(one.on_the_way, f"backfill {one.backfill_id}")
    return found


def warnings(instance: dg.DagsterInstance, project: Project, plan: Plan) -> list[str]:
    """Return what is wrong with open backfills, and, while there is something to run, why Dagster
    ended the last recovery's; and what to do.
    """
    said = [*unknown_targets(instance, project), *without_daemon(instance, plan)]
    before = backfill.recent_backfills(instance, {BY_TAG: "recover"})[:1]
    ended = [one for one in before if one.status == "FAILED" and one.error]
    said += [
        f"the last recovery's backfill {last.backfill_id} was ended by Dagster: {why_ended(last)}"
        for last in (ended if plan.recovery.to_run else ())
    ]
    return said


def why_ended(last: backfill.Backfill) -> str:
    """Return why Dagster ended a backfill, and what to do."""
    said = last.error.splitlines()[0]
    if "have been removed" not in said:
        return said
    return (
        f"{said} Where these are new and not removed, its code server has not read their files: "
        "reload it (in the UI: Deployment, Reload), or recover with --foreground."
    )


def without_daemon(instance: dg.DagsterInstance, plan: Plan) -> list[str]:
    """Return what to do about what is left to backfills that no daemon carries out."""
    if not plan.recovery.left_out or backfill.daemon_is_alive(instance):
        return []
    reasons = set(plan.recovery.left_out.values())
    names = [one.backfill_id for one in backfill.open_backfills(instance)]
    return [
        f"no daemon lives: backfill {name} stands still, and what it has still to make is left to "
        "it. Start `activeuf ui`: there it goes on by itself, or can be cancelled (Runs, "
        "Backfills), after which `activeuf recover` makes the rest."
        for name in names
        if any(f"in backfill {name}" in why for why in reasons)
    ]


def unknown_targets(instance: dg.DagsterInstance, project: Project) -> list[str]:
    """Return what to do about open backfills whose targets no config file declares any more."""
    said: list[str] = []
    for one in backfill.open_backfills(instance):
        unknown = one.unknown(project.catalog)
        if unknown:
            names = ", ".join(sorted({partition for _, partition in unknown})[:5])
            said.append(
                f"backfill {one.backfill_id} is open and has {len(unknown)} targets that no config "
                f"file declares any more ({names}): Dagster ends it at its next look, with its "
                "runs; jobs on a cluster go on. Put the files back now, or let it end and recover: "
                "what it has not made is made then."
            )
    return said


def adopt(
    instance: dg.DagsterInstance,
    project: Project,
    nodes: Sequence[Node],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Record what is complete in the store and unknown to Dagster; return how many."""
    return len(record(instance, project.book(), nodes, on_progress)) if nodes else 0


def start_backfill(
    instance: dg.DagsterInstance,
    plan: Plan,
    settings: Mapping[str, Any],
    launched_by: str,
    backfill_id: str = "",
) -> str:
    """Have Dagster's daemon make what a plan says; return the backfill's id.

    Args: settings: fields of `MaterializationConfig` for all of its runs. backfill_id: one that was
    written down before.
    """
    nodes = plan.recovery.to_run
    return backfill.launch(
        instance,
        nodes,
        title=f"{launched_by}: {_counted(nodes.values())}",
        description="\n".join(f"{asset}[{key}]: {why}" for (asset, key), why in _few(nodes)),
        tags={BY_TAG: launched_by},
        run_config=run_config(nodes, settings),
        backfill_id=backfill_id,
    )


def run_config(nodes: Iterable[Node], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run config of the operations that make some nodes."""
    operations = sorted({operation_of(asset) for asset, _ in nodes})
    return {"ops": {name: {"config": dict(settings)} for name in operations}}


def run_here(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    project: Project,
    plan: Plan,
    settings: Mapping[str, Any],
) -> bool:
    """Make what a plan says in this process; return whether all of it succeeded.

    The caller announces the nodes first (`announced`), so that nobody else makes them too. The runs
    share a tag, by which the UI shows them together.
    """
    waves = exact_waves(list(plan.recovery.to_run), project)
    tags = {BY_TAG: "recover", RECOVERY_TAG: backfill.new_id()}
    config = MaterializationConfig(**settings)
    return run_waves(definitions, instance, waves, project, config, tags)


def _few(nodes: Mapping[Node, str], limit: int = 20) -> list[tuple[Node, str]]:
    return list(nodes.items())[:limit]


def _counted(reasons: Iterable[str]) -> str:
    """Return how many partitions there are, and of what state."""
    words = Counter(_kind(reason) for reason in reasons)
    parts = ", ".join(f"{count} {word}" for word, count in words.most_common())
    return f"{sum(words.values())} partitions ({parts})"


def _kind(reason: str) -> str:
    first = reason.partition(":")[0]
    if " " not in first:
        return first
    return "downstream" if first.startswith("reads ") else "upstream"
