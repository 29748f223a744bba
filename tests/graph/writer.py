"""One of several processes that write to an instance: `python -m tests.graph.writer EXPERIMENT`."""

from __future__ import annotations

import sys

import dagster as dg

from activeuf_dagster.code_location import build
from activeuf_dagster.foreground import run_wave, waves
from activeuf_dagster.planning import nodes_of, statuses
from activeuf_dagster.project import Project
from tests.fakes.launcher import instant_launchers


def main(experiment: str) -> int:
    """Bring one experiment up to date with artifacts that are made at once; 0 when all of it is."""
    Project.launchers = instant_launchers
    project = Project.load()
    book = project.book()
    with dg.DagsterInstance.get() as instance:
        found = statuses(instance, book, nodes_of(book, [experiment]))
        todo = [node for node, one in found.items() if not one.is_fresh]
        done = [run_wave(build(project), instance, wave) for wave in waves(todo, project)]
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
