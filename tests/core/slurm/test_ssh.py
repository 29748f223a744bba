"""What needs no server: paths of two machines, ssh's options, and what a failed copy means."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from activeuf_core.config import parse
from activeuf_core.errors import LaunchError
from activeuf_core.jobs import Job, Unit
from activeuf_core.paths import Layout
from activeuf_core.slurm import connection as connections
from activeuf_core.slurm.cluster import SlurmCluster, Ssh
from activeuf_core.slurm.connection import Connection
from activeuf_core.slurm.mirror import Errand, Mirror
from activeuf_core.slurm.places import Places
from activeuf_core.slurm.scheduler import NotSentError, UnreachableError
from activeuf_core.slurm.ssh import SshTransport, transport_of
from activeuf_core.slurm.transport import LoginNode

PLACES = Places(
    home=Path("/here/code/.activeuf"),
    project=Path("/here/code"),
    home_there="/scratch/me",
    project_there="/home/me/code",
)
UNIT = Unit(
    asset="dpo_model",
    partition="a",
    fingerprint="f" * 32,
    version="1",
    generation=0,
    config={"text": "/here/code/.activeuf"},
    inputs={"preference_dataset": {"a": "/here/code/.activeuf/artifacts/p/1"}},
    input_fingerprints={},
    locations={"hub": "org/model@1", "own": "/here/code/.activeuf/m", "far": "/data/m"},
    runtime={"tracking": {"folder": "/here/code/.activeuf/tracking", "mode": "none"}},
    checkpoints="/here/code/.activeuf/checkpoints/p/1",
)


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("/here/code/.activeuf/runs/x", "/scratch/me/runs/x"),
        ("/here/code/.activeuf", "/scratch/me"),
        ("/here/code/demo/pool.jsonl", "/home/me/code/demo/pool.jsonl"),
        ("/here/code/configs/../demo", "/home/me/code/demo"),
        ("/here/coder/x", "/here/coder/x"),
        ("/data/model", "/data/model"),
    ],
)
def test_a_path_there(here: str, there: str) -> None:
    assert PLACES.there(here) == there


def test_a_job_names_the_paths_of_the_nodes_and_keeps_its_recipe() -> None:
    job = PLACES.job(Job("j", "m", (UNIT,), "/here/code/.activeuf"))
    unit = job.units[0]
    assert job.home == "/scratch/me"
    assert unit.inputs == {"preference_dataset": {"a": "/scratch/me/artifacts/p/1"}}
    assert unit.locations == {"hub": "org/model@1", "own": "/scratch/me/m", "far": "/data/m"}
    assert unit.runtime == {"tracking": {"folder": "/scratch/me/tracking", "mode": "none"}}
    assert unit.checkpoints == "/scratch/me/checkpoints/p/1"
    assert unit.config == UNIT.config


def test_below_home_is_what_is_copied() -> None:
    assert PLACES.below_home("/here/code/.activeuf/models/m") == "models/m"
    assert PLACES.below_home("/here/code/models/m") is None


def cluster(**ssh: object) -> SlurmCluster:
    section = {"host": "me@login", **ssh}
    return parse(SlurmCluster, {"launcher": "slurm", "ssh": section}, "x")


def test_a_cluster_file_decides_on_the_way(tmp_path: Path) -> None:
    plain = parse(SlurmCluster, {"launcher": "slurm"}, "x")
    assert isinstance(transport_of(Layout(tmp_path), plain), LoginNode)
    assert isinstance(transport_of(Layout(tmp_path), cluster()), SshTransport)


def test_with_the_same_paths_a_job_is_written_once(tmp_path: Path) -> None:
    job = Job("j", "m", (dataclasses.replace(UNIT, inputs={}),), str(tmp_path))
    assert transport_of(Layout(tmp_path), cluster()).job_for_nodes(job) is None
    other = transport_of(Layout(tmp_path), cluster(home="/there")).job_for_nodes(job)
    assert other is not None
    assert other.home == "/there"


def connection(*options: str) -> Connection:
    return Connection(Ssh(host="me@login", options=options))


def test_our_options_come_before_theirs_for_ssh_takes_the_first() -> None:
    command = connection("Port=2222", "ServerAliveInterval=1").command()
    values = command[command.index("-o") + 1 :: 2]
    assert values.index("ServerAliveInterval=15") < values.index("ServerAliveInterval=1")
    assert {"BatchMode=yes", "ControlMaster=no", "Port=2222"} <= set(values)


def test_another_port_is_another_connection() -> None:
    assert connection("Port=1").socket != connection("Port=2").socket
    assert connection("Port=1").socket == connection("Port=1").socket


def test_a_socket_fits_where_the_runtime_folder_is_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    assert len(str(connection().socket)) <= connections.SOCKET_PATH_BYTES


def test_a_folder_that_others_may_enter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(connections, "SOCKET_PATH_BYTES", 1000)
    folder = connection().socket.parent
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    with pytest.raises(NotSentError, match="chmod 700"):
        _ = connection().socket


@pytest.mark.skipif(shutil.which("rsync") is None, reason="no rsync here (`make ssh`)")
def test_rsync_takes_the_options_apart_again(tmp_path: Path) -> None:
    proxy = "ProxyCommand=ssh -W %h:%p 'my gate'"
    seen = tmp_path / "seen"
    fake = tmp_path / "ssh"
    fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {shlex.quote(str(seen))}\nexit 255\n')
    fake.chmod(0o755)
    rsh = connection(proxy).for_rsync().replace("'ssh'", f"'{fake}'", 1)
    subprocess.run(["rsync", "--rsh", rsh, "me@login:x", str(tmp_path)], capture_output=True)
    assert proxy in seen.read_text().splitlines()


def test_no_way_is_unknown_and_says_what_to_try() -> None:
    error = connection()._no_way("Warning: x\nme@login: Permission denied (publickey).\n")
    assert isinstance(error, UnreachableError)
    assert "Permission denied (publickey)" in str(error)
    assert "ssh me@login true" in str(error)


@pytest.mark.parametrize(
    ("code", "said", "kind"),
    [
        (127, "bash: line 1: rsync: command not found", NotSentError),
        (23, "rsync: link_stat failed: No such file", LaunchError),
        (255, "Connection closed", UnreachableError),
        (12, "error in rsync protocol data stream", UnreachableError),
        (30, "timeout in data send/receive", UnreachableError),
    ],
)
def test_what_a_failed_copy_means(
    tmp_path: Path, code: int, said: str, kind: type[LaunchError]
) -> None:
    mirror = Mirror(Layout(tmp_path), connection(), "/there")
    done = subprocess.CompletedProcess([], code, "", said)
    assert type(mirror._failure(done)) is kind


def test_an_errand_raises_in_the_thread_that_asks() -> None:
    def fail() -> None:
        raise LaunchError("told to fail")

    with pytest.raises(LaunchError, match="told to fail"):
        Errand(fail).is_done(5)
    assert Errand(lambda: None).is_done(5)
