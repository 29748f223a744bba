"""A private SLURM cluster for tests: its own folder, ports and node names, so a test may break it.

In: `slurm/sandbox/up.sh`, and SLURM's packages or programs on this machine.
Out: real daemons of one's own user under /tmp, and the records of what they did.
Cost: 0.5 s to start, 0.3 s to end, 60 MB.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "slurm" / "sandbox"
FOREIGN = re.compile(r"(SLURM|SBATCH|SQUEUE|SACCT|SINFO|SCONTROL|SCANCEL|SALLOC)_")
"""Settings of another cluster, or of the job that the tests run in."""
FOLDER = f"/tmp/activeuf-test-{os.getuid()}-"
"""Short, and not pytest's folder: the path of a socket may have 108 bytes."""
QUICK = "MessageTimeout=4\nKillWait=1"
"""Clients give a silent controller up after 4 s, a dead one after 3; a job dies 1 s after TERM."""
PORTS_OF_A_CLUSTER = 20
MISSING = 4
"""Exit status of `up.sh --offline` when SLURM is not on this machine."""

RECORD = re.compile(r"JobId=(\d+) .*? Name=(.*?) JobState=(\S+) Partition=")
ARRAY = re.compile(r" ArrayJobId=(\d+) ArrayTaskId=(\d+)")
SUBMITTED = re.compile(r"_slurm_rpc_submit_batch_job: JobId=(\d+)")
LAUNCHED = re.compile(r"[Ll]aunching batch job (\d+)")


@dataclass(frozen=True)
class SeenJob:
    """One job, or one task of an array, that the cluster holds or held."""

    job_id: str
    """As squeue prints it: `17`, or `23_4` for a task of an array."""
    raw_id: str
    """$SLURM_JOB_ID inside the job; of a pending task, the array's."""
    name: str
    state: str
    """The newest: COMPLETED, NODE_FAIL, RUNNING and so on."""


class SandboxCluster:
    """The cluster, the ways to use it and the ways to break it."""

    def __init__(self, nodes: int = 2, extra: str = "") -> None:
        """Describe a cluster; `extra` are further lines of slurm.conf. `start` brings it up."""
        self.folder = Path(tempfile.mkdtemp(prefix=FOLDER))
        self._owner = _locked(self.folder / "owner.lock")
        prefix = f"t{os.getpid()}n"
        self.nodes = tuple(f"{prefix}{number}" for number in range(1, nodes + 1))
        self.settings: dict[str, str] = {
            "SLURM_SANDBOX_DIR": str(self.folder),
            "SLURM_SANDBOX_PORT": str(free_ports()),
            "SLURM_SANDBOX_PREFIX": prefix,
            "SLURM_SANDBOX_NODES": str(nodes),
            "SLURM_SANDBOX_DBD": "0",
            "SLURM_SANDBOX_HOSTS": "0",
            "SLURM_SANDBOX_EXTRA": f"{QUICK}\n{extra}".strip(),
        }
        self.variables: dict[str, str] = {}
        """What a process needs beside its own environment: SLURM_CONF and, unpacked, paths."""

    @property
    def environment(self) -> dict[str, str]:
        """The environment to run commands with: this process's, on this cluster."""
        return clean_environment() | self.variables

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let this process and all that it starts use the cluster until the test ends."""
        for name in [name for name in os.environ if FOREIGN.match(name)]:
            monkeypatch.delenv(name)
        for name, value in self.variables.items():
            monkeypatch.setenv(name, value)

    def run(
        self,
        *argv: str | Path,
        check: bool = False,
        timeout_s: float = 60,
        variables: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the cluster, in its folder `work`; `variables` join the environment."""
        return subprocess.run(
            [str(word) for word in argv],
            env=self.environment | dict(variables or {}),
            cwd=self.folder / "work",
            text=True,
            capture_output=True,
            check=check,
            timeout=timeout_s,
        )

    def submit(self, *options: str | Path) -> str:
        """Submit with sbatch's options, e.g. `--wrap true`; return the id."""
        return self.run("sbatch", "--parsable", *options, check=True).stdout.strip()

    def squeue(self, *options: str) -> list[str]:
        """Return squeue's lines without the header, all states that are not over by default."""
        return self.run("squeue", "--noheader", *options, check=True).stdout.splitlines()

    def state(self, job_id: str) -> str:
        """Return the state of a job or of one task of an array (`23_4`); empty if unknown."""
        found = [job.state for job in self.jobs_seen() if job_id in (job.job_id, job.raw_id)]
        return found[-1] if found else ""

    # Life and death ---------------------------------------------------------------------------

    def start(self) -> None:
        """Bring the cluster up, or what of it was killed or put down; nothing else changes."""
        (self.folder / "work").mkdir(exist_ok=True)
        clean = clean_environment()
        _script("up.sh", "--quiet", "--offline", environment=clean | self.settings)
        self.variables = _difference(self.folder / "env.sh", clean)

    def close(self) -> None:
        """End every daemon and job, and remove the folder."""
        wipe(self.folder)
        self._owner.close()

    def kill(self, daemon: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to `slurmctld` or to the slurmd of a node; wait for a deadly one."""
        pid = self._pid(self._pid_file(daemon))
        assert pid is not None, f"{daemon} does not run"
        os.kill(pid, number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.wait_until(lambda: self._pid(self._pid_file(daemon)) is None)

    def is_up(self, daemon: str) -> bool:
        """Return whether `slurmctld` or the slurmd of a node runs (or is frozen)."""
        return self._pid(self._pid_file(daemon)) is not None

    def freeze(self, daemon: str = "slurmctld") -> None:
        """Stop a daemon as it stands: its clients wait and give up, and it knows nothing of it."""
        self.kill(daemon, signal.SIGSTOP)

    def thaw(self, daemon: str = "slurmctld") -> None:
        """Let a frozen daemon go on, with all that reached it meanwhile."""
        self.kill(daemon, signal.SIGCONT)

    @contextmanager
    def frozen(self, daemon: str = "slurmctld") -> Iterator[None]:
        """Freeze a daemon for the length of a block."""
        self.freeze(daemon)
        try:
            yield
        finally:
            self.thaw(daemon)

    def down_node(self, node: str) -> None:
        """Declare a node dead: its jobs end as NODE_FAIL or are requeued.

        Its slurmd lives: the node comes back within 2 s, and then the jobs' processes are killed.
        """
        self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test", check=True)

    def lose_node(self, node: str) -> None:
        """As `down_node`, but nobody there is told: the processes of requeued jobs run on.

        `start` brings the node back; then they are killed.
        """
        self.kill(node)
        self.down_node(node)

    def resume_node(self, node: str) -> None:
        """Take a node with a living slurmd back, unless it came back by itself."""
        self.run("scontrol", "update", f"nodename={node}", "state=resume")
        self.wait_until(lambda: self._node_is_good(node))

    def expire(self, job_id: str) -> None:
        """Let a running job's time be over; slurmctld looks every 30 s, so TIMEOUT takes that."""
        self.run("scontrol", "update", f"job={job_id}", "EndTime=now+1", check=True)

    def run_at_once(self, job_id: str, avoid: str = "") -> None:
        """Let a requeued job start now instead of after 12 s, not on the node `avoid`.

        Where the job's first process still runs on a node, SLURM drains that node for a duplicate
        job id and holds the job ("launch failed requeued held").
        """
        where = [f"ExcNodeList={avoid}"] if avoid else []
        self.run("scontrol", "update", f"job={job_id}", "StartTime=now", *where, check=True)

    # What happened ----------------------------------------------------------------------------

    def jobs_seen(self) -> list[SeenJob]:
        """Return every job and array task that is over or in the queue, the newest state of each.

        A submission that slurmctld lost with its memory is not here; it is in `submissions`.
        """
        jobs: dict[tuple[str, str], SeenJob] = {}
        for job in [*self._completed(), *self._queued()]:
            jobs[job.job_id, job.name] = job
        return list(jobs.values())

    def submissions(self) -> list[str]:
        """Return the ids that slurmctld acknowledged, in order, also those that it forgot."""
        return SUBMITTED.findall(self.log("slurmctld"))

    def launches(self) -> list[str]:
        """Return the raw ids of all batch scripts that a node started, one for each start."""
        return [raw for node in self.nodes for raw in LAUNCHED.findall(self.log(node))]

    def log(self, daemon: str) -> str:
        """Return the log of `slurmctld` or of a node's slurmd."""
        name = "slurmctld" if daemon == "slurmctld" else f"slurmd.{daemon}"
        path = self.folder / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_until(self, condition: Callable[[], object], timeout_s: float = 30) -> None:
        """Wait for a condition, looking 20 times a second; fail with the logs' ends."""
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                shown = self.run("squeue", "--states=all")
                queue = shown.stdout + shown.stderr
                last = "\n".join(self.log("slurmctld").splitlines()[-15:])
                pytest.fail(f"not true after {timeout_s:g} s\n{queue}\nslurmctld.log:\n{last}")
            time.sleep(0.05)

    def wait_for_state(self, job_id: str, *states: str, timeout_s: float = 30) -> None:
        """Wait until a job or an array's task is in one of these states."""
        self.wait_until(lambda: self.state(job_id) in states, timeout_s)

    def wait_for_end(self, *job_ids: str, timeout_s: float = 60) -> None:
        """Wait until these jobs, or all without ids, are neither pending nor running."""
        of_ids = [f"--jobs={','.join(job_ids)}"] if job_ids else []
        self.wait_until(lambda: not self._open(of_ids), timeout_s)

    def _open(self, options: list[str]) -> list[str]:
        result = self.run("squeue", "--noheader", *options)
        if result.returncode and "Invalid job id" in result.stderr:
            return []
        return result.stdout.splitlines() or (["unknown"] if result.returncode else [])

    def _completed(self) -> Iterator[SeenJob]:
        path = self.folder / "log" / "jobcomp.log"
        for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
            if found := RECORD.search(line):
                task = ARRAY.search(line)
                job_id = f"{task[1]}_{task[2]}" if task else found[1]
                yield SeenJob(job_id, found[1], found[2], found[3])

    def _queued(self) -> Iterator[SeenJob]:
        for line in self.squeue("--states=all", "--array", "--format=%A|%F|%K|%T|%j"):
            raw_id, array, task, state, name = line.split("|", 4)
            yield SeenJob(f"{array}_{task}" if task != "N/A" else raw_id, raw_id, name, state)

    def _node_is_good(self, node: str) -> bool:
        state = self.run("sinfo", "--noheader", f"--nodes={node}", "--format=%T").stdout.split()
        return bool(state) and state[0] in {"idle", "mixed", "allocated", "completing"}

    def _pid_file(self, daemon: str) -> Path:
        name = "slurmctld" if daemon == "slurmctld" else f"slurmd.{daemon}"
        return self.folder / "run" / f"{name}.pid"

    def _pid(self, path: Path) -> int | None:
        """Return a daemon's process; None without one or when it is a zombie."""
        try:
            pid = int(path.read_text())
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        except (OSError, ValueError):
            return None
        return pid if name.startswith("slurm") and rest.split()[0] not in "ZX" else None


def clean_environment() -> dict[str, str]:
    """Return this process's environment without the settings of another cluster."""
    return {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}


def require_slurm() -> None:
    """Skip, with the reason, where SLURM is not installed and no unpacked packages are found."""
    result = subprocess.run(
        [SCRIPTS / "up.sh", "--packages-only", "--offline"], capture_output=True, text=True
    )
    if result.returncode == MISSING:
        pytest.skip(f"no SLURM here (`make slurm` gets it): {result.stderr.strip()}")
    assert result.returncode == 0, result.stderr


def wipe(folder: Path) -> None:
    """End what runs in a cluster's folder and remove it."""
    environment = os.environ | {"SLURM_SANDBOX_DIR": str(folder)}
    _script("down.sh", "--quiet", "--force", "--wipe", environment=environment)
    shutil.rmtree(folder, ignore_errors=True)


def wipe_leftovers() -> list[Path]:
    """End the clusters of test processes that were killed; return their folders."""
    wiped = []
    for folder in Path(FOLDER).parent.glob(f"{Path(FOLDER).name}*"):
        if not (folder / "owner.lock").exists():
            continue
        try:
            _locked(folder / "owner.lock").close()
        except BlockingIOError:
            continue
        wipe(folder)
        wiped.append(folder)
    return wiped


def _locked(path: Path) -> IO[str]:
    """Open and lock a file; the lock ends with the process, however that ends."""
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    return file


def _script(name: str, *options: str, environment: dict[str, str]) -> None:
    result = subprocess.run(
        [SCRIPTS / name, *options],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert result.returncode == 0, f"{name}: {result.stdout}{result.stderr}"


def _difference(script: Path, environment: dict[str, str]) -> dict[str, str]:
    """Return the variables that sourcing a script sets."""
    shown = subprocess.run(
        ["bash", "-c", '. "$1" && env -0', "bash", script],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    after = dict(pair.split("=", 1) for pair in shown.stdout.split("\0") if pair)
    return {
        name: value
        for name, value in after.items()
        if environment.get(name) != value and name not in {"_", "SHLVL", "PWD", "OLDPWD"}
    }


_used_ports: set[int] = set()


def free_ports() -> int:
    """Return the first of a block of free ports, below those that Linux gives to connections."""
    start = 20000 + os.getpid() % 500 * PORTS_OF_A_CLUSTER
    for base in range(start, 32000, PORTS_OF_A_CLUSTER):
        if base not in _used_ports and all(map(_is_free, range(base, base + PORTS_OF_A_CLUSTER))):
            _used_ports.add(base)
            return base
    raise RuntimeError(f"no {PORTS_OF_A_CLUSTER} successive free ports from {start} to 32000")


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
