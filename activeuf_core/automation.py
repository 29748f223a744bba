"""Automation: what a recovery that nobody asked for may start, and what it has started already.

In: `automation.yaml`, the nodes that are missing or stale with what each costs, and a ledger of
earlier launches. Out: those nodes that fit the budget, upstream first. `allow` is pure. The ledger
is a file of the home, so that a lost Dagster database does not give the budget back.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from activeuf_core.config import StrictModel, parse, read_yaml
from activeuf_core.launchers.base import Target
from activeuf_core.paths import Layout
from activeuf_core.recipes import Node

DAY_S = 24 * 3600.0


class Budget(StrictModel):
    """The cap. A GPU-hour is what an artifact of the same asset took before, times its GPUs."""

    gpu_hours_per_day: float | None = Field(default=24.0, ge=0)
    """In any 24 hours; null: no such cap."""
    gpu_hours_in_total: float | None = Field(default=None, ge=0)
    """Since the ledger began; null: no such cap."""
    gpu_hours_if_unknown: float = Field(default=1.0, ge=0)
    """What an artifact counts of whose asset none was ever made here."""
    jobs_per_tick: int = Field(default=50, ge=1)
    """How many artifacts one backfill makes on a cluster at most."""


class AutomationConfig(StrictModel):
    """What may be made without being asked for: `configs/automation.yaml`."""

    experiments: tuple[str, ...] = ("*",)
    """Names, sweeps or patterns."""
    assets: tuple[str, ...] = ()
    """Assets or selections (`training`, `evals`, …); what they need comes with them. Empty: all."""
    cluster: str = ""
    """A file of `clusters/`; empty: `$ACTIVEUF_CLUSTER`, or else this machine."""
    max_parallel: int = Field(default=0, ge=0)
    """How many jobs of one backfill run at a time; 0: as many as the cluster takes."""
    budget: Budget = Budget()


def read_automation(folder: Path) -> AutomationConfig:
    """Read `automation.yaml` of a config folder; without one the defaults hold.

    Raises: ConfigError.
    """
    path = folder / "automation.yaml"
    return parse(AutomationConfig, read_yaml(path), path) if path.exists() else AutomationConfig()


@dataclass(frozen=True)
class Wanted:
    """A node that is to be made. `jobs`: 1 where it goes to a cluster, 0 beside the orchestrator.

    `gpu_hours`: None where no such artifact was ever made.
    """

    node: Node
    fingerprint: str
    gpu_hours: float | None
    jobs: int = 1


@dataclass(frozen=True)
class Launch:
    """A backfill that was launched without being asked for."""

    at: float
    backfill: str
    gpu_hours: float
    targets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Per asset, the fingerprints of the artifacts that it was to make."""


@dataclass(frozen=True)
class Allowance:
    """What may be made now; `because`: why not all of it, '' when it is all."""

    nodes: tuple[Node, ...]
    gpu_hours: float
    because: str = ""


def allow(
    budget: Budget, wanted: Iterable[Wanted], launches: Sequence[Launch], now: float
) -> Allowance:
    """Return as much of what is wanted, given upstream first, as the budget allows.

    What comes after the first node that does not fit waits with it: nothing is taken without what
    it reads. Partitions of one artifact cost once.
    """
    left, whose = _left(budget, launches, now)
    taken: list[Node] = []
    seen: set[Target] = set()
    spent, jobs = 0.0, 0
    for one in wanted:
        target = (one.node[0], one.fingerprint)
        if target not in seen:
            hours = budget.gpu_hours_if_unknown if one.gpu_hours is None else one.gpu_hours
            cost = hours if one.jobs else 0.0
            if spent + cost > left:
                why = f"{_label(one.node)} would take {cost:.2f} GPU-hours, and of {whose}"
                return Allowance(tuple(taken), spent, f"{why} {left - spent:.2f} are left")
            if jobs + one.jobs > budget.jobs_per_tick:
                why = f"jobs_per_tick is {budget.jobs_per_tick}, the next ones wait"
                return Allowance(tuple(taken), spent, why)
            spent, jobs = spent + cost, jobs + one.jobs
            seen.add(target)
        taken.append(one.node)
    return Allowance(tuple(taken), spent)


def spent_since(launches: Iterable[Launch], since: float) -> float:
    """Return the GPU-hours of what was launched after a time."""
    return sum(one.gpu_hours for one in launches if one.at > since)


class LaunchLedger:
    """The launches of a home, one JSON line each."""

    def __init__(self, layout: Layout) -> None:
        self.path = layout.automation

    def read(self) -> list[Launch]:
        """Return all launches, the oldest first."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        found: list[Launch] = []
        for line in lines:  # of a process that died while it wrote, there is half a line
            with contextlib.suppress(json.JSONDecodeError):
                found.append(Launch(**json.loads(line)))
        return found

    def add(self, launch: Launch) -> None:
        """Write a launch down; called before it, so that what is launched is always known."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as handle:
            handle.write("\n" + json.dumps(vars(launch)) + "\n")


def _left(budget: Budget, launches: Sequence[Launch], now: float) -> tuple[float, str]:
    """Return how many GPU-hours are left, and of which cap."""
    left, whose = float("inf"), "no cap"
    if budget.gpu_hours_per_day is not None:
        left = budget.gpu_hours_per_day - spent_since(launches, now - DAY_S)
        whose = f"the day's {budget.gpu_hours_per_day:g}"
    if budget.gpu_hours_in_total is not None:
        in_total = budget.gpu_hours_in_total - spent_since(launches, float("-inf"))
        if in_total < left:
            left, whose = in_total, f"the {budget.gpu_hours_in_total:g} in total"
    return left, whose


def _label(node: Node) -> str:
    return f"{node[0]}[{node[1]}]"
