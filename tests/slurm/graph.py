"""The small project on a private cluster: real SLURM, and the payload for every stage."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from activeuf_core.recipes import Node
from activeuf_dagster.engine import Engine
from activeuf_dagster.events import Completed, Event
from activeuf_dagster.planning import closure
from activeuf_dagster.project import Project
from tests.fakes import payload
from tests.graph.conftest import write_small_project, write_yaml
from tests.slurm.sandbox import SandboxCluster

PAYLOAD = Path(payload.__file__)


class SlurmGraph:
    """A project in `folder` whose jobs run on `cluster`; the environment points to both."""

    def __init__(
        self,
        folder: Path,
        cluster: SandboxCluster,
        monkeypatch: pytest.MonkeyPatch,
        **settings: object,
    ) -> None:
        """Args: settings: keys of the cluster file, over the ones for quick tests."""
        self.folder = folder
        self.cluster = cluster
        self.behaviour = folder / "behaviour"
        self.behaviour.mkdir(parents=True)
        write_small_project(folder)
        write_yaml(folder / "configs" / "clusters" / "test.yaml", {**self._quick(), **settings})
        cluster.use(monkeypatch)
        monkeypatch.setenv("ACTIVEUF_CONFIGS", str(folder / "configs"))
        monkeypatch.setenv("ACTIVEUF_HOME", str(folder / "home"))
        monkeypatch.setenv("ACTIVEUF_CLUSTER", "test")
        monkeypatch.setenv("ACTIVEUF_TRACKING", "none")
        monkeypatch.setenv("ACTIVEUF_STAGE_PYTHON", str(PAYLOAD))
        monkeypatch.setenv("ACTIVEUF_BEHAVIOUR", str(self.behaviour))
        self.project = Project.load()

    def _quick(self) -> dict[str, object]:
        """Return a cluster file for tests: little memory, short times."""
        variables = {"ACTIVEUF_STAGE_PYTHON": PAYLOAD, "ACTIVEUF_BEHAVIOUR": self.behaviour}
        return {
            "launcher": "slurm",
            "slurm_partition": "normal",
            "defaults": {"memory": "200M"},
            "light": {"memory": "200M"},
            "setup": [f"export {name}={shlex.quote(str(v))}" for name, v in variables.items()],
            "poll_s": 0.3,
            "poll_max_s": 2.0,
            "call_timeout_s": 5.0,
            "settle_s": 2.0,
            "lease_s": 5.0,
        }

    def tell(self, asset: str, partition: str, words: str) -> None:
        """Tell the payload what to do for a node."""
        (self.behaviour / f"{asset}@{partition}").write_text(words)

    def make(self, *nodes: Node, with_inputs: bool = False) -> list[Event]:
        """Bring nodes up to date in this process; return what happened."""
        book = self.project.book()
        wanted: Sequence[Node] = closure(book, nodes) if with_inputs else nodes
        launchers = self.project.launchers()
        engine = Engine(book, launchers.cluster, launchers.orchestrator)
        return list(engine.run(wanted))

    def make_inputs(self, node: Node) -> None:
        """Bring what a node reads up to date."""
        for above in self.project.book().upstream(*node):
            events = self.make(above, with_inputs=True)
            assert all(not hasattr(event, "failure") for event in events), events

    def is_complete(self, node: Node) -> bool:
        """Whether a node's artifact is complete."""
        book = self.project.book()
        recipe = book.recipe(*node)
        return book.store.inspect(recipe.asset, recipe.fingerprint).is_complete

    def workers(self, asset: str, partition: str) -> list[str]:
        """Return a line per process that began to work on a node."""
        path = self.behaviour / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(f"{asset} {partition} ")]


def completed(events: Sequence[Event]) -> dict[Node, bool]:
    """Return the nodes that were completed, and whether each was adopted."""
    return {e.recipe.node: e.is_adopted for e in events if isinstance(e, Completed)}
