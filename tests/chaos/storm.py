"""Random mode: several faults in a row while one materialization after the other tries to end.

In: a seed. It chooses what strikes and when, so that a storm that broke a promise can be played
again; how the machine's processes interleave, no seed decides. Out: a cell like any other.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.chaos.cells import Cell
from tests.chaos.world import LEASE_S, Orchestrator, World

ACTOR = "storm"
LIMIT_S = 400.0
STRIKES = (3, 6)
PAUSE_S = (0.1, 2.5)
ROUNDS = 6
"""Materializations that may be needed afterwards: a person tries again what was given up."""
PLACES = ("after-attempt", "after-intent", "before-sbatch", "after-sbatch", "after-id", "")
TASK_PLACES = ("mid-write", "mid-checkpoint", "before-result", "before-manifest", "after-rename")
SBATCH_LIES = (
    "once; kill -9 $$",
    'once; sbatch "$@" > /dev/null; kill -9 $$',
    'once; sbatch "$@" > /dev/null; exit 0',
    'once; sbatch "$@" > /dev/null; echo 987654; exit 0',
    'once; sbatch "$@" > /dev/null; echo "sbatch: error: no" >&2; exit 1',
)


@dataclass
class Storm:
    """One world, one stream of choices."""

    world: World
    choose: random.Random
    current: Orchestrator
    frozen: list[Orchestrator] = field(default_factory=list)

    def strike(self) -> None:
        """Let one fault strike, and write down which."""
        fault = self.choose.choice(FAULTS)
        if fault(self):
            self.world.fired(fault.__name__.replace("_", " "))
        time.sleep(self.choose.uniform(*PAUSE_S))
        if not self.current.is_running():
            self.current = self.world.start(crash=self.choose.choice(PLACES))
            self.world.mark.unlink(missing_ok=True)


def storm(seed: str) -> Cell:
    """Return the cell of a seed."""
    return Cell(ACTOR, f"seed {seed}", lambda world: play(world, seed), True, limit_s=LIMIT_S)


def play(world: World, seed: str) -> None:
    """Let some faults strike, then let everything be in order again, and materialize to the end."""
    choose = random.Random(seed)
    world.configure(slurm_partition="requeue")
    world.tell(f"{choose.uniform(0.5, 3):.1f} checkpoints")
    if choose.random() < 0.3:
        world.crash_task(choose.choice(TASK_PLACES))
    weather = Storm(world, choose, world.start())
    for _ in range(choose.randint(*STRIKES)):
        weather.strike()
    _calm(weather)
    for _ in range(ROUNDS):
        if weather.current.is_running() or weather.current.completed() != set(world.nodes):
            _finish(weather)
    world.expect_success(weather.current)
    if not world.proofs:
        world.fired("nothing found to strike")


def _calm(weather: Storm) -> None:
    """Put everything in order."""
    world = weather.world
    for command in ("sbatch", "squeue"):
        if (world.commands.folder / f"{command}.fault").exists():
            world.commands.mend(command)
    world.cluster.start()
    for one in weather.frozen:
        one.send(signal.SIGCONT)


def _finish(weather: Storm) -> None:
    """Wait for the end of an orchestrator, letting what was put back start; or start another."""
    world = weather.world
    if not weather.current.is_running():
        weather.current = world.start()

    def has_ended() -> bool:
        world.hurry()
        return not weather.current.is_running()

    world.until(has_ended, "the orchestrator ends by itself", LIMIT_S)


# Faults: each returns whether there was something to strike ----------------------------------


def orchestrator_killed(weather: Storm) -> bool:
    """SIGKILL."""
    if not weather.current.is_running():
        return False
    weather.current.kill()
    return True


def orchestrator_frozen(weather: Storm) -> bool:
    """SIGSTOP past the lease; another starts, the first thaws at some later time."""
    if not weather.current.is_running():
        return False
    weather.current.send(signal.SIGSTOP)
    weather.frozen.append(weather.current)
    weather.current = weather.world.start()
    if weather.choose.random() < 0.5:
        time.sleep(LEASE_S)
        weather.frozen[-1].send(signal.SIGCONT)
    return True


def second_orchestrator(weather: Storm) -> bool:
    """Another on the same nodes."""
    weather.current = weather.world.start()
    return True


def controller_killed(weather: Storm) -> bool:
    """SIGKILL for slurmctld, back after a while."""
    weather.world.cluster.kill("slurmctld")
    time.sleep(weather.choose.uniform(0, 3))
    weather.world.cluster.start()
    return True


def controller_frozen(weather: Storm) -> bool:
    """SIGSTOP for slurmctld, longer or shorter than its clients wait."""
    with weather.world.cluster.frozen():
        time.sleep(weather.choose.uniform(0.5, 6))
    return True


def stage_killed(weather: Storm) -> bool:
    """SIGKILL for a stage."""
    return _kill_worker(weather, of_wrapper=False)


def wrapper_killed(weather: Storm) -> bool:
    """SIGKILL for a task wrapper."""
    return _kill_worker(weather, of_wrapper=True)


def node_lost(weather: Storm) -> bool:
    """A slurmd dies and its node is given up, while its processes live."""
    world = weather.world
    world.cluster.lose_node(weather.choose.choice(world.cluster.nodes))
    time.sleep(weather.choose.uniform(0, 2))
    world.hurry()
    time.sleep(weather.choose.uniform(0, 2))
    world.cluster.start()
    return True


def node_down(weather: Storm) -> bool:
    """A node is declared down; it comes back and its jobs' processes are killed."""
    node = weather.choose.choice(weather.world.cluster.nodes)
    weather.world.cluster.down_node(node)
    weather.world.cluster.resume_node(node)
    return True


def preempted(weather: Storm) -> bool:
    """A job of higher priority takes all nodes for a second."""
    weather.world.cluster.submit("--exclusive", "-N2", "--wrap", "sleep 1")
    return True


def queue_empty(weather: Storm) -> bool:
    """squeue shows nothing for some seconds."""
    weather.world.commands.disturb("squeue", "fired; exit 0")
    time.sleep(weather.choose.uniform(0.5, 4))
    weather.world.commands.mend("squeue")
    return True


def queue_slow(weather: Storm) -> bool:
    """squeue does not answer in time, once."""
    weather.world.commands.disturb("squeue", "once; sleep 8")
    return True


def sbatch_lies(weather: Storm) -> bool:
    """sbatch dies or answers nonsense, once."""
    weather.world.commands.disturb("sbatch", weather.choose.choice(SBATCH_LIES))
    return True


def _kill_worker(weather: Storm, *, of_wrapper: bool) -> bool:
    """Kill a process that works now."""
    alive = [note for note in weather.world.journal("begin") if _parent(int(note["pid"]))]
    if not alive:
        return False
    pid = int(weather.choose.choice(alive)["pid"])
    target = _parent(pid) if of_wrapper else pid
    if target > 1:
        try:
            os.kill(target, signal.SIGKILL)
        except ProcessLookupError:
            return False
    return target > 1


def _parent(pid: int) -> int:
    """Return the parent of a payload's process, 0 when it is gone or its pid is another's."""
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            is_ours = "payload" in file.read()
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[1]) if is_ours and fields[0] not in "ZX" else 0


Fault = Callable[[Storm], bool]
FAULTS: tuple[Fault, ...] = (
    orchestrator_killed,
    orchestrator_frozen,
    second_orchestrator,
    controller_killed,
    controller_frozen,
    stage_killed,
    wrapper_killed,
    node_lost,
    node_down,
    preempted,
    queue_empty,
    queue_slow,
    sbatch_lies,
)
