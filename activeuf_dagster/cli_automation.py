"""`activeuf automation`: turn on, off, and look at what recovers by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape

from activeuf_core.automation import (
    DAY_S,
    AutomationConfig,
    LaunchLedger,
    read_automation,
    spent_since,
)
from activeuf_dagster.instance import ensure_instance
from activeuf_dagster.project import Project
from activeuf_dagster.selections import assets_of

if TYPE_CHECKING:
    import dagster as dg

app = typer.Typer(
    no_args_is_help=True, help="Make what is missing or stale without being asked, within a budget."
)
console = Console(highlight=False, soft_wrap=True)


@app.command("on")
def turn_on() -> None:
    """Turn it on: Dagster's daemon then looks every minute."""
    _turn(on=True)


@app.command("off")
def turn_off() -> None:
    """Turn it off; what was launched goes on."""
    _turn(on=False)


@app.command()
def status() -> None:
    """Say whether it is on, what it may do, what it has spent, and what it did last."""
    from activeuf_dagster.automation import NAME
    from activeuf_dagster.backfill import daemon_is_alive
    from activeuf_dagster.sensor_switch import is_on, last_tick

    project = Project.load()
    config = _checked(project)
    with _instance(project) as instance:
        on, alive, last = (
            is_on(instance, NAME),
            daemon_is_alive(instance),
            last_tick(instance, NAME),
        )
    idle = "" if alive or not on else ", but no daemon lives: start `activeuf ui`"
    console.print(f"Automation is {'on' if on else 'off'}{idle}.")
    _tell_budget(project, config)
    if last is not None:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last[0]))
        console.print(f"Last look, {when}: {escape(last[1])}")


def _tell_budget(project: Project, config: AutomationConfig) -> None:
    launches = LaunchLedger(project.layout).read()
    today = spent_since(launches, time.time() - DAY_S)
    in_total = spent_since(launches, float("-inf"))
    caps = (config.budget.gpu_hours_per_day, config.budget.gpu_hours_in_total)
    of_day, of_all = (f"{cap:g}" if cap is not None else "no cap" for cap in caps)
    console.print(
        f"Launched: {today:.2f} GPU-hours in 24 hours (cap: {of_day}), {in_total:.2f} in total "
        f"(cap: {of_all}), backfills: {len(launches)}."
    )
    names = ", ".join(config.experiments)
    console.print(f"Experiments: {names} (change it in {project.configs}/automation.yaml).")


def _turn(*, on: bool) -> None:
    from activeuf_dagster.automation import NAME
    from activeuf_dagster.sensor_switch import turn

    project = Project.load()
    if on:
        _checked(project)
    with _instance(project) as instance:
        turn(instance, NAME, on=on)
    status()


def _checked(project: Project) -> AutomationConfig:
    """Read the file; a name in it that stands for nothing is said now. Raises: ConfigError."""
    config = read_automation(project.configs)
    project.catalog.chosen(config.experiments)
    assets_of(config.assets)
    project.launchers(config.cluster)
    return config


@contextmanager
def _instance(project: Project) -> Iterator[dg.DagsterInstance]:
    import dagster as dg

    ensure_instance(project.layout)
    with dg.DagsterInstance.get() as instance:
        yield instance
