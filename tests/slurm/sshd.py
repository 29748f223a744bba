"""A private SSH server for tests: its own port, keys and settings, for the user who runs the tests.

In: OpenSSH's server and client, rsync, and a cluster whose login node it plays.
Out: the `ssh` section of a cluster file, and the server's log. Cost: 0.3 s.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.slurm.sandbox import SandboxCluster, free_ports

FOLDER = f"/tmp/activeuf-sshd-{os.getuid()}-"
PROGRAM = "/usr/sbin/sshd"
ACCEPTED = "Accepted publickey for"


class SshServer:
    """The server, and the ways to break it."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        """Write keys and settings; `variables` are in the environment of whoever logs in."""
        self.folder = Path(tempfile.mkdtemp(prefix=FOLDER))
        self.port = free_ports()
        for name in ("host", "user"):
            self._make_key(self.folder / name)
        host_key = (self.folder / "host.pub").read_text()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {host_key}")
        # A shell inside a shell reads no ~/.bashrc, and a person's own may take its time.
        inside = {**variables, "SHLVL": "2"}
        given = " ".join(f'"{name}={value}"' for name, value in inside.items())
        settings = {
            "Port": self.port,
            "ListenAddress": "127.0.0.1",
            "HostKey": self.folder / "host",
            "AuthorizedKeysFile": self.folder / "user.pub",
            "PidFile": self.folder / "pid",
            "SetEnv": given,
            "UsePAM": "no",
            "StrictModes": "no",
            "PermitRootLogin": "yes",
            "PasswordAuthentication": "no",
            "LogLevel": "VERBOSE",
        }
        text = "".join(f"{name} {value}\n" for name, value in settings.items())
        (self.folder / "config").write_text(text)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "-D", "-e", "-f", self.folder / "config"], stdin=log, stderr=log
            )
        end = time.monotonic() + 10
        while not self._answers():
            assert time.monotonic() < end and self._process.poll() is None, self.log
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server and every connection through it."""
        if self._process is not None:
            self.drop()
            self._process.kill()
            self._process.wait()

    def revive(self) -> None:
        """Start the server again if it was stopped."""
        if self._process is None or self._process.poll() is not None:
            self.start()

    def drop(self) -> None:
        """Cut every connection; the server goes on."""
        assert self._process is not None
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        for pid in path.read_text().split():
            os.kill(int(pid), signal.SIGKILL)

    def close(self) -> None:
        """End everything and remove the folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def section(self, **settings: Any) -> dict[str, Any]:
        """Return the `ssh` section of a cluster file."""
        options = {
            "Port": self.port,
            "IdentityFile": self.folder / "user",
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.folder / "known_hosts",
        }
        return {
            "host": f"{getpass.getuser()}@127.0.0.1",
            "options": [f"{name}={value}" for name, value in options.items()],
            "connect_timeout_s": 5,
            **settings,
        }

    @property
    def log(self) -> str:
        """What the server has logged."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def connections(self) -> int:
        """How many connections it accepted."""
        return self.log.count(ACCEPTED)

    @property
    def calls(self) -> int:
        """How many commands were run through all connections."""
        return self.log.count("Starting session: command for")

    def _make_key(self, path: Path) -> None:
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", path]
        subprocess.run(command, check=True, capture_output=True)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def require_ssh(cluster: SandboxCluster) -> None:
    """Skip, with the reason, where something is missing."""
    programs = {"ssh": "ssh", "rsync": "rsync", PROGRAM: "sshd", "ssh-keygen": "ssh-keygen"}
    missing = [name for program, name in programs.items() if shutil.which(program) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)} here (`make ssh` installs them as root on Debian)")
    if "PATH" in cluster.variables:
        pytest.skip("SLURM is unpacked in a cache, where no login shell finds it")
