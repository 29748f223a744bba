"""What commands that make something in the foreground say on a terminal."""

from __future__ import annotations

import logging

from rich.console import Console

from activeuf_core.slurm.overview import gather
from activeuf_dagster.project import Project


def show_progress(console: Console, total: int) -> None:
    """Print the engine's events as they come: the time since the start, how many are done, what
    happened.
    """
    from activeuf_dagster.progress import ProgressLines

    engine_log = logging.getLogger("activeuf.engine")
    engine_log.setLevel(logging.INFO)
    engine_log.propagate = False
    engine_log.handlers = [ProgressLines(console, total)]


def what_an_interruption_left(project: Project) -> str:
    """Return what became of the jobs of an interrupted command."""
    going_on = len(gather(project.layout))
    here = "Interrupted: stages on this machine were ended, what is complete stays."
    if not going_on:
        return f"{here} The same command goes on."
    return (
        f"{here} Jobs on a cluster go on: {going_on}. The same command attaches to them; "
        "`activeuf jobs` shows them, `activeuf jobs cancel --all` ends them."
    )
