"""The launcher reaches a real cluster through a real SSH server, whatever happens to the way."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from activeuf_core.artifacts import read_json
from activeuf_core.errors import LaunchError
from activeuf_core.jobs import load_job
from activeuf_core.paths import PROJECT, Layout
from activeuf_core.slurm import mirror
from activeuf_core.slurm.ssh import SshTransport
from activeuf_dagster.events import Completed, Failed, Submitted
from tests.graph.conftest import write_yaml
from tests.slurm.rig import PAYLOAD, A, Rig, completed, failures
from tests.slurm.sandbox import SandboxCluster
from tests.slurm.sshd import SshServer, require_ssh

pytestmark = pytest.mark.slurm
HERE = 'hier, it\'s "ours" ☃'
THERE = "dört 'und' \"weg\" $HOME;"


@pytest.fixture(scope="module")
def server(cluster: SandboxCluster) -> Iterator[SshServer]:
    """The login node of the session's cluster."""
    require_ssh(cluster)
    server = SshServer(cluster.variables)
    try:
        server.start()
        yield server
    finally:
        server.close()


DPO = ("dpo_model", "exp-a")


class Far:
    """A project here whose cluster is there."""

    def __init__(self, rig: Rig, server: SshServer, files: str) -> None:
        self.rig = rig
        self.server = server
        there = rig.folder.parent / THERE
        there.mkdir()
        self.home = there / "home"
        (there / "checkout").symlink_to(PROJECT)
        if files == "shared":
            self.home.symlink_to(rig.layout.home)
        words = {"ACTIVEUF_STAGE_PYTHON": PAYLOAD, "ACTIVEUF_BEHAVIOUR": rig.behaviour}
        rig.configure(
            setup=[f"export {name}={shlex.quote(str(value))}" for name, value in words.items()],
            ssh=server.section(files=files, home=str(self.home), project=str(there / "checkout")),
        )

    @property
    def transport(self) -> SshTransport:
        """A way to the cluster of its own, through the same connection."""
        transport = self.rig.launcher()._transport
        assert isinstance(transport, SshTransport)
        return transport

    @property
    def layout(self) -> Layout:
        """The home there."""
        return Layout(self.home)

    def kill_connection(self) -> None:
        """Kill the process that holds the connection, and leave its socket behind."""
        done = self.transport.connection
        answer = done._local([*done.command(), "-O", "check", "--", done.ssh.host], 10)
        os.kill(int(answer.stderr.partition("pid=")[2].partition(")")[0]), signal.SIGKILL)
        assert done.socket.exists()


@contextlib.contextmanager
def project_far_away(
    folder: Path,
    cluster: SandboxCluster,
    server: SshServer,
    monkeypatch: pytest.MonkeyPatch,
    files: str,
) -> Iterator[Far]:
    (folder / HERE).mkdir()
    far = Far(Rig(folder / HERE, cluster), server, files)
    for name, value in far.rig.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(server.folder))  # for the connection's socket
    for name in cluster.variables:
        monkeypatch.delenv(name)  # an sbatch of this machine would find no cluster
    yield far
    server.revive()
    far.transport.close()


@pytest.fixture(params=["shared", "rsync"])
def either(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    cluster: SandboxCluster,
    server: SshServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Far]:
    """A cluster that sees the same files under other paths, and one with files of its own."""
    with project_far_away(tmp_path, cluster, server, monkeypatch, request.param) as far:
        yield far


@pytest.fixture
def far(
    tmp_path: Path, cluster: SandboxCluster, server: SshServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Far]:
    """A cluster with files of its own."""
    with project_far_away(tmp_path, cluster, server, monkeypatch, "rsync") as far:
        yield far


def test_a_job_runs_there_and_its_artifact_is_here(either: Far) -> None:
    assert completed(either.rig.run()) == {A}
    assert either.rig.is_complete()  # every digest
    job = read_json(either.layout.run(either.rig.run_folder().path.name) / "node-job.json")
    assert job["home"] == str(either.home)
    assert str(either.rig.layout.home) not in str(job)
    assert either.layout.manifest(A[0], either.rig.fingerprint(A)).exists()


def test_a_run_of_many_calls_is_one_connection(far: Far) -> None:
    far.rig.configure(poll_max_s=0.2)
    connections, calls = far.server.connections, far.server.calls
    far.rig.tell("4")
    nodes = far.rig.add_experiments(4)
    assert completed(far.rig.run(*nodes)) == set(nodes)
    assert far.server.calls >= calls + 30
    assert far.server.connections == connections + 1


def test_every_unit_of_an_array_comes_back_on_its_own(far: Far) -> None:
    nodes = far.rig.add_experiments(3)
    far.rig.tell("fails", nodes[1])
    far.rig.tell("30", nodes[2])
    engine = far.rig.engine()
    with contextlib.closing(engine.run(nodes)) as events:
        first = [next(e for e in events if isinstance(e, Completed | Failed)) for _ in range(2)]
        engine.cancel()
    assert completed(first) == {nodes[0]}
    assert failures(first)[nodes[1]].failure.message.startswith("told to fail")
    assert "works as told: fails" in failures(first)[nodes[1]].failure.log_tail


def test_a_connection_that_dies_is_opened_again(far: Far) -> None:
    far.rig.tell("2")
    events = far.rig.run(until=lambda event: isinstance(event, Submitted))
    far.rig.wait_for_worker()
    far.kill_connection()
    assert completed([*events, *far.rig.run()]) == {A}
    assert len(far.rig.workers()) == len(far.rig.jobs()) == 1


def test_connections_cut_while_it_runs_change_nothing(far: Far) -> None:
    far.rig.tell("3")
    with far.rig.orchestrator() as first:
        for _ in range(3):
            before = far.server.connections
            far.rig.wait_until(lambda: far.server.connections > before)  # noqa: B023
            far.server.drop()
        assert first.wait() == 0, first.errors
        assert not first.events("Failed", "Retried")
    assert far.rig.is_complete()
    assert len(far.rig.jobs()) == 1


def test_a_server_that_is_down_for_a_while_changes_nothing(far: Far) -> None:
    far.rig.tell("1")
    with far.rig.orchestrator() as first:
        far.rig.wait_for_worker()
        far.server.stop()
        far.rig.wait_until(lambda: not far.rig.left_over())
        far.rig.wait_until(lambda: "no way to" in first.errors)
        assert first.process.poll() is None
        assert not first.events("Completed", "Failed", "Retried")
        far.server.start()
        assert first.wait() == 0, first.errors
        assert not first.events("Failed", "Retried")
    assert far.rig.is_complete()


def test_nothing_is_given_up_when_the_way_is_barred_before_the_submission(far: Far) -> None:
    far.server.stop()
    with far.rig.orchestrator() as first:
        far.rig.wait_until(lambda: "Nothing was submitted yet" in first.errors)
        far.server.start()
        assert first.wait() == 0, first.errors
    assert far.rig.is_complete()
    assert far.rig.attempts() == 1


@pytest.mark.parametrize("boundary", ["after-intent", "after-sbatch", "before-adoption"])
def test_killed_at_a_boundary_the_next_goes_on(far: Far, boundary: str) -> None:
    with far.rig.orchestrator(crash=boundary) as first:
        assert first.wait() == -signal.SIGKILL
    assert completed(far.rig.run()) == {A}
    assert len(far.rig.workers()) == len(far.rig.jobs()) == 1


def test_what_ended_while_nobody_looked_is_brought_here_and_not_made_again(far: Far) -> None:
    far.rig.tell("1")
    far.rig.run(until=lambda event: isinstance(event, Submitted))
    far.rig.wait_until(far.layout.manifest(A[0], far.rig.fingerprint(A)).exists)
    assert completed(far.rig.run()) == {A}
    assert far.rig.attempts() == 1


def test_a_retry_goes_on_from_the_checkpoint_there(far: Far) -> None:
    far.rig.tell("1 checkpoints stumbles once checkpoints 1")
    assert completed(far.rig.run()) == {A}
    assert far.rig.attempts() == 2
    job = read_json(far.rig.run_folder().job)
    assert (Path(job["units"][0]["checkpoints"]) / ".newest-on-cluster").exists()
    there = far.layout.attempts(A[0], far.rig.fingerprint(A))
    assert sorted(os.listdir(there)) == ["001.json", "002.json"]


def test_copies_that_take_long_go_on_beside_all_else(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "PATIENCE_S", 0.0)
    nodes = far.rig.add_experiments(2)
    assert completed(far.rig.run(*nodes)) == set(nodes)


def test_a_link_to_nowhere_in_an_artifact_is_left_out(far: Far) -> None:
    far.rig.tell("1")
    far.rig.run(until=lambda event: isinstance(event, Submitted))
    fingerprint = far.rig.fingerprint(A)
    far.rig.wait_until(far.layout.manifest(A[0], fingerprint).exists)
    (far.layout.artifact(A[0], fingerprint) / "link").symlink_to("/nowhere")
    assert completed(far.rig.run()) == {A}


def test_secrets_are_gone_there_when_the_wave_is_done(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hush")
    far.rig.tell("1")
    far.rig.run(until=lambda event: isinstance(event, Submitted))
    there = far.layout.wave(far.rig.tokens()[0]).secrets
    assert there.stat().st_mode & 0o777 == 0o600
    far.rig.run()
    assert not there.exists()


def test_a_model_below_the_home_goes_along(far: Far) -> None:
    disk = far.rig.folder / "disk"
    disk.mkdir()
    (far.rig.folder / "base").rename(disk / "base")
    (far.rig.layout.home / "models").symlink_to(disk)
    path = {"path": "$ACTIVEUF_HOME/models/base"}
    write_yaml(far.rig.folder / "configs" / "models.yaml", {"base": path})
    assert completed(far.rig.run(A, DPO)) == {A, DPO}
    assert (far.home / "models" / "base" / "model.safetensors").read_bytes() == b"weights"


def test_a_source_that_is_not_there_is_named(far: Far) -> None:
    far.rig.run()
    job = load_job(far.rig.run_folder().job)
    lost = dataclasses.replace(job.units[0], locations={"big": "/nowhere/it's big"})
    wave = far.rig.layout.wave(far.rig.tokens()[0])
    with pytest.raises(LaunchError, match="there is no big \\(/nowhere/it's big\\)"):
        far.transport.hand_over(wave, [dataclasses.replace(job, units=(lost,))])


def test_an_artifact_that_is_wrong_over_there_is_not_taken(far: Far) -> None:
    far.rig.tell("1")
    far.rig.run(until=lambda event: isinstance(event, Submitted))
    fingerprint = far.rig.fingerprint(A)
    far.rig.wait_until(far.layout.manifest(A[0], fingerprint).exists)
    value = far.layout.artifact(A[0], fingerprint) / "value.json"
    value.write_bytes(value.read_bytes().swapcase())
    far.transport.bring_back([], [load_job(far.rig.run_folder().job)])
    assert not far.rig.layout.artifact(A[0], fingerprint).exists()


def test_words_arrive_as_they_are_in_a_clean_environment(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "hush")
    hostile = ["a'b\"c", "$(id) `id` ;&|", "\n", "é ☃", "", "-n", "*", "\\"]
    done = far.transport.run(["printf", "%s\\0", *hostile], 10)
    assert done.stdout.split("\0")[:-1] == hostile
    names = far.transport.run(["env"], 10, {"X": "a b"}).stdout.splitlines()
    assert "X=a b" in names
    assert {name.partition("=")[0] for name in names} >= {"PATH", "HOME", "SLURM_CONF"}
    assert not [name for name in names if name.startswith(("SSH_", "WANDB"))]


def test_a_command_that_hangs_is_ended_there(far: Far) -> None:
    done = far.transport.run(["sleep", "61"], 0.5)
    assert done.returncode is None
    assert far.transport.run(["pgrep", "-x", "-f", "sleep 61"], 10).returncode == 1


def test_the_commit_of_the_checkout_there(far: Far) -> None:
    mine = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True
    ).stdout.strip()
    assert far.transport.remote_commit() == mine
