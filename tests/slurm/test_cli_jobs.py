"""`activeuf jobs` on a private cluster: what is shown, and cancelling with and without an owner."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from activeuf_core.errors import ConfigError
from activeuf_dagster.cli import app
from tests.slurm.rig import A, Rig

pytestmark = pytest.mark.slurm
LABEL = "preference_dataset[exp-a]"


def activeuf(*words: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, words)


def shown() -> list[dict[str, Any]]:
    """Return the jobs that `activeuf jobs --json` lists."""
    return json.loads(activeuf("jobs", "--json").stdout)["jobs"]


def left_running(rig: Rig) -> str:
    """Start a job that never ends, kill its orchestrator; return our id of the job."""
    rig.tell("hangs")
    with rig.orchestrator():
        rig.wait_for_worker()
    return shown()[0]["job_id"]


def test_nothing_in_flight(rig: Rig) -> None:
    assert "No job of this home" in activeuf("jobs").output
    assert "no job to cancel" in activeuf("jobs", "cancel", "--all").output


def test_a_running_job_and_its_orchestrator_are_shown(rig: Rig) -> None:
    rig.tell("hangs")
    with rig.orchestrator() as first:
        worker = rig.wait_for_worker()
        rig.wait_until(lambda: shown()[0]["state"] == "RUNNING")
        job = shown()[0]
        assert (job["artifacts"], job["slurm_id"]) == ([LABEL], worker.slurm_job_id)
        assert job["nodes"] in rig.cluster.nodes
        assert job["orchestrator"].endswith(f":{first.process.pid}")
        text = activeuf("jobs").output
        assert f"{LABEL}  RUNNING on {job['nodes']}" in text
        assert f":{first.process.pid} lives: 1 of these jobs, on private" in text
        activeuf("jobs", "cancel", "--all", "--yes")


def test_cancelled_without_an_orchestrator(rig: Rig) -> None:
    job_id = left_running(rig)
    assert "has ended: 1 of these jobs" in activeuf("jobs").output
    done = activeuf("jobs", "cancel", LABEL)
    assert (done.exit_code, f"cancelled {LABEL}" in done.output) == (0, True)
    rig.wait_until(lambda: not rig.left_over())
    assert shown() == []
    ended = json.loads((rig.layout.run(job_id) / "ended.json").read_text())
    assert ended["kind"] == "Cancelled"
    rig.tell("0")
    assert rig.run() and rig.is_complete()


def test_an_orchestrator_that_waits_is_told_and_does_not_try_again(rig: Rig) -> None:
    rig.tell("hangs")
    with rig.orchestrator() as first:
        worker = rig.wait_for_worker()
        assert activeuf("jobs", "cancel", worker.slurm_job_id).exit_code == 0
        failed = first.wait_for("Failed")
        assert "Cancelled" in str(failed)
        assert "cancelled on purpose by" in str(failed)
    assert rig.attempts() == 1


def test_one_task_of_an_array_is_cancelled_and_the_others_go_on(rig: Rig) -> None:
    nodes = rig.add_experiments(3)
    rig.tell("hangs", nodes[1])
    with rig.orchestrator(*nodes) as first:
        rig.wait_for_worker(nodes[1])
        hanging = next(job for job in shown() if job["artifacts"] == [f"{A[0]}[n-0001]"])
        assert activeuf("jobs", "cancel", hanging["slurm_id"]).exit_code == 0
        failed = first.wait_for("Failed")
        first.wait()
    assert "cancelled on purpose" in str(failed)
    assert [rig.is_complete(node) for node in nodes] == [True, False, True]


def test_a_waiting_task_of_an_array_is_cancelled_alone(rig: Rig) -> None:
    rig.configure(max_parallel=1)
    nodes = rig.add_experiments(4)
    rig.tell("hangs", nodes[0])
    with rig.orchestrator(*nodes) as first:
        rig.wait_for_worker(nodes[0])
        assert activeuf("jobs", "cancel", f"{A[0]}[n-0002]").exit_code == 0
        states = {job["artifacts"][0]: job["state"] for job in shown()}
        assert states[f"{A[0]}[n-0001]"] == states[f"{A[0]}[n-0003]"] == "PENDING"
        assert activeuf("jobs", "cancel", f"{A[0]}[n-0000]").exit_code == 0
        first.wait()
    assert [rig.is_complete(node) for node in nodes] == [False, True, False, True]


def test_the_log_is_shown_and_followed_to_its_end(rig: Rig) -> None:
    job_id = left_running(rig)
    assert "works as told: hangs" in activeuf("jobs", "log", LABEL).output
    activeuf("jobs", "cancel", job_id)
    followed = activeuf("jobs", "log", job_id, "--follow").output
    assert "Cancelled: cancelled on purpose by" in followed


def test_a_controller_that_is_down_leaves_what_the_files_say(own_rig: Rig) -> None:
    left_running(own_rig)
    own_rig.cluster.kill("slurmctld")
    text = activeuf("jobs").output
    assert f"{LABEL}  unknown: the controller does not answer" in text
    done = activeuf("jobs", "cancel", LABEL)
    assert done.exit_code == 1
    assert "The wish is written down" in done.output


def test_an_unknown_job_is_named_with_what_there_is(rig: Rig) -> None:
    done = activeuf("jobs", "cancel", "4711")
    assert isinstance(done.exception, ConfigError)
    assert "no job '4711' waits or runs" in str(done.exception)


def test_an_interrupted_command_on_a_chosen_cluster_says_what_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACTIVEUF_CLUSTER")
    rig.tell("hangs", A)
    command = [sys.executable, "-m", "activeuf_dagster.cli", "materialize", "exp-a"]
    process = subprocess.Popen(
        [*command, "--cluster", "private"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    rig.wait_for_worker()
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 130
    assert "Jobs on a cluster go on: 1." in said
    assert [job["artifacts"] for job in shown()] == [[LABEL]]
    assert activeuf("jobs", "cancel", "--all", "--yes").exit_code == 0
