"""The command line: `activeuf`.

    activeuf check                what the config files declare, and whether they are right
    activeuf materialize EXP…     bring experiments up to date, in the foreground
    activeuf plan [EXP…]          what is fresh, what is not and why, what would run
    activeuf recover [EXP…]       make what is stale, missing, broken or has failed, nothing else
    activeuf adopt PATH --as EXP  what was made elsewhere is verified, taken and recorded
    activeuf gc                   what no experiment refers to, with sizes; removed with --yes
    activeuf automation on        make what is missing or stale without being asked; off, status
    activeuf leaderboard          the table
    activeuf demo                 two experiments on the project's own data, then the table
    activeuf jobs                 what waits and runs on clusters; cancel, log
    activeuf sweep create NAME    give a sweep to W&B, whose agents then take points of it
    activeuf cluster check NAME   whether a cluster file works; list, show
    activeuf ui                   the Dagster UI on the same instance
    activeuf env                  shell lines that point `dagster …` at the same instance

Exit codes: 0 done, 1 something failed, 2 wrong input, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from activeuf_core.artifacts import ArtifactStore
from activeuf_core.errors import ActiveUFError, ConfigError
from activeuf_core.paths import LEADERBOARD_HTML, LEADERBOARD_JSON, Layout
from activeuf_core.recipes import Node
from activeuf_dagster import cli_automation, cli_cluster, cli_jobs, cli_sweep
from activeuf_dagster.backfill_warnings import backfill_warnings
from activeuf_dagster.cli_adopt import adopt
from activeuf_dagster.cli_gc import gc
from activeuf_dagster.cli_plan import plan
from activeuf_dagster.cli_recover import recover
from activeuf_dagster.dev_server import serve
from activeuf_dagster.instance import ensure_instance
from activeuf_dagster.project import Project
from activeuf_dagster.served import note_address
from activeuf_dagster.terminal import show_progress, what_an_interruption_left

if TYPE_CHECKING:
    from activeuf_core.plan import Status

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Active preference data, as a graph."
)
app.add_typer(cli_jobs.app, name="jobs")
app.add_typer(cli_cluster.app, name="cluster")
app.add_typer(cli_automation.app, name="automation")
app.add_typer(cli_sweep.app, name="sweep")
app.command()(plan)
app.command()(recover)
app.command()(gc)
app.command()(adopt)
console = Console(highlight=False, soft_wrap=True)
DEMO_EXPERIMENTS = ("demo-deltaucb", "demo-random")
Experiments = Annotated[
    list[str] | None, typer.Argument(help="Experiments, sweeps or patterns such as 'demo-*'.")
]
Cluster = Annotated[
    str,
    typer.Option(
        help="Where jobs run: a file of configs/clusters (default: this machine).",
        envvar="ACTIVEUF_CLUSTER",
    ),
]


@app.command()
def check() -> None:
    """Read all config files; say what they declare, or which key of which file is wrong."""
    project = Project.load()
    catalog = project.catalog
    console.print(f"{project.configs}: right.")
    console.print(f"  {len(catalog.datasets)} datasets: {', '.join(catalog.datasets)}")
    console.print(f"  {len(catalog.members)} (dataset, pool member) pairs")
    swept = {key for one in catalog.sweeps.values() for key in one.experiments}
    single = [key for key in catalog.experiments if key not in swept]
    console.print(f"  {len(single)} experiments: {', '.join(single)}")
    for name, one in catalog.sweeps.items():
        equal = f", {one.collapsed} of them equal to others" if one.collapsed else ""
        agents = f", {len(one.suggested)} suggested by agents" if one.suggested else ""
        points = f"{len(one.sweep.points)} points{agents}{equal}"
        console.print(f"  sweep {name}: {points}: {len(one.experiments)} experiments")
    for text in backfill_warnings(project):
        console.print(f"[yellow]Warning:[/] {escape(text)}")


@app.command()
def materialize(
    experiments: Experiments = None,
    force: Annotated[
        bool, typer.Option(help="Make what is complete again, as a new generation.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="All experiments, those of sweeps too.")
    ] = False,
    cluster: Cluster = "",
) -> None:
    """Bring experiments and all that they read up to date, in the foreground."""
    project = Project.load()
    if bool(experiments) == everything:
        raise ConfigError(
            f"which of {len(project.catalog.experiments)} experiments? Name some, a sweep or a "
            "pattern such as 'demo-*', or say --all. `activeuf plan` says what would run."
        )
    chosen = project.catalog.chosen(experiments)
    if not _bring_up_to_date(project, chosen, force=force, cluster=cluster):
        raise typer.Exit(1)


@app.command()
def leaderboard() -> None:
    """Print the leaderboard that was materialized last."""
    project = Project.load()
    _print_leaderboard(project)


@app.command()
def demo(cluster: Cluster = "") -> None:
    """Materialize two experiments on the project's own data, and print the leaderboard."""
    started = time.monotonic()
    project = Project.load()
    console.print(
        "The demo: prompts → completions → judge → active-learning loop → DPO and reward model → "
        "scores."
    )
    console.print(f"Two acquisition functions on the same pool: {', '.join(DEMO_EXPERIMENTS)}.\n")
    complete = _bring_up_to_date(project, DEMO_EXPERIMENTS, force=False, cluster=cluster)
    _print_leaderboard(project)
    console.print(
        f"\nDone in {time.monotonic() - started:.0f} s. "
        f"{'' if complete else 'Something failed: see above.'}"
    )
    console.print(
        "  make ui                    look at the graph, its plots, checks and logs in the browser"
    )
    console.print("  activeuf plan              what is fresh, and why the rest is not")
    console.print(
        "  configs/experiments/       one file, one experiment: copy one and materialize it"
    )
    if not complete:
        raise typer.Exit(1)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port of the web server.")] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Start the Dagster UI and its daemon on the project's instance."""
    project = Project.load()
    ensure_instance(project.layout)
    os.environ["DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR"] = "1"
    url = f"http://{host}:{port}"
    console.print(f"Dagster on {url} (instance {os.environ['DAGSTER_HOME']}); Ctrl-C ends it.")
    note = note_address(project.layout, url)
    try:
        raise typer.Exit(serve(host, port))
    finally:
        note.unlink(missing_ok=True)


@app.command()
def env() -> None:
    """Print shell lines that point `dagster …` at the project's instance: `eval "$(activeuf
    env)"`.
    """
    home = ensure_instance(Layout.default())
    sys.stdout.write(f"export DAGSTER_HOME={shlex.quote(str(home))}\n")


def main() -> None:
    """Run the command line; an expected error is one line, not a traceback."""
    try:
        app()
    except ActiveUFError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"[red]{type(error).__name__}[/]: {escape(str(error))}", markup=True
        )
        raise SystemExit(2) from None
    except OSError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"[red]{type(error).__name__}[/]: {escape(str(error))}. Is that folder there and "
            "writable, and the disk not full? Artifacts lie below ACTIVEUF_HOME, Dagster's "
            "database below DAGSTER_HOME; when that is put right, the same command goes on.",
            markup=True,
        )
        raise SystemExit(1) from None


def _bring_up_to_date(
    project: Project, experiments: Sequence[str], *, force: bool, cluster: str
) -> bool:
    """Materialize what is not fresh of some experiments; return whether all of it succeeded."""
    import dagster as dg

    from activeuf_dagster import unrecorded
    from activeuf_dagster.code_location import build
    from activeuf_dagster.foreground import run_waves, waves
    from activeuf_dagster.materialization import MaterializationConfig

    project.launchers(cluster)  # a wrong name is said now
    found = _statuses(project, experiments)
    known = [node for node, one in found.items() if one.state == "unrecorded"]
    done = () if force else ("fresh", "unrecorded")
    todo = [node for node, one in found.items() if one.state not in done]
    console.print(f"{len(found) - len(todo)} of {len(found)} asset partitions are complete.")
    if not todo and not known:
        return True
    show_progress(console, len(todo))
    definitions = build(project)
    settings = MaterializationConfig(force=force, cluster=cluster)
    try:
        with dg.DagsterInstance.get() as instance:
            unrecorded.record(instance, project.book(), known)
            succeeded = run_waves(definitions, instance, waves(todo, project), project, settings)
    except KeyboardInterrupt:
        console.print(what_an_interruption_left(project))
        raise typer.Exit(130) from None
    return succeeded


def _statuses(project: Project, experiments: Sequence[str]) -> dict[Node, Status]:
    import dagster as dg

    from activeuf_dagster.planning import nodes_of, statuses

    ensure_instance(project.layout)
    book = project.book()
    with dg.DagsterInstance.get() as instance:
        return statuses(instance, book, nodes_of(book, experiments))


def _print_leaderboard(project: Project) -> None:
    from activeuf_core.catalog import UNPARTITIONED
    from activeuf_core.reporting.leaderboard import render_text

    store = ArtifactStore(project.layout)
    recipe = project.book().recipe("leaderboard", UNPARTITIONED)
    folder = store.require("leaderboard", recipe.fingerprint)
    board = json.loads((folder / LEADERBOARD_JSON).read_text(encoding="utf-8"))
    console.print()
    sys.stdout.write(render_text(board["rows"]))
    console.print(f"\nThe same with plots: {folder / LEADERBOARD_HTML}")


if __name__ == "__main__":
    main()
