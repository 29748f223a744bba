"""Runs whose worker died are closed and retried; runs whose code server died can be cancelled."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus

from activeuf_dagster.code_location import build
from activeuf_dagster.foreground import Wave, run_wave
from activeuf_dagster.project import Project
from activeuf_dagster.run_launcher import (
    HOST_TAG,
    HealthCheckedRunLauncher,
    Host,
    Worker,
    process_started_at,
)
from tests.fakes.launcher import instant_launchers
from tests.graph.services import Services

HERE = Host("login1", "boot-a")
RUNNING, GONE = WorkerStatus.RUNNING, WorkerStatus.NOT_FOUND


@pytest.mark.parametrize(
    ("host", "started_at", "status", "says"),
    [
        (HERE, 999.0, RUNNING, "pid 7"),
        (HERE, None, GONE, "(pid 7) is gone"),
        (HERE, 1100.0, GONE, "pid 7 is another process now"),
        (Host("login1", "boot-b"), 999.0, GONE, "login1 was restarted"),
        (Host("login2", "boot-b"), None, RUNNING, "on login2, which login1 cannot see"),
        (Host("web", "boot-a"), None, RUNNING, "another container (web)"),
    ],
)
def test_health(host: Host, started_at: float | None, status: WorkerStatus, says: str) -> None:
    found = Worker(host, 7, noted_at=1000.0).health(HERE, started_at)
    assert found.status is status
    assert says in (found.msg or "")


def test_a_host_survives_its_tag() -> None:
    assert Host.parse(str(Host.here())) == Host.here()


def test_this_process_started_before_now() -> None:
    started_at = process_started_at(os.getpid())
    assert started_at is not None
    assert time.time() - 3600 < started_at < time.time() + 2


def test_a_name_with_brackets_and_blanks_is_no_state(tmp_path: Path) -> None:
    program = tmp_path / "x) Z 1 (2"
    shutil.copy(shutil.which("sleep") or "", program)
    with subprocess.Popen([program, "60"]) as process:
        started_at = process_started_at(process.pid)
        process.kill()
    assert abs((started_at or 0) - time.time()) < 60


def test_a_zombie_has_ended() -> None:
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert Path(f"/proc/{process.pid}").exists()
        assert process_started_at(process.pid) is None


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance with this launcher."""
    launcher = {"module": HealthCheckedRunLauncher.__module__, "class": "HealthCheckedRunLauncher"}
    with dg.instance_for_test(overrides={"run_launcher": launcher}) as found:
        yield found


def run_in_process(instance: dg.DagsterInstance, tags: dict[str, str]) -> dg.DagsterRun:
    @dg.op
    def nothing() -> None:
        pass

    job = dg.GraphDefinition("job", node_defs=[nothing]).to_job()
    return job.execute_in_process(instance=instance, tags=tags).dagster_run


def health(instance: dg.DagsterInstance, run: dg.DagsterRun) -> tuple[WorkerStatus, str | None]:
    status, message, *_ = instance.run_launcher.check_run_worker_health(run)
    return status, message


def test_the_worker_of_a_run_in_the_foreground_is_its_process(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Project, "launchers", instant_launchers)
    assert run_wave(build(project), instance, Wave(("prompts",), "tiny", "tiny"))
    (run,) = instance.get_runs()
    assert health(instance, run) == (RUNNING, f"pid {os.getpid()}")


def test_a_run_without_a_host_is_left_alone(instance: dg.DagsterInstance) -> None:
    status, message = health(instance, run_in_process(instance, {}))
    assert status is RUNNING
    assert "not launched here" in (message or "")


def test_a_finished_run_is_not_terminated(instance: dg.DagsterInstance) -> None:
    run = run_in_process(instance, {HOST_TAG: str(Host.here())})
    assert instance.run_launcher.terminate(run.run_id) is False


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """A code server and a daemon."""
    found = Services(tmp_path)
    try:
        found.start()
        yield found
    finally:
        found.close()


@pytest.mark.slow
def test_a_run_whose_machine_went_down_is_retried_unattended(services: Services) -> None:
    lost = services.launch()
    first = services.new_worker(before=set())
    services.kill("daemon", "code")
    os.kill(first, 9)
    assert services.status(lost) == "STARTED"

    services.start()
    services.new_worker(before={first})
    retry = services.instance.get_runs(limit=1)[0]
    assert services.status(lost) == "FAILURE"
    assert retry.parent_run_id == lost
    (services.folder / "go").touch()
    services.wait_until(lambda: services.status(retry.run_id) == "SUCCESS")


@pytest.mark.slow
def test_a_run_outlives_its_code_server_and_can_still_be_cancelled(services: Services) -> None:
    run = services.launch()
    services.new_worker(before=set())
    services.kill("code")
    services.start_code_server()
    assert services.instance.run_launcher.terminate(run)
    services.wait_until(lambda: services.status(run) == "CANCELED")
