"""What a test job finds on its node: the other half of `check.py`, run by the wave script itself.

In: a wave's folder with `expect.json`. Out: `hello.json` while it holds a lock, and `report.json`,
a list of findings. The login node answers in between, so that both see each other's files and
locks. Standard library only, as the task wrapper, whose place it takes.

Commands: `python -m activeuf_core.slurm.probe --wave FOLDER [-- PREFIX…]`; with a prefix, such as
`srun --nodes=2`, each task of the job runs `… --rank FOLDER`.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from activeuf_core import processes, task
from activeuf_core.artifacts import read_json, write_json

EXPECT, HELLO, ANSWER, REPORT = "expect.json", "hello.json", "answer.json", "report.json"
LOGIN_LOCK, NODE_LOCK, RANKS = "login.lock", "node.lock", "ranks"
ANSWER_PATIENCE_S = 30.0
POLL_S = 0.05
RANK_TIMEOUT_S = 120
LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "pydantic", "pyarrow", "lm_eval")
"""What stages import; looked for, not imported, which would take a minute."""
Finding = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Look around, or be one of several tasks. Returns: 0; what is wrong stands in the report."""
    words = list(arguments)
    cut = words.index("--") if "--" in words else len(words)
    prefix, folder = words[cut + 1 :], Path(words[1])
    if words[0] == "--rank":
        return _be_a_rank(folder)
    expected = read_json(folder / EXPECT)
    with (folder / NODE_LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        findings = list(_findings(folder, expected, prefix))
    write_json(folder / REPORT, {"host": host(), "findings": findings})
    return 0


def host() -> str:
    """Return the node's name as SLURM knows it."""
    return os.environ.get("SLURMD_NODENAME") or platform.node()


def _findings(
    folder: Path, expected: Mapping[str, Any], prefix: Sequence[str]
) -> Iterator[Finding]:
    where = f"{platform.python_version()} ({sys.executable}) imports {task.__name__}"
    yield _finding("python", where)
    if expected["shares_files"]:
        yield from _exchange(folder)
    yield _variables(expected["environment"])
    yield _gpus(int(expected["gpus"]))
    yield _scratch()
    yield from _stage(folder, prefix, int(expected["tasks"]), int(expected["nodes"]))


def _exchange(folder: Path) -> Iterator[Finding]:
    """Say hello, wait for the answer; meanwhile each side looks at the other's lock."""
    sees_lock = not is_free(folder / LOGIN_LOCK)
    began = time.time()
    write_json(folder / HELLO, {"host": host(), "time": began})
    while not (folder / ANSWER).exists() and time.time() - began < ANSWER_PATIENCE_S:
        time.sleep(POLL_S)
        os.listdir(folder)  # a network file system looks anew
    if not (folder / ANSWER).exists():
        text = f"no file from the login node within {ANSWER_PATIENCE_S:g} s"
        remedy = "ACTIVEUF_HOME must be one folder, shared by the login node and the nodes"
        yield _finding("files", text, remedy)
        return
    round_trip, answer = time.time() - began, read_json(folder / ANSWER)
    yield _finding("files", f"seen by each other, there and back in {round_trip:.1f} s")
    both = sees_lock and bool(answer["sees_node_lock"])
    text = "hold across machines" if both else "are not seen by the other machine"
    remedy = (
        "mount ACTIVEUF_HOME with locks that reach the server (Lustre: -o flock, not localflock)"
    )
    yield _finding("locks", text, "" if both else remedy)


def is_free(path: Path) -> bool:
    """Whether nobody holds a lock on a file."""
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _variables(names: Sequence[str]) -> Finding:
    missing = [name for name in names if name not in os.environ]
    text = f"not set: {', '.join(missing)}" if missing else "lines ran, variables are set"
    return _finding("setup", text, "a line of `setup` unsets them" if missing else "")


def _gpus(wanted: int) -> Finding:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    found = len([name for name in visible.split(",") if name and name != "NoDevFiles"])
    if found == wanted or not wanted:
        return _finding("gpus", f"{found} visible" if wanted else "none asked for")
    remedy = "ask the administrators whether GPUs are a GRES here; if not, use `extra_sbatch`"
    text = f"{wanted} asked for, {found} visible (CUDA_VISIBLE_DEVICES={visible!r})"
    return _finding("gpus", text, remedy)


def _scratch() -> Finding:
    folder = tempfile.gettempdir()
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        return _finding("scratch", f"{folder}: {error}", "name a writable `scratch` folder")
    wanted = os.environ.get("TMPDIR")
    free = shutil.disk_usage(folder).free / 1e9
    if wanted and Path(wanted) != Path(folder):
        text = f"{wanted} cannot be written; {folder} would be used"
        return _finding("scratch", text, "name a writable `scratch` folder")
    return _finding("scratch", f"{folder} is writable, {free:.0f} GB free")


def _stage(folder: Path, prefix: Sequence[str], tasks: int, nodes: int) -> Iterator[Finding]:
    """Start what a stage would be: a process per task, of an interpreter with its libraries."""
    python = os.environ.get(task.STAGE_PYTHON) or sys.executable
    command = [*prefix, python, "-m", __spec__.name, "--rank", str(folder)]
    said = ""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=RANK_TIMEOUT_S, check=False
        )
        said = done.stderr.strip()[-500:]
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    ranks = [read_json(path) for path in sorted((folder / RANKS).glob("*.json"))]
    hosts = sorted({rank["host"] for rank in ranks})
    if len(ranks) != tasks or len(hosts) != nodes:
        text = f"{tasks} on {nodes} nodes asked for, {len(ranks)} on {len(hosts)} began: {said}"
        yield _finding("stage", text, f"see why this does not work: {' '.join(command[:-2])}")
        return
    yield _finding("stage", f"{tasks} processes on {', '.join(hosts)}" if tasks > 1 else "starts")
    missing = sorted({name for rank in ranks for name in rank["missing"]})
    remedy = f"install the project's requirements.lock for {python}, or name another `python`"
    if missing:
        yield _finding("libraries", f"missing: {', '.join(missing)}", remedy)
    else:
        yield _finding("libraries", "all there")


def _be_a_rank(folder: Path) -> int:
    number = processes.current().rank
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    write_json(folder / RANKS / f"{number}.json", {"host": host(), "missing": missing})
    return 0


def _finding(name: str, text: str, remedy: str = "") -> Finding:
    """Return a finding; one with a remedy is a problem."""
    return {"name": name, "text": text, "remedy": remedy}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
