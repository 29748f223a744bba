"""Materializes nodes through Dagster in this process, as `activeuf materialize` does.

In: the project and instance that the environment names. Out: a JSON line per node that is fresh at
the end: complete in the store, and recorded under this fingerprint.
Command: `python -m tests.chaos.dagster_driver ASSET@PARTITION…`
"""

from __future__ import annotations

import json
import logging
import sys

import dagster as dg

from activeuf_dagster.code_location import build
from activeuf_dagster.foreground import run_wave, waves
from activeuf_dagster.instance import ensure_instance
from activeuf_dagster.planning import statuses
from activeuf_dagster.project import Project


def main() -> int:
    """Bring the named nodes up to date."""
    logging.basicConfig(level=logging.WARNING, format="%(relativeCreated)d %(name)s %(message)s")
    for name in ("activeuf.engine", "activeuf.slurm"):
        logging.getLogger(name).setLevel(logging.INFO)
    nodes = [(asset, partition) for asset, _, partition in (w.partition("@") for w in sys.argv[1:])]
    project = Project.load()
    ensure_instance(project.layout)
    definitions = build(project)
    with dg.DagsterInstance.get() as instance:
        done = [run_wave(definitions, instance, wave) for wave in waves(nodes, project)]
        for node, status in statuses(instance, project.book(), nodes).items():
            event = "Completed" if status.is_fresh else "Stale"
            line = {"event": event, "node": "@".join(node), "reason": status.reason}
            sys.stdout.write(json.dumps(line) + "\n")
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
