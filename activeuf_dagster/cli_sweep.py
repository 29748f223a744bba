"""`activeuf sweep`: give a sweep of this project to W&B.

    activeuf sweep create NAME    upload configs/sweeps/NAME.yaml, say how to start agents

Without seeds in the file this is `wandb sweep` and a check; with them it gives W&B a parameter in
their place, because W&B knows no key `seeds`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console

from activeuf_core.config import read_yaml
from activeuf_core.errors import ConfigError, choose_from
from activeuf_core.sweeps import PROGRAM, Sweep
from activeuf_dagster.project import Project

app = typer.Typer(help="Sweeps driven by W&B agents.", no_args_is_help=True)
console = Console(highlight=False, soft_wrap=True)


@app.callback()
def _sweep() -> None:
    """Keep `create` a word of its own though it is the only one."""


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="A file of configs/sweeps, without its ending.")],
    entity: Annotated[str, typer.Option(help="W&B team or user (default: your own).")] = "",
    project: Annotated[str, typer.Option(help="W&B project.")] = "activeuf",
) -> None:
    """Upload a sweep to W&B; its agents then take points of it."""
    loaded = Project.load()
    if name not in loaded.catalog.sweeps:
        raise ConfigError(
            f"there is no sweep {name!r} in {loaded.configs}; "
            f"{choose_from(name, loaded.catalog.sweeps)}."
        )
    sweep = loaded.catalog.sweeps[name].sweep
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.yaml"
        path.write_text(yaml.safe_dump(uploaded(sweep), sort_keys=False), encoding="utf-8")
        command = [sys.executable, "-m", "wandb", "sweep", "--project", project]
        command += ["--entity", entity] if entity else []
        code = subprocess.run([*command, str(path)], check=False).returncode
    if code:
        raise typer.Exit(1)
    count = len(sweep.points)
    console.print(
        f"\n{count} points." if count else "\nNo end of points: the agents' count ends it."
    )
    console.print("  wandb agent ENTITY/PROJECT/ID                     here, one point at a time")
    array = f"--array=1-{count or 20}%8"
    console.print(f"  sbatch {array} slurm/sweep_agent.sbatch ENTITY/PROJECT/ID")


def uploaded(sweep: Sweep) -> dict[str, Any]:
    """Return the content of a sweep file as W&B takes it: seeds as a parameter, a name, and what
    an agent starts.
    """
    body = read_yaml(sweep.path)
    if seeds := body.pop("seeds", None):
        body["parameters"] = {**body["parameters"], "seed": {"values": list(seeds)}}
    command = ["${env}", "python", "-m", PROGRAM, sweep.name, "${args_json}"]
    defaults = {
        "name": sweep.name,
        "program": PROGRAM.replace(".", "/") + ".py",
        "command": command,
    }
    return {**defaults, **body}
