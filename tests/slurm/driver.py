"""An orchestrator in a process of its own, for tests to kill, freeze and interrupt.

In: the small project and cluster that the environment names. Out: one JSON line per event, and a
last one with the jobs that go on without it.
Command: `python -m tests.slurm.driver ASSET@PARTITION…`
"""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import sys
from types import FrameType
from typing import Any

from activeuf_dagster.engine import Engine
from activeuf_dagster.events import Completed, Event, Failed
from activeuf_dagster.project import Project


def main() -> int:
    """Bring the named nodes up to date."""
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)d %(name)s %(message)s")
    signal.signal(signal.SIGTERM, interrupt)
    nodes = [(asset, partition) for asset, _, partition in (w.partition("@") for w in sys.argv[1:])]
    project = Project.load()
    launchers = project.launchers()
    engine = Engine(project.book(), launchers.cluster, launchers.orchestrator)
    say("Began")
    try:
        with contextlib.closing(engine.run(nodes)) as events:
            for event in events:
                say(type(event).__name__, **shown(event))
    except KeyboardInterrupt:
        return 130
    finally:
        say("Ended", left_behind=engine.left_behind)
    return 0


def shown(event: Event) -> dict[str, Any]:
    """Return what tests look at."""
    if isinstance(event, Completed):
        return {"node": "@".join(event.recipe.node), "is_adopted": event.is_adopted}
    if isinstance(event, Failed):
        return {"node": "@".join(event.node), **vars(event.failure)}
    return {name: value for name, value in vars(event).items() if isinstance(value, str)}


def say(event: str, **facts: Any) -> None:
    """Print one line, at once."""
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


def interrupt(number: int, frame: FrameType | None) -> None:
    """Leave as after Ctrl-C."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
