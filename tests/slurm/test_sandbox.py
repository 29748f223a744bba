from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.sandbox import (
    SCRIPTS,
    SandboxCluster,
    clean_environment,
    free_ports,
    wipe_leftovers,
)

pytestmark = pytest.mark.slurm

PROJECT = SCRIPTS.parents[1]
NOBODY = 65534


def processes_of(cluster: SandboxCluster) -> list[str]:
    """Return the command lines of all processes that were started for a cluster."""
    mark = f"SLURM_CONF={cluster.folder}/etc/slurm.conf".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


def pids(cluster: SandboxCluster) -> dict[str, str]:
    return {path.name: path.read_text() for path in (cluster.folder / "run").glob("*.pid")}


# What runs ------------------------------------------------------------------------------------


def test_a_job_runs_on_a_node_with_its_gpus(cluster: SandboxCluster) -> None:
    command = "echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES; exit 3"
    job = cluster.submit("--gres=gpu:2", "--output=%j.out", "--wrap", command)
    cluster.wait_for_end(job)
    node, gpus = (cluster.folder / "work" / f"{job}.out").read_text().split()
    assert (node in cluster.nodes, gpus, cluster.state(job)) == (True, "0,1", "FAILED")


def test_every_task_of_an_array_is_seen_with_its_own_state(cluster: SandboxCluster) -> None:
    array = cluster.submit(
        "--job-name=a b|c", "--array=0-3", "--wrap", "[ $SLURM_ARRAY_TASK_ID != 2 ]"
    )
    cluster.wait_for_end(array)
    tasks = {job.job_id: job for job in cluster.jobs_seen() if job.name == "a b|c"}
    assert {name: job.state for name, job in tasks.items()} == {
        f"{array}_0": "COMPLETED",
        f"{array}_1": "COMPLETED",
        f"{array}_2": "FAILED",
        f"{array}_3": "COMPLETED",
    }
    assert cluster.submissions().count(array) == 1
    assert sorted(cluster.launches().count(job.raw_id) for job in tasks.values()) == [1] * 4


def test_a_job_may_span_nodes(cluster: SandboxCluster) -> None:
    out = cluster.folder / "work" / "wide.out"
    job = cluster.submit("-N2", f"--output={out}", "--wrap", "srun printenv SLURMD_NODENAME")
    cluster.wait_for_end(job)
    assert sorted(out.read_text().split()) == sorted(set(out.read_text().split()))
    assert len(out.read_text().split()) == 2


def test_settings_of_another_cluster_stay_outside(
    cluster: SandboxCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", "/elsewhere")
    monkeypatch.setenv("SBATCH_PARTITION", "elsewhere")
    assert cluster.environment["SLURM_CONF"] == f"{cluster.folder}/etc/slurm.conf"
    assert "SBATCH_PARTITION" not in cluster.environment
    cluster.use(monkeypatch)
    assert (os.environ["SLURM_CONF"], os.environ.get("SBATCH_PARTITION")) == (
        f"{cluster.folder}/etc/slurm.conf",
        None,
    )


# What breaks ----------------------------------------------------------------------------------


def test_a_running_job_outlives_the_controller(own_cluster: SandboxCluster) -> None:
    job = own_cluster.submit("--wrap", "sleep 100")
    own_cluster.wait_for_state(job, "RUNNING")
    own_cluster.kill("slurmctld", signal.SIGTERM)
    assert own_cluster.run("squeue").returncode != 0
    own_cluster.start()
    assert (own_cluster.state(job), own_cluster.launches()) == ("RUNNING", [job])


def test_a_killed_controller_and_node_come_back(own_cluster: SandboxCluster) -> None:
    own_cluster.kill("slurmctld")
    own_cluster.kill(own_cluster.nodes[0])
    before = pids(own_cluster)
    own_cluster.start()
    after = pids(own_cluster)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"slurmctld.pid", f"slurmd.{own_cluster.nodes[0]}.pid"}
    job = own_cluster.submit("-N2", "--wrap", "srun true")
    own_cluster.wait_for_state(job, "COMPLETED")


def test_a_failed_sbatch_may_have_submitted(own_cluster: SandboxCluster) -> None:
    with own_cluster.frozen():
        result = own_cluster.run("sbatch", "--job-name=token", "--wrap", "true")
    assert (result.returncode, "Socket timed out" in result.stderr) == (1, True)
    own_cluster.wait_until(own_cluster.jobs_seen)
    assert [job.name for job in own_cluster.jobs_seen()] == ["token"]


def test_a_lost_node_goes_on_with_a_job_that_is_requeued(own_cluster: SandboxCluster) -> None:
    command = 'echo $$ > "pid-${SLURM_RESTART_COUNT:-0}"; exec sleep 100'
    job = own_cluster.submit("--wrap", command)
    pid_file = own_cluster.folder / "work" / "pid-0"
    own_cluster.wait_until(lambda: pid_file.exists() and pid_file.read_text())
    node = own_cluster.squeue("--format=%N")[0]
    own_cluster.lose_node(node)
    own_cluster.wait_for_state(job, "PENDING")
    own_cluster.run_at_once(job, avoid=node)
    own_cluster.wait_until((own_cluster.folder / "work" / "pid-1").exists)
    twin = Path("/proc", pid_file.read_text().strip())
    assert (own_cluster.launches(), twin.exists()) == ([job, job], True)
    own_cluster.start()
    own_cluster.wait_until(lambda: not twin.exists())


def test_a_job_that_may_not_be_requeued_fails_with_its_node(own_cluster: SandboxCluster) -> None:
    job = own_cluster.submit("--no-requeue", "--wrap", "sleep 100")
    own_cluster.wait_for_state(job, "RUNNING")
    own_cluster.down_node(own_cluster.squeue("--format=%N")[0])
    own_cluster.wait_for_state(job, "NODE_FAIL")


# What stays -----------------------------------------------------------------------------------


def test_closing_ends_every_process_also_of_a_frozen_cluster(slurm_installed: None) -> None:
    cluster = SandboxCluster(nodes=1)
    try:
        cluster.start()
        cluster.submit("--wrap", "touch started; setsid sleep 1000 & wait")
        cluster.wait_until((cluster.folder / "work" / "started").exists)
        cluster.freeze()
        cluster.freeze(cluster.nodes[0])
    finally:
        cluster.close()
    assert (processes_of(cluster), cluster.folder.exists()) == ([], False)


def test_the_cluster_of_a_killed_session_is_found_and_ended(cluster: SandboxCluster) -> None:
    program = (
        "import os; from tests.slurm.sandbox import SandboxCluster as C; c = C(nodes=1);"
        "c.start(); print(c.folder, flush=True); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True
    )
    folder = Path(killed.stdout.strip())
    assert (folder / "run" / "slurmctld.pid").exists()
    assert folder in wipe_leftovers()
    assert (folder.exists(), cluster.is_up("slurmctld")) == (False, True)


def test_up_changes_nothing_when_all_is_up(own_cluster: SandboxCluster) -> None:
    before = pids(own_cluster)
    own_cluster.start()
    assert pids(own_cluster) == before


def test_down_refuses_while_jobs_are_there(own_cluster: SandboxCluster) -> None:
    own_cluster.submit("--hold", "--wrap", "true")
    settings = {"SLURM_SANDBOX_DIR": str(own_cluster.folder)}
    refused = own_cluster.run(SCRIPTS / "down.sh", variables=settings)
    assert (refused.returncode, "--force" in refused.stderr) == (3, True)
    assert own_cluster.is_up("slurmctld")


def test_a_taken_port_is_named(own_cluster: SandboxCluster) -> None:
    taken = own_cluster.settings | {"SLURM_SANDBOX_DIR": str(own_cluster.folder / "second")}
    result = own_cluster.run(SCRIPTS / "up.sh", "--offline", variables=taken)
    assert result.returncode == 1
    assert f"port {taken['SLURM_SANDBOX_PORT']} for slurmctld is taken" in result.stderr
    own_cluster.run(SCRIPTS / "down.sh", "--force", "--wipe", variables=taken, check=True)


@pytest.fixture
def scripts_for_nobody() -> Iterator[Path]:
    """A copy of the scripts in a folder of the user nobody."""
    if os.getuid() != 0:
        pytest.skip(
            "only root can run something as another user; this run is a plain user's anyway"
        )
    with tempfile.TemporaryDirectory(prefix="activeuf-nobody-") as name:
        shutil.copytree(SCRIPTS, Path(name, "sandbox"))
        os.chmod(name, 0o755)
        os.chown(name, NOBODY, NOBODY)
        yield Path(name, "sandbox")


def test_a_plain_user_has_a_cluster_too(slurm_installed: None, scripts_for_nobody: Path) -> None:
    environment = clean_environment() | {
        "SLURM_SANDBOX_DIR": str(scripts_for_nobody.parent / "cluster"),
        "SLURM_SANDBOX_PORT": str(free_ports()),
        "SLURM_SANDBOX_NODES": "1",
        "HOME": "/nonexistent",
    }

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [scripts_for_nobody / words[0], *words[1:]]
        return subprocess.run(
            argv, env=environment, cwd="/", capture_output=True, text=True, user=NOBODY,
            group=NOBODY, extra_groups=[],
        )  # fmt: skip

    up = run("up.sh", "--offline")
    try:
        assert up.returncode == 0, up.stderr
        job = run("with.sh", "sbatch", "--wait", "--output=/dev/null", "--wrap", "exit 5")
        assert (job.returncode, job.stderr) == (5, "")
    finally:
        down = run("down.sh", "--force")
    assert (down.returncode, down.stderr) == (0, "")
