"""The sensor that recovers by itself. Off until a person turns it on.

Each tick looks, as `activeuf recover --only missing --only stale` does, and launches one backfill
of what `automation.yaml` allows. It never tries again what failed, nor what it launched itself
before and what is not there: both wait for a person. What is on its way, here or elsewhere, is left
alone. Why not Dagster's own conditions: `docs/adr/0007-automation.md`.
Cost: a plan per tick (half a second for 10,000 nodes).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import dagster as dg

from activeuf_core.announcements import planning_alone
from activeuf_core.automation import (
    Allowance,
    AutomationConfig,
    Launch,
    LaunchLedger,
    Wanted,
    allow,
    read_automation,
)
from activeuf_core.catalog import Catalog
from activeuf_core.errors import ActiveUFError
from activeuf_core.plan import State, Status, price
from activeuf_core.recipes import Node
from activeuf_core.recovery import Wish
from activeuf_core.stages import stage_of
from activeuf_dagster import backfill, recovering
from activeuf_dagster.project import Project
from activeuf_dagster.recovering import BY_TAG, Plan
from activeuf_dagster.selections import assets_of

STATES: frozenset[State] = frozenset({"missing", "stale"})
LEFT_ALONE: frozenset[State] = frozenset({"failed", "broken"})
NAME = "recover_automatically"
AUTOMATION = "automation"
INTERVAL_S = 60
PATIENCE_S = 5.0
"""How long a tick waits for another recovery to have planned; the next tick looks again."""
ADOPTED_PER_TICK = 500
"""So many complete artifacts are recorded per tick, which Dagster gives a minute."""
REST_S = 3600.0
"""How long nothing is launched after Dagster itself ended a backfill of ours."""


def build_sensor(loaded: Catalog) -> dg.SensorDefinition:
    """Return the sensor.

    Args: loaded: the partitions that this code server knows. A backfill of others would be ended.
    """

    @dg.sensor(
        name=NAME,
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=(
            "Makes what is missing or stale, never what failed, within the budget of "
            "configs/automation.yaml. Off unless a person turns it on."
        ),
    )
    def recover_automatically(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        """Launch a backfill of what is missing or stale and within the budget."""
        return dg.SkipReason(tick(context.instance, loaded, time.time()))

    return recover_automatically


def tick(instance: dg.DagsterInstance, loaded: Catalog, now: float) -> str:
    """Launch what may be launched; return what was done, or why nothing was."""
    try:
        project = Project.load()
        config = read_automation(project.configs)
        with planning_alone(project.layout, patience_s=PATIENCE_S):
            return _Tick(instance, project, config, loaded, now).launch()
    except ActiveUFError as error:
        return f"Nothing was launched. {type(error).__name__}: {error}"


@dataclass(frozen=True)
class _Tick:
    """One look."""

    instance: dg.DagsterInstance
    project: Project
    config: AutomationConfig
    loaded: Catalog
    now: float

    def launch(self) -> str:
        """Launch what may be launched; return what was done, or why nothing was."""
        rests = self._rests()
        if rests:
            return rests
        experiments = self.project.catalog.chosen(self.config.experiments)
        wish = Wish(STATES, assets_of(self.config.assets))
        plan = recovering.make_plan(
            self.instance, self.project, experiments, wish, barred=self._barred
        )
        known = plan.recovery.to_record[:ADOPTED_PER_TICK]
        recovering.adopt(self.instance, self.project, known)
        said = [f"{len(known)} complete artifacts recorded."] if known else []
        said.append(self._launch_within_budget(plan) if plan.recovery.to_run else _nothing(plan))
        return " ".join(said)

    def _rests(self) -> str:
        """Return why nothing is launched whatever is missing, '' when nothing stands against it."""
        for last in backfill.recent_backfills(self.instance, {BY_TAG: AUTOMATION})[:1]:
            if last.status == "FAILED" and self.now - last.begun_at < REST_S:
                return (
                    f"Nothing is launched for {REST_S / 60:.0f} minutes after Dagster ended "
                    f"backfill {last.backfill_id}: {last.error.partition(chr(10))[0]}"
                )
        return ""

    def _barred(self, found: Mapping[Node, Status]) -> dict[Node, str]:
        """Return which nodes a tick must not make, and why."""
        before = {
            (asset, fingerprint): launch.backfill
            for launch in LaunchLedger(self.project.layout).read()
            for asset, prints in launch.targets.items()
            for fingerprint in prints
        }
        served = {a: frozenset(self.loaded.partitions(a)) for a in {asset for asset, _ in found}}
        barred: dict[Node, str] = {}
        for node, one in found.items():
            tried = before.get((node[0], one.fingerprint))
            if one.state in LEFT_ALONE:
                barred[node] = f"{one.state}, which waits for a person: {one.reason}"
            elif one.state == "running":
                barred[node] = one.reason
            elif tried is not None:
                barred[node] = f"not made by backfill {tried}: it waits for a person"
            elif node[1] not in served[node[0]]:
                barred[node] = "its file is newer than Dagster's code server: reload that"
        return barred

    def _launch_within_budget(self, plan: Plan) -> str:
        ledger = LaunchLedger(self.project.layout)
        allowance = allow(self.config.budget, _wanted(plan), ledger.read(), self.now)
        waits = len(plan.recovery.to_run) - len(allowance.nodes)
        if not allowance.nodes:
            return f"The budget is used up, {waits} partitions wait: {allowance.because}."
        name = backfill.new_id()
        ledger.add(Launch(self.now, name, allowance.gpu_hours, _targets(plan, allowance)))
        kept = {node: plan.recovery.to_run[node] for node in allowance.nodes}
        plan = replace(plan, recovery=replace(plan.recovery, to_run=kept))
        recovering.start_backfill(self.instance, plan, self._settings(), AUTOMATION, name)
        said = f"Backfill {name} of {len(kept)} partitions, {allowance.gpu_hours:.2f} GPU-hours."
        return f"{said} {waits} more wait: {allowance.because}." if waits else said

    def _settings(self) -> dict[str, str | int]:
        return {"cluster": self.config.cluster, "max_parallel": self.config.max_parallel}


def _wanted(plan: Plan) -> Iterator[Wanted]:
    """Yield what is to run with its cost: what the artifacts of its asset took on average."""
    hours: dict[str, float | None] = {}
    for node in plan.recovery.to_run:
        asset, one = node[0], plan.found[node]
        if asset not in hours:
            cost = price({node: replace(one, state="missing")}, plan.looks)
            hours[asset] = None if cost.unknown else cost.gpu_hours
        jobs = 1 if stage_of(asset).placement == "cluster" else 0
        yield Wanted(node, one.fingerprint, hours[asset], jobs)


def _targets(plan: Plan, allowance: Allowance) -> dict[str, list[str]]:
    """Return what a launch makes on a cluster; tables, which follow what exists, are made anew."""
    found: dict[str, list[str]] = {}
    for node in allowance.nodes:
        if stage_of(node[0]).placement == "cluster":
            found.setdefault(node[0], []).append(plan.found[node].fingerprint)
    return found


def _nothing(plan: Plan) -> str:
    """Say why nothing has to run."""
    if not plan.recovery.left_out:
        return "Nothing is missing or stale."
    reasons = Counter(plan.recovery.left_out.values()).most_common(3)
    shown = "; ".join(f"{why} ({count})" for why, count in reasons)
    return f"Nothing to launch; {len(plan.recovery.left_out)} are left alone: {shown}."
