"""What an interruption of the orchestrator means for the jobs: cancelled only if a person asked."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from activeuf_dagster.run_launcher import NOTED
from tests.graph.services import DAGSTER, Services
from tests.slurm.rig import A, Rig
from tests.slurm.sandbox import SandboxCluster

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
DPO = ("dpo_model", "exp-a")
COMMAND = [
    DAGSTER, "asset", "materialize", "-m", "activeuf_dagster.definitions",
    "--select", "dpo_model", "--partition", "exp-a",
]  # fmt: skip


@pytest.fixture
def rig(tmp_path: Path, own_cluster: SandboxCluster, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A project with all that the DPO model reads; its training takes minutes."""
    (tmp_path / "project").mkdir()
    rig = Rig(tmp_path / "project", own_cluster)
    own_cluster.use(monkeypatch)
    for name, value in rig.variables.items():
        monkeypatch.setenv(name, value)
    Path(rig.variables["DAGSTER_HOME"]).mkdir()
    rig.run(A)
    rig.tell("300", DPO)
    return rig


@pytest.fixture
def services(rig: Rig, tmp_path: Path) -> Iterator[Services]:
    """A daemon and a code server with the project's definitions."""
    (tmp_path / "dagster").mkdir()
    found = Services(tmp_path / "dagster", ("-m", "activeuf_dagster.definitions"))
    try:
        found.start()
        yield found
    finally:
        found.close()


def wait_for_worker(rig: Rig) -> None:
    rig.cluster.wait_until(lambda: rig.workers(DPO), timeout_s=60)


def worker_of(services: Services, run_id: str) -> int:
    """Return the pid of the process that executes a run, from the run's own log."""
    said = [NOTED.search(entry.message) for entry in services.instance.all_logs(run_id)]
    return next(int(match[1]) for match in said if match)


def test_terminating_the_run_cancels_its_jobs(rig: Rig, services: Services) -> None:
    run_id = services.launch("training", "exp-a")
    wait_for_worker(rig)
    assert services.instance.run_launcher.terminate(run_id)
    services.wait_until(lambda: services.status(run_id) == "CANCELED")
    rig.cluster.wait_until(lambda: not rig.cluster.squeue())
    assert "CANCELLED" in {job.state for job in rig.cluster.jobs_seen()}


def test_a_killed_worker_is_retried_and_attaches_to_the_running_job(
    rig: Rig, services: Services
) -> None:
    run_id = services.launch("training", "exp-a")
    wait_for_worker(rig)
    before = rig.cluster.submissions()
    os.kill(worker_of(services, run_id), signal.SIGKILL)
    services.wait_until(lambda: services.instance.get_runs_count() == 2)
    retry = services.instance.get_runs(limit=1)[0]
    assert retry.parent_run_id == run_id
    services.wait_until(lambda: says(services, retry.run_id, "makes it already"))
    assert (rig.cluster.submissions(), len(rig.workers(DPO))) == (before, 1)


def says(services: Services, run_id: str, text: str) -> bool:
    """Whether a run's log holds a text."""
    return any(text in entry.message for entry in services.instance.all_logs(run_id))


def test_an_interrupted_command_names_the_jobs_that_go_on_and_the_next_attaches(
    rig: Rig,
) -> None:
    first = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for_worker(rig)
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=60)[0]
    assert "go on without this run" in said
    assert "activeuf jobs cancel" in said
    assert len(rig.cluster.squeue()) == 1

    second = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    rig.cluster.wait_until(lambda: "makes it already" in line_of(second), timeout_s=60)
    assert len(rig.workers(DPO)) == 1
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=60)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()
