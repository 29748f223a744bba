"""One private world per cell: a small project, a cluster, commands that may lie, orchestrators.

In: a folder and a cluster. Out: ways to start, kill, freeze and await orchestrators, to tell the
payload what to do, and to prove that a fault fired. Every wait has a limit, and the cell as a whole
has one.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from activeuf_core.paths import PROJECT
from activeuf_core.recipes import Node
from tests.chaos.commands import Commands
from tests.slurm.rig import ASSET, Rig
from tests.slurm.sandbox import SandboxCluster

PAYLOAD = Path(__file__).with_name("payload.py")
LEASE_S, SETTLE_S = 4.0, 2.0
A, B = (ASSET, "exp-a"), (ASSET, "exp-b")
AFTER_A: Node = ("dpo_model", "exp-a")
NODES = (A, B, AFTER_A)
"""What every cell makes: an array of two, and then what reads one of them."""


class ChaosError(AssertionError):
    """A cell did not go as it should have: the fault did not fire, or a promise was broken."""


class Skipped(Exception):
    """A cell cannot run on this machine, with the reason."""


class World(Rig):
    """What one cell plays in."""

    def __init__(self, folder: Path, cluster: SandboxCluster, limit_s: float = 240.0) -> None:
        self.commands = Commands(folder / "commands")
        self.ends = time.monotonic() + limit_s
        self.proofs: list[str] = []
        self.orchestrators: list[Orchestrator] = []
        self.nodes: tuple[Node, ...] = NODES
        self._addresses: dict[Node, str] = {}
        super().__init__(folder, cluster)
        self.at_task = folder / "at-task.sh"
        self.mark = folder / "crashed"
        at_task = shlex.quote(str(self.at_task))
        self.configure(
            lease_s=LEASE_S,
            settle_s=SETTLE_S,
            call_timeout_s=5.0,
            setup=[
                f"export ACTIVEUF_STAGE_PYTHON={shlex.quote(str(PAYLOAD))}",
                f"export ACTIVEUF_BEHAVIOUR={shlex.quote(str(self.behaviour))}",
                f"[[ ! -e {at_task} ]] || . {at_task}",
            ],
        )
        self.tell("0.5")

    @property
    def variables(self) -> dict[str, str]:
        """What an orchestrator needs in its environment."""
        path = self.cluster.environment["PATH"]
        return {
            **super().variables,
            "PATH": f"{self.commands.folder}:{path}",
            "ACTIVEUF_STAGE_PYTHON": str(PAYLOAD),
            "DAGSTER_HOME": str(self.folder / "dagster"),
            "ACTIVEUF_TRACKING": "none",
            "DAGSTER_DISABLE_TELEMETRY": "yes",
        }

    def fingerprint(self, node: Node) -> str:
        """Return the address of a node's artifact."""
        if node not in self._addresses:
            with mock.patch.dict(os.environ, self.variables):
                self._addresses[node] = super().fingerprint(node)
        return self._addresses[node]

    def let_work_end(self) -> None:
        """Let payloads that wait go on."""
        (self.behaviour / "go").touch()

    def crash_task(self, place: str) -> None:
        """Let the first task that reaches a place be killed there."""
        faults = {"ACTIVEUF_CRASH_AT": place, "ACTIVEUF_CRASH_MARK": str(self.mark)}
        lines = [f"export {name}={shlex.quote(value)}" for name, value in faults.items()]
        self.at_task.write_text("\n".join(lines) + "\n")

    # Orchestrators ----------------------------------------------------------------------------

    def start(
        self,
        *nodes: Node,
        crash: str = "",
        freeze: str = "",
        with_dagster: bool = False,
    ) -> Orchestrator:
        """Start an orchestrator; `crash` or `freeze` names the place where that happens to it."""
        variables = self.variables
        if crash or freeze:
            variables |= {
                "ACTIVEUF_CRASH_AT": crash or freeze,
                "ACTIVEUF_CRASH_MARK": str(self.mark),
            }
        if freeze:
            variables["ACTIVEUF_CRASH_WITH"] = "SIGSTOP"
        module = "tests.chaos.dagster_driver" if with_dagster else "tests.slurm.driver"
        found = Orchestrator(self, module, nodes or self.nodes, variables)
        self.orchestrators.append(found)
        return found

    def finish(self, *nodes: Node, with_dagster: bool = False) -> Orchestrator:
        """Materialize again, now without faults; it must complete everything."""
        last = self.start(*nodes, with_dagster=with_dagster)
        self.expect_success(last)
        return last

    def expect_success(self, orchestrator: Orchestrator) -> None:
        """Wait for an orchestrator's end; it must have completed all of its nodes."""
        code = orchestrator.wait()
        missing = set(orchestrator.nodes) - orchestrator.completed()
        if code or missing:
            raise ChaosError(f"exit {code}, not complete: {sorted(missing)}; {orchestrator.end()}")

    def expect_crash(self, orchestrator: Orchestrator, place: str) -> None:
        """Wait until an orchestrator was killed at a place."""
        code = orchestrator.wait()
        if code != -signal.SIGKILL or not self.mark.exists():
            raise ChaosError(f"{place} was not reached: exit {code}; {orchestrator.end()}")
        self.fired(f"mark file of {place}")

    # Waiting and proving ----------------------------------------------------------------------

    def until(self, condition: Callable[[], object], what: str, limit_s: float = 120.0) -> None:
        """Wait for a condition. Raises: ChaosError after its limit, or after the cell's."""
        end = min(time.monotonic() + limit_s, self.ends)
        while not condition():
            if time.monotonic() > end:
                last = self.orchestrators[-1].end() if self.orchestrators else ""
                raise ChaosError(f"not in {limit_s:g} s: {what}; {last}")
            time.sleep(0.05)

    def fired(self, proof: str) -> None:
        """Write down what proves that the fault struck."""
        self.proofs.append(proof)

    def prove(self, condition: object, proof: str) -> None:
        """Demand a proof. Raises: ChaosError when the fault did not strike."""
        if not condition:
            raise ChaosError(f"the fault did not fire: no {proof}")
        self.fired(proof)

    def demand(self, condition: object, what: str) -> None:
        """Demand what a cell promises beyond the invariants. Raises: ChaosError."""
        if not condition:
            last = self.orchestrators[-1].end() if self.orchestrators else ""
            raise ChaosError(f"{what}; {last}")

    def demand_reason(self, *words: str) -> None:
        """Demand that an orchestrator told people why. Raises: ChaosError."""
        told = "\n".join(one.told() for one in self.orchestrators)
        for word in words:
            if word not in told:
                raise ChaosError(f"nobody was told {word!r}; {self.orchestrators[-1].end()}")

    def demand_single_work(self) -> None:
        """Demand that no node was begun twice. Raises: ChaosError."""
        for node in self.nodes:
            begun = len(self.begins(node))
            if begun != 1:
                raise ChaosError(f"{'@'.join(node)} was begun {begun} times")

    # What the payload noted -------------------------------------------------------------------

    def journal(self, *what: str) -> list[dict[str, Any]]:
        """Return the payload's lines, of all kinds or of some."""
        path = self.behaviour / "journal"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        notes = [json.loads(line) for line in lines if line.endswith("\n")]
        return [note for note in notes if not what or note["what"] in what]

    def begins(self, node: Node = A) -> list[dict[str, Any]]:
        """Return the starts of a node's work."""
        return [note for note in self.journal("begin") if note["node"] == "@".join(node)]

    def await_work(self, node: Node = A, count: int = 1) -> dict[str, Any]:
        """Wait until a payload works on a node; return what it noted."""
        self.until(lambda: len(self.begins(node)) >= count, f"start {count} of {node}")
        return self.begins(node)[-1]

    # The cluster ------------------------------------------------------------------------------

    def is_held_back(self, slurm_job_id: str) -> bool:
        """Let a job that was put back start now; return whether it still waits."""
        if self.cluster.state(slurm_job_id) != "PENDING":
            return False
        self.cluster.run("scontrol", "update", f"job={slurm_job_id}", "StartTime=now")
        time.sleep(0.3)
        return True

    def hurry(self) -> None:
        """Let jobs start that SLURM holds back after a requeue, for their credentials to expire."""
        shown = self.cluster.run("squeue", "-h", "-t", "PD", "-o", "%i|%r", timeout_s=20).stdout
        for line in shown.splitlines():
            job, _, reason = line.partition("|")
            if reason == "BeginTime":
                self.cluster.run("scontrol", "update", f"job={job}", "StartTime=now", timeout_s=20)

    def make_what_comes_before(self) -> None:
        """Make the inputs of the nodes anew, for a home that was replaced."""
        self._make_what_comes_before()

    def was_cancelled(self) -> bool:
        """Whether a job of ours was cancelled."""
        return any(job.state.startswith("CANCELLED") for job in self.jobs())

    def run_tool(self, *command: str) -> None:
        """Run a command of this machine; it must succeed."""
        subprocess.run(command, check=True, capture_output=True, timeout=30)

    def close(self) -> None:
        """End every process of the world."""
        for one in self.orchestrators:
            one.kill()


class Orchestrator:
    """A driver's process, and what it has said so far."""

    def __init__(
        self, world: World, module: str, nodes: tuple[Node, ...], variables: Mapping[str, str]
    ) -> None:
        self.world = world
        self.nodes = nodes
        number = len(world.orchestrators)
        self.path = world.folder / f"orchestrator-{number}.log"
        self.errors = self.path.with_suffix(".err")
        with self.path.open("w") as out, self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *("@".join(node) for node in nodes)],
                cwd=PROJECT,
                env=world.cluster.environment | dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
            )

    def events(self, *kinds: str) -> list[Mapping[str, Any]]:
        """Return what it told, of all kinds or of some."""
        lines = self.path.read_text().splitlines(keepends=True)
        told = [json.loads(line) for line in lines if line.endswith("\n") and line[0] == "{"]
        return [event for event in told if not kinds or event["event"] in kinds]

    def completed(self) -> set[Node]:
        """Return the nodes that it told are complete."""
        words = [str(event["node"]).partition("@") for event in self.events("Completed")]
        return {(asset, partition) for asset, _, partition in words}

    def told(self) -> str:
        """Return all that people could read."""
        return self.path.read_text() + self.errors.read_text()

    def end(self, lines: int = 6) -> str:
        """Return the last that it said, on one line."""
        return " / ".join(self.told().splitlines()[-lines:])[-900:]

    def is_running(self) -> bool:
        """Whether it has not ended (it may be frozen)."""
        return self.process.poll() is None

    def wait(self) -> int:
        """Wait for its end; return the exit code. Raises: ChaosError when it does not end."""
        self.world.until(lambda: not self.is_running(), "the orchestrator ends by itself", 240)
        return int(self.process.returncode)

    def await_event(self, kind: str) -> Mapping[str, Any]:
        """Wait for its first event of a kind."""
        self.world.until(lambda: self.events(kind) or not self.is_running(), f"event {kind}")
        if not self.events(kind):
            raise ChaosError(f"it ended without {kind}: {self.end()}")
        return self.events(kind)[0]

    def is_frozen(self) -> bool:
        """Whether the process is stopped."""
        try:
            text = Path(f"/proc/{self.process.pid}/stat").read_text()
        except OSError:
            return False
        return text.rpartition(")")[2].split()[0] == "T"

    def await_freeze(self) -> None:
        """Wait until it stands still."""
        self.world.until(self.is_frozen, "the orchestrator is frozen")

    def send(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """Kill it where it stands, if it still runs."""
        if self.is_running():
            self.process.kill()
            self.process.wait(10)
