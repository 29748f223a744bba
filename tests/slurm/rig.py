"""A small project whose jobs run on a private cluster, with a payload in place of every stage.

In: a folder and a cluster. Out: ways to run the graph's engine here or in a process that may be
killed, and the records of who worked on what. What comes before the asset under test is made at
once, without SLURM.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from activeuf_core.artifacts import ArtifactStore, Manifest
from activeuf_core.attempts import Attempts
from activeuf_core.launchers.slurm import SlurmLauncher
from activeuf_core.paths import PROJECT, Layout, RunFolder
from activeuf_core.recipes import Node
from activeuf_dagster.engine import Engine
from activeuf_dagster.events import Completed, Event, Failed
from activeuf_dagster.project import Project
from tests.fakes.launcher import InstantLauncher
from tests.graph.conftest import EXPERIMENT, write_small_project, write_yaml
from tests.slurm.sandbox import SandboxCluster, SeenJob

PAYLOAD = PROJECT / "tests" / "fakes" / "payload.py"
PATIENCE_S = 120.0
"""How long anything may take on a busy machine before a test gives up."""
GOOD_ENDS = (0, 130, -signal.SIGKILL)
"""How a driver may end: by itself, interrupted, killed."""
ASSET = "preference_dataset"
A: Node = (ASSET, "exp-a")
"""The artifact that tests make when they need one."""
BEFORE_IT = (
    *[("prompts", "tiny"), ("completions", "tiny--a"), ("completions", "tiny--b")],
    *[("annotations", "tiny--a"), ("annotations", "tiny--b")],
    *[("candidate_pool", "tiny"), ("features", "tiny")],
)


@dataclasses.dataclass(frozen=True)
class Worker:
    """One start of a payload on one artifact."""

    asset: str
    partition: str
    slurm_job_id: str
    restart: str
    pid: int


class Rig:
    """The project, the cluster, and what happens between them."""

    def __init__(self, folder: Path, cluster: SandboxCluster) -> None:
        """Write the project and make what comes before `ASSET`."""
        self.folder = write_small_project(folder)
        self.cluster = cluster
        self.behaviour = folder / "behaviour"
        self.behaviour.mkdir()
        self.layout = Layout(folder / "home")
        self.settings: dict[str, Any] = {}
        self.orchestrators: list[Orchestrator] = []
        self.configure()
        self._make_what_comes_before()

    # Before a run -----------------------------------------------------------------------------

    @property
    def variables(self) -> dict[str, str]:
        """What an orchestrator needs in its environment."""
        return {
            **self.cluster.variables,
            "ACTIVEUF_CONFIGS": str(self.folder / "configs"),
            "ACTIVEUF_HOME": str(self.layout.home),
            "ACTIVEUF_CLUSTER": "private",
            "ACTIVEUF_TRACKING": "none",
            "DAGSTER_HOME": str(self.folder / "dagster"),
            "ACTIVEUF_STAGE_PYTHON": str(PAYLOAD),
            "ACTIVEUF_BEHAVIOUR": str(self.behaviour),
        }

    def configure(self, **settings: Any) -> None:
        """Write the cluster file; `settings` replace or join those of before."""
        quick = {
            "launcher": "slurm",
            "slurm_partition": "normal",
            "python": sys.executable,
            "defaults": {"memory": "200M"},
            "light": {"memory": "200M", "time": "00:30:00"},
            "poll_s": 0.2,
            "poll_max_s": 1.0,
            "call_timeout_s": 8.0,
            "settle_s": 1.5,
            "lease_s": 4.0,
            "setup": [
                f"export ACTIVEUF_STAGE_PYTHON={PAYLOAD}",
                f"export ACTIVEUF_BEHAVIOUR={self.behaviour}",
            ],
        }
        self.settings = {**quick, **self.settings, **settings}
        write_yaml(self.folder / "configs" / "clusters" / "private.yaml", self.settings)

    def add_experiments(self, count: int) -> list[Node]:
        """Declare experiments; return the node of each."""
        folder = self.folder / "configs" / "experiments"
        for number in range(count):
            write_yaml(folder / f"n-{number:04d}.yaml", {**EXPERIMENT, "seed": number})
        return [(ASSET, f"n-{number:04d}") for number in range(count)]

    def tell(self, words: str, node: Node | None = None) -> None:
        """Say what the payload does: for one node, or for all that are told nothing else."""
        (self.behaviour / ("@".join(node) if node else "default")).write_text(words)

    def go(self) -> None:
        """Let payloads that were told `waits` go on."""
        (self.behaviour / "go").touch()

    # Runs -------------------------------------------------------------------------------------

    def launcher(self) -> SlurmLauncher:
        """Return a launcher of the private cluster, in this process."""
        found = Project.load().launchers().cluster
        assert isinstance(found, SlurmLauncher)
        return found

    def engine(self) -> Engine:
        """Return an engine in this process; it fails a test that takes for ever."""
        project = Project.load()
        launchers = project.launchers()
        engine = Engine(project.book(), launchers.cluster, launchers.orchestrator, poll_s=0.05)
        end = time.monotonic() + PATIENCE_S

        def look() -> None:
            assert time.monotonic() < end, "\n".join(self.cluster.squeue("--states=all"))

        engine.on_round = look
        return engine

    def run(self, *nodes: Node, until: Callable[[Event], object] | None = None) -> list[Event]:
        """Bring nodes up to date in this process, or go on until an event; return the events."""
        seen: list[Event] = []
        with contextlib.closing(self.engine().run(nodes or (A,))) as events:
            for event in events:
                seen.append(event)
                if until and until(event):
                    break
        return seen

    def orchestrator(
        self, *nodes: Node, crash: str = "", crash_with: str = "SIGKILL"
    ) -> Orchestrator:
        """Start a driver in a process of its own; it is killed when its block or the test ends.

        Args: crash: a place of `crash_points`; the driver gets the signal `crash_with` there.
        """
        words = ["@".join(node) for node in nodes or (A,)]
        command = [sys.executable, "-m", "tests.slurm.driver", *words]
        return Orchestrator(self, command, crash, crash_with)

    def close(self) -> None:
        """Kill the drivers that still run, and cancel the jobs that they left."""
        for one in self.orchestrators:
            one.kill()
        for token in self.tokens():
            self.cluster.run("scancel", f"--name={token}")

    # What happened ----------------------------------------------------------------------------

    @property
    def store(self) -> ArtifactStore:
        """The artifacts."""
        return ArtifactStore(self.layout)

    def fingerprint(self, node: Node) -> str:
        """Return the address of a node's artifact."""
        return Project.load().book().recipe(*node).fingerprint

    def manifest(self, node: Node = A) -> Manifest | None:
        """Return a node's manifest, None while it is not complete; every byte is checked."""
        return self.store.inspect(node[0], self.fingerprint(node), digests=True).manifest

    def is_complete(self, node: Node = A) -> bool:
        """Whether a node's artifact is there."""
        return self.manifest(node) is not None

    def attempts(self, node: Node = A) -> int:
        """Return how many attempts there were at a node."""
        return Attempts(self.layout).latest_number(node[0], self.fingerprint(node))

    def run_folder(self, node: Node = A) -> RunFolder:
        """Return the run folder of the newest attempt at a node."""
        attempt = Attempts(self.layout).latest(node[0], self.fingerprint(node))
        assert attempt is not None
        return RunFolder(self.layout.run(attempt.job_id))

    def workers(self, node: Node = A) -> list[Worker]:
        """Return every start of a payload on a node."""
        path = self.behaviour / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        found = [line.split() for line in lines]
        return [
            Worker(asset, partition, slurm_id, restart, int(pid))
            for asset, partition, slurm_id, restart, pid in found
            if (asset, partition) == node
        ]

    def tokens(self) -> list[str]:
        """Return the tokens of all submissions that were begun."""
        return sorted(os.listdir(self.layout.slurm)) if self.layout.slurm.exists() else []

    def jobs(self) -> list[SeenJob]:
        """Return the jobs on the cluster that are this project's."""
        tokens = set(self.tokens())
        return [job for job in self.cluster.jobs_seen() if job.name in tokens]

    def left_over(self) -> list[SeenJob]:
        """Return this project's jobs that still wait, run or end."""
        return [job for job in self.jobs() if job.state in ("PENDING", "RUNNING", "COMPLETING")]

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition, generously; no longer when an orchestrator broke."""

        def look() -> object:
            for one in self.orchestrators:
                assert one.process.poll() in (None, *GOOD_ENDS), one.errors
            return condition()

        self.cluster.wait_until(look, PATIENCE_S)

    def wait_for_worker(self, node: Node = A, count: int = 1) -> Worker:
        """Wait until a payload works on a node; return the newest."""
        self.wait_until(lambda: len(self.workers(node)) >= count)
        return self.workers(node)[-1]

    def _make_what_comes_before(self) -> None:
        with _environment(self.variables):
            project = Project.load()
            instant = InstantLauncher(self.layout)
            events = list(Engine(project.book(), instant, instant).run(BEFORE_IT))
        assert not [event for event in events if isinstance(event, Failed)]


class Orchestrator:
    """A driver's process, and what it has said so far."""

    def __init__(
        self, rig: Rig, command: list[str], crash: str = "", crash_with: str = "SIGKILL"
    ) -> None:
        """Start a command; `crash` names the place where it gets a signal, once."""
        self.rig = rig
        self.path = rig.folder / f"driver-{len(rig.orchestrators)}.log"
        rig.orchestrators.append(self)
        self.mark = rig.folder / "crashed"
        faults = {
            "ACTIVEUF_CRASH_AT": crash,
            "ACTIVEUF_CRASH_MARK": str(self.mark),
            "ACTIVEUF_CRASH_WITH": crash_with,
        }
        with self.path.open("w") as out, self.path.with_suffix(".err").open("w") as errors:
            self.process = subprocess.Popen(
                command,
                cwd=PROJECT,
                env=rig.cluster.environment | rig.variables | (faults if crash else {}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
            )

    def __enter__(self) -> Orchestrator:
        """Return itself: it lives for a block."""
        return self

    def __exit__(self, *problem: object) -> None:
        """Kill it."""
        self.kill()

    def events(self, *kinds: str) -> list[Mapping[str, Any]]:
        """Return what it told, of all kinds or of some."""
        lines = self.path.read_text().splitlines(keepends=True)
        told = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in told if not kinds or event["event"] in kinds]

    @property
    def errors(self) -> str:
        """What it logged."""
        return self.path.with_suffix(".err").read_text()

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.process.poll() is None

    def wait_for(self, kind: str) -> Mapping[str, Any]:
        """Wait for its first event of a kind."""
        self.rig.wait_until(lambda: self.events(kind) or not self.is_running)
        assert self.events(kind), self.errors
        return self.events(kind)[0]

    def wait(self) -> int:
        """Wait for its end; return the exit code, negative for a signal."""
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            queue = "\n".join(self.rig.cluster.squeue("--states=all"))
            raise AssertionError(f"it goes on and on:\n{self.errors}\n{queue}") from None

    def send(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def thaw(self) -> None:
        """Let it go on after a SIGSTOP."""
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it where it stands, if it still runs."""
        if self.is_running:
            self.process.kill()
        assert self.process.wait() in GOOD_ENDS, self.errors


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has reaped yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def completed(events: Sequence[Event]) -> set[Node]:
    """Return the nodes that events tell are complete."""
    return {event.recipe.node for event in events if isinstance(event, Completed)}


def failures(events: Sequence[Event]) -> dict[Node, Failed]:
    """Return what failed, by node."""
    return {event.node: event for event in events if isinstance(event, Failed)}


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
