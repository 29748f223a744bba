"""One SSH connection to a login node, shared by every command of every process of this user.

In: the `ssh` section of a cluster file. Out: commands run there, each one string in which every
word is quoted. The first call opens the connection; it stays open in the background (`persist_s`)
and the others go through its socket, which lies in a folder that only this user can enter. ssh's
own exit code 255 means that there is no way to the machine, and so that nothing is known.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from activeuf_core.fingerprint import digest_of
from activeuf_core.slurm.cluster import Ssh
from activeuf_core.slurm.scheduler import NotSentError, UnreachableError
from activeuf_core.slurm.script import submission_environment
from activeuf_core.slurm.transport import KILL_AFTER_S, Done

NO_WAY = 255
"""ssh's own exit code; no command of ours ends with it."""
ALIVE_EVERY_S = 15
LOGIN_TIMEOUT_S = 60.0
"""For a login shell with all that a site puts into it."""
SOCKET_PATH_BYTES = 104 - 18
"""The shortest limit of a socket's path, less what ssh appends while it opens one."""
FOR_SSH = re.compile(r"SSH_AUTH_SOCK|SSH_AGENT_PID|KRB5CCNAME|XDG_RUNTIME_DIR")
MARK = "activeuf-environment"


class Connection:
    """The way to one login node. Calls may come from several threads."""

    def __init__(self, ssh: Ssh) -> None:
        self.ssh = ssh
        self._lock = threading.Lock()
        self._login: dict[str, str] = {}

    @property
    def socket(self) -> Path:
        """Where the connection is reached: of its own for each destination and its options."""
        return _private_folder() / digest_of([self.ssh.host, *self.ssh.options])[:16]

    def command(self) -> list[str]:
        """Return ssh with its options, without the destination."""
        return self._ssh("ControlMaster=no")

    def run(
        self, words: Sequence[str], timeout_s: float, variables: Mapping[str, str] | None = None
    ) -> Done:
        """Run a command there in a clean environment: what a login shell there has of it that
        sbatch needs, and `variables`.

        `timeout` ends it there, even when nobody waits for it any more. Raises: UnreachableError.
        """
        given = {**self._login_environment(), **(variables or {})}
        bounded = ["timeout", f"--kill-after={KILL_AFTER_S}", str(timeout_s), *words]
        pairs = [f"{name}={value}" for name, value in given.items()]
        done = self.run_text(shlex.join(["env", "-i", *pairs, *bounded]), timeout_s)
        timed_out = done.returncode in (124, 137)
        return Done(None if timed_out else done.returncode, done.stdout, done.stderr)

    def run_text(self, text: str, timeout_s: float, given: str = "") -> Done:
        """Run a line of shell there. Args: given: its standard input. Raises: UnreachableError."""
        self.connect()
        argv = [*self.command(), "--", self.ssh.host, text]
        try:
            done = self._local(argv, timeout_s + 2 * KILL_AFTER_S, given)
        except subprocess.TimeoutExpired:
            return Done(None, "", f"no answer from {self.ssh.host} in time.")
        if done.returncode == NO_WAY:
            raise self._no_way(done.stderr)
        return Done(done.returncode, done.stdout, done.stderr)

    def connect(self) -> None:
        """Make sure that the connection is open. Raises: UnreachableError, NotSentError."""
        if self._answers():
            return
        with self._lock, _locked(self.socket.with_suffix(".lock")):
            if self._answers():
                return
            self.socket.unlink(missing_ok=True)
            # To a file: the connection that stays behind would hold a pipe open.
            with tempfile.TemporaryFile("w+", errors="replace") as said:
                argv = [*self._ssh("ControlMaster=yes"), "-f", "-N", "--", self.ssh.host]
                code = self._open(argv, said.fileno())
                said.seek(0)
                if code != 0 or not self._answers():
                    raise self._no_way(said.read())

    def close(self) -> None:
        """End the connection, also for other processes; the next call opens it again."""
        if self._answers():
            self._local([*self.command(), "-O", "exit", "--", self.ssh.host], LOGIN_TIMEOUT_S)

    def for_rsync(self) -> str:
        """Return rsync's `--rsh`: rsync itself takes it apart, by quotes that are doubled."""
        doubled = [word.replace("'", "''") for word in self.command()]
        return " ".join(f"'{word}'" for word in doubled)

    def environment(self) -> dict[str, str]:
        """Return the environment of ssh here: little, and the way to the user's keys."""
        keys = {name: value for name, value in os.environ.items() if FOR_SSH.fullmatch(name)}
        return {**submission_environment(os.environ), **keys}

    def _ssh(self, mastery: str) -> list[str]:
        """Return ssh with options. The first value of an option counts: ours come first."""
        options = [
            mastery,
            f"ControlPath={self.socket}",
            f"ControlPersist={self.ssh.persist_s}",
            "BatchMode=yes",
            f"ConnectTimeout={self.ssh.connect_timeout_s}",
            f"ServerAliveInterval={ALIVE_EVERY_S}",
            "ClearAllForwardings=yes",
            "RemoteCommand=none",
            *self.ssh.options,
        ]
        return ["ssh", "-T", "-x", *(word for option in options for word in ("-o", option))]

    def _answers(self) -> bool:
        """Whether the connection's process listens at its socket: its file alone proves nothing."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
        return True

    def _open(self, argv: Sequence[str], errors: int) -> int | None:
        """Start the connection; return ssh's exit code, None when it took too long."""
        try:
            return subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                timeout=self.ssh.connect_timeout_s + LOGIN_TIMEOUT_S,
                env=self.environment(),
                start_new_session=True,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            return None
        except FileNotFoundError:
            raise _no_ssh() from None

    def _local(
        self, argv: Sequence[str], timeout_s: float, given: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run ssh. In a session of its own: Ctrl-C is for the orchestrator alone."""
        try:
            return subprocess.run(
                argv,
                input=given,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                env=self.environment(),
                start_new_session=True,
                check=False,
            )
        except FileNotFoundError:
            raise _no_ssh() from None

    def _login_environment(self) -> Mapping[str, str]:
        """Return what a login shell there has of the variables that sbatch and modules need; it is
        asked once. What its start-up files print stands outside the marks.
        """
        if not self._login:
            script = f"printf %s {MARK}; env -0; printf %s {MARK}"
            done = self.run_text(shlex.join(["bash", "-lc", script]), LOGIN_TIMEOUT_S)
            parts = done.stdout.split(MARK)
            if done.returncode != 0 or len(parts) != 3:
                raise UnreachableError(
                    f"a login shell on {self.ssh.host} (bash -lc env) ended with "
                    f"{done.returncode}: {done.stderr.strip()}"
                )
            pairs = [pair.partition("=") for pair in parts[1].split("\0") if pair]
            found = {name: value for name, _, value in pairs if "\ufffd" not in value}
            self._login = submission_environment(found)
        return self._login

    def _no_way(self, said: str) -> UnreachableError:
        lines = [line for line in said.strip().splitlines() if line.strip()]
        return UnreachableError(
            f"no way to {self.ssh.host}: {lines[-1] if lines else 'ssh says nothing'}. "
            f"Does `ssh {self.ssh.host} true` work without a question?"
        )


def _private_folder() -> Path:
    """Return a folder for sockets that only this user can enter. Raises: NotSentError."""
    user = os.getuid()
    own = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{user}")
    base = own if own.is_dir() and os.access(own, os.W_OK) else Path("/tmp")
    folder = base / f"activeuf-ssh-{user}"
    if len(os.fsencode(folder)) + 17 > SOCKET_PATH_BYTES:
        folder = Path(f"/tmp/activeuf-ssh-{user}")
    folder.mkdir(mode=0o700, exist_ok=True)
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != user or facts.st_mode & 0o077:
        raise NotSentError(
            f"{folder} is not a folder of yours alone, so ssh's socket would not be safe there. "
            f"Remove it, or `chmod 700 {folder}`."
        )
    return folder


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock file: of several processes one opens the connection."""
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _no_ssh() -> NotSentError:
    return NotSentError("there is no `ssh` on this machine. Install an OpenSSH client.")
