"""The command line's view of cluster files: `activeuf cluster`.

    activeuf cluster list              the cluster files there are
    activeuf cluster show NAME         what a job of each stage asks for
    activeuf cluster check NAME        a tiny job per shape of resources: what works, what does not

NAME is a file of `configs/clusters`, or a path. Exit codes: 0 it works (or waits in the queue),
1 something does not, 2 the file is wrong.
"""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from activeuf_core.errors import ConfigError
from activeuf_core.slurm.check import LIGHT, ClusterCheck, Shape, Verdict, shapes
from activeuf_core.slurm.cluster import ON_CLUSTER, LocalCluster, Resources, SlurmCluster
from activeuf_core.slurm.script import render, sbatch_arguments
from activeuf_dagster.project import Project

app = typer.Typer(no_args_is_help=True, help="Cluster files: list, show, check.")
console = Console(highlight=False, soft_wrap=True)
Name = Annotated[str, typer.Argument(help="A file of configs/clusters by name, or a path.")]
COLOURS = {"ok": "green", "failed": "red", "queued": "yellow"}
WAIT_S = 300.0


@app.command("list")
def list_files() -> None:
    """List the cluster files, and which of them are wrong."""
    project = Project.load()
    for path in sorted((project.configs / "clusters").glob("*.yaml")):
        try:
            words = _in_a_word(project.cluster(path.stem))
        except ConfigError as error:
            words = f"[red]{escape(str(error))}[/]"
        console.print(f"{path.stem:<20} {words}")


@app.command()
def show(name: Name) -> None:
    """Show what a job of each stage asks for, everything filled in."""
    project = Project.load()
    cluster = project.cluster(name)
    console.print(f"{name}: {_in_a_word(cluster)}")
    if isinstance(cluster, SlurmCluster):
        for stage in ON_CLUSTER:
            console.print(f"  {stage:<20} {escape(in_words(cluster.resources_for(stage)))}")
        light = cluster.resources_for(ON_CLUSTER[0], light=True)
        console.print(f"  {LIGHT:<20} {escape(in_words(light))}")


@app.command()
def check(
    name: Name,
    wait: Annotated[
        float, typer.Option(help="Seconds that a job may wait in the queue; then it is cancelled.")
    ] = WAIT_S,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print script and arguments; submit nothing.")
    ] = False,
) -> None:
    """Submit a tiny job per shape of resources, and say what works and what does not."""
    project = Project.load()
    cluster = project.cluster(name)
    console.print(f"{name}: the file is right; {_in_a_word(cluster)}")
    if isinstance(cluster, LocalCluster):
        console.print("Jobs are processes of this machine: there is nothing to submit.")
        return
    stem, transport = Path(name).stem, project.transport(cluster)
    found = ClusterCheck(project.layout, cluster, stem, transport, wait)
    if dry_run:
        _print_what_would_be_submitted(found)
        return
    for answer in found.answers():
        console.print(_mark("ok" if answer.is_good else "failed"), escape(answer.text))
        if not answer.is_good:
            raise typer.Exit(1)
    if not _try_all(found):
        raise typer.Exit(1)


def in_words(asked: Resources) -> str:
    """Return resources as one line: what they ask for, and where."""
    size = f"{asked.nodes} nodes" if asked.nodes > 1 else "1 node"
    size += f" x {asked.tasks_per_node} tasks" if asked.tasks_per_node > 1 else ""
    size += f" x {asked.processes_per_node} processes" if asked.processes_per_node > 1 else ""
    gpus = f"{asked.gpus} {asked.gpu_type or ''} GPUs".replace("  ", " ") if asked.gpus else ""
    places = {
        "partition": asked.slurm_partition,
        "account": asked.account,
        "qos": asked.qos,
        "constraint": asked.constraint,
        "reservation": asked.reservation,
    }
    where = [f"{key} {value}" for key, value in places.items() if value]
    memory = asked.memory or "default memory"
    parts = [size, f"{asked.cpus} CPUs", gpus, memory, asked.time, *where, *asked.extra_sbatch]
    return ", ".join(part for part in parts if part)


def _try_all(found: ClusterCheck) -> bool:
    """Run the check, telling each verdict; return whether none of the jobs failed."""
    asked = shapes(found.cluster)
    console.print(f"Tiny jobs, one per shape: {len(asked)}. Each may wait {found.wait_s:g} s.")
    counts: Counter[str] = Counter()
    for verdict in found.run():
        counts[verdict.outcome] += 1
        _print(verdict)
    console.print(", ".join(f"{number} {outcome}" for outcome, number in counts.items()))
    return not counts["failed"]


def _print(verdict: Verdict) -> None:
    shape = verdict.shape
    head = escape(f"{', '.join(shape.stages)} ({in_words(shape.resources)})")
    console.print(_mark(verdict.outcome), head)
    if verdict.facts:
        console.print(escape(f"         {'; '.join(verdict.facts)}"))
    for problem in verdict.problems:
        console.print(f"[red]{escape(_indented(problem))}")


def _print_what_would_be_submitted(found: ClusterCheck) -> None:
    for shape in shapes(found.cluster):
        spec = found.spec(shape)
        sys.stdout.write(f"\n# {_title(shape)}\nsbatch {shlex.join(sbatch_arguments(spec))}\n")
        sys.stdout.write(_indented(render(spec)) + "\n")


def _title(shape: Shape) -> str:
    return f"{', '.join(shape.stages)}: {in_words(shape.resources)}"


def _indented(text: str) -> str:
    return "\n".join(f"         {line}" for line in text.splitlines())


def _mark(outcome: str) -> str:
    return f"[{COLOURS[outcome]}]{outcome:<8}[/]"


def _in_a_word(cluster: LocalCluster | SlurmCluster) -> str:
    if isinstance(cluster, LocalCluster):
        return f"this machine, {cluster.slots or 'one per core'} slots"
    way = f"over ssh {cluster.ssh.host}" if cluster.ssh else "from this login node"
    image = f", in {cluster.container.image}" if cluster.container else ""
    return escape(f"SLURM {way}{image}")
