"""Dagster's processes die, its database is locked or gone, its code does not load."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from activeuf_dagster.run_launcher import NOTED
from tests.chaos.cells import cell, cells_for
from tests.chaos.world import A, B, World
from tests.graph.services import Services

ACTOR = "Dagster"
LOCKED_S = 6.0


@cells_for(ACTOR, "run killed at {}", ("before-event", "after-completion", "after-id"))
def run_killed(world: World, place: str) -> None:
    """What was made is recorded by the next run, and made by nobody else."""
    world.nodes = (A, B)
    world.expect_crash(world.start(crash=place, with_dagster=True), place)
    world.finish(with_dagster=True)
    world.demand_single_work()


@cell(ACTOR, "database deleted, then everything materialized again", is_quick=True)
def without_database(world: World) -> None:
    """Everything is adopted and recorded; nothing is submitted."""
    world.nodes = (A, B)
    world.finish(with_dagster=True)
    calls = world.commands.calls("sbatch")
    shutil.rmtree(world.folder / "dagster")
    world.prove(calls and not (world.folder / "dagster").exists(), "database gone")
    world.finish(with_dagster=True)
    world.demand(world.commands.calls("sbatch") == calls, "something was submitted again")
    world.demand_single_work()


@cell(ACTOR, "SQLite locked for some seconds while the jobs end")
def locked(world: World) -> None:
    """The run waits, or fails with its jobs left alone; nothing is made twice."""
    world.nodes = (A, B)
    world.tell("1.5")
    first = world.start(with_dagster=True)
    world.await_work()
    with _locked(world.folder / "dagster"):
        world.fired("exclusive lock held")
        time.sleep(LOCKED_S)
    first.wait()
    world.finish(with_dagster=True)
    world.demand_single_work()


@cell(ACTOR, "run worker killed; run monitoring retries", limit_s=300)
def worker_killed(world: World) -> None:
    """The retry attaches to the jobs that still run."""
    world.nodes = (A,)
    world.tell("6")
    with _services(world) as services:
        run_id = services.launch("loop", A[1])
        world.await_work()
        os.kill(_worker_of(services, run_id), signal.SIGKILL)
        world.until(lambda: services.instance.get_runs_count() == 2, "a retry of the run")
        world.fired("a second run")
        retry = services.instance.get_runs(limit=1)[0].run_id
        world.until(lambda: services.status(retry) == "SUCCESS", "the retry succeeds")
    world.demand_single_work()


@cell(ACTOR, "code location fails to load while a run works", limit_s=300)
def code_broken(world: World) -> None:
    """The run is none of its business: jobs go on, and nothing is cancelled."""
    world.nodes = (A,)
    world.tell("6")
    broken = world.folder / "configs" / "experiments" / "broken.yaml"
    with _services(world) as services:
        services.backfill("loop", A[1])
        world.await_work()
        broken.write_text("dataset: [")
        services.kill("code")
        services.spawn_code_server()
        world.until(lambda: "broken.yaml" in services.said("code"), "the load error")
        world.fired("load error in the code server's log")
        time.sleep(3)
        broken.unlink()
        world.until(world.is_complete, "the job's artifact")
    world.finish(with_dagster=True)
    world.demand_single_work()
    world.demand(not world.was_cancelled(), "a job was cancelled")


@cell(ACTOR, "daemon killed in the middle of a backfill", limit_s=300)
def daemon_killed(world: World) -> None:
    """The next daemon goes on with it."""
    world.nodes = (A, B)
    world.tell("3")
    with _services(world) as services:
        services.backfill("loop", A[1], B[1])
        world.await_work()
        services.kill("daemon")
        world.fired("death of the daemon")
        time.sleep(1)
        services.start_daemon()
        world.until(lambda: world.is_complete(A) and world.is_complete(B), "both artifacts")
        world.until(lambda: services.is_quiet(), "all runs ended")
    world.finish(with_dagster=True)
    world.demand_single_work()


class _ChaosServices(Services):
    """A code server and a daemon with the project's definitions, in a world's environment."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.variables = variables
        super().__init__(folder, ("-m", "activeuf_dagster.definitions"))

    def spawn_code_server(self) -> None:
        """Start the code server without waiting for it."""
        self.socket.unlink(missing_ok=True)
        from tests.graph.services import DAGSTER

        options = ("--socket", str(self.socket), *self.target, "--location-name", "waiting")
        self._spawn("code", DAGSTER, "api", "grpc", *options)

    def start_daemon(self) -> None:
        """Start the daemon alone."""
        from tests.graph.services import DAEMON

        self._spawn("daemon", DAEMON, "run", "--workspace", str(self.workspace))

    def backfill(self, job: str, *partitions: str) -> None:
        """Ask for a backfill of a job."""
        import subprocess

        from tests.graph.services import DAGSTER

        place = ("-w", str(self.workspace), "-l", "waiting")
        what = ("-j", job, "--partitions", ",".join(partitions), "--noprompt")
        command = [DAGSTER, "job", "backfill", *place, *what]
        subprocess.run(
            command, env=self._environment(), check=True, capture_output=True, timeout=60
        )

    def is_quiet(self) -> bool:
        """Whether every run has ended."""
        runs = self.instance.get_runs()
        return bool(runs) and all(run.is_finished for run in runs)

    def said(self, name: str) -> str:
        """Return a service's log."""
        return (self.folder / f"{name}.log").read_text()

    def _environment(self) -> dict[str, str]:
        return super()._environment() | self.variables | {"DAGSTER_HOME": str(self.home)}


@contextmanager
def _services(world: World) -> Iterator[_ChaosServices]:
    folder = world.folder / "services"
    folder.mkdir()
    services = _ChaosServices(folder, world.cluster.environment | world.variables)
    try:
        services.start()
        yield services
    finally:
        services.close()


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Hold every database of an instance; nobody can write to it."""
    with ExitStack() as stack:
        for path in home.rglob("*.db"):
            connection = stack.enter_context(closing(sqlite3.connect(path, timeout=5)))
            connection.execute("BEGIN EXCLUSIVE")
        yield


def _worker_of(services: Services, run_id: str) -> int:
    """Return the pid of the process that executes a run, from the run's own log."""
    said = [NOTED.search(entry.message) for entry in services.instance.all_logs(run_id)]
    return next(int(match[1]) for match in said if match)
