#!/usr/bin/env python3
"""Stands in for every stage under chaos: works as told, notes who it is, and may die anywhere.

Started by the task wrapper as `payload.py -m MODULE --config FILE --run-dir FOLDER`. The folder
ACTIVEUF_BEHAVIOUR holds a file per node, `<asset>@<partition>` or else `default`: line n is for the
n-th start, the last line for all later ones. Words: a number (seconds of work), `checkpoints` (one
every 0.2 s, and goes on from the last), `slow-checkpoints` (each takes 1 s to write), `hangs`,
`silent` (code 0, no artifact), `waits` (until there is a file `go`), `foreign` (leaves another
partition's manifest in its output), `freezes` (SIGSTOP to itself). Crash points:
mid-write, mid-checkpoint, before-result, after-result.

Every start appends lines to `<behaviour>/journal`, and holds a lock by which two that work on one
artifact at the same time notice each other. Standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from activeuf_core.crash_points import reach  # noqa: E402 - a script finds the project by itself

STEP_S = 0.1
CHECKPOINT_EVERY_S = 0.2
ROWS = 200
VALUE = "value.json"
"""The output that says who made it."""


class Worker:
    """One start of a stage on one unit."""

    def __init__(self, unit: dict[str, Any], run_dir: Path) -> None:
        self.unit = unit
        self.node = f"{unit['asset']}@{unit['partition']}"
        self.behaviour = Path(os.environ["ACTIVEUF_BEHAVIOUR"])
        self.folder = run_dir / "units" / f"{unit['asset']}-{unit['fingerprint'][:12]}"
        named = run_dir.name.startswith("start-")
        self.identity = {
            "job": run_dir.parent.name if named else run_dir.name,
            "start": int(run_dir.name[6:]) if named else 1,
            "attempt": unit["attempt"],
            "restart": int(os.environ.get("SLURM_RESTART_COUNT") or 0),
            "slurm_job_id": os.environ.get("SLURM_JOB_ID", ""),
            "pid": os.getpid(),
        }

    def work(self) -> None:
        """Do what the words for this start say."""
        words = self.words()
        self.note("begin", words=words)
        self.look_for_others()
        (self.folder / "output").mkdir(parents=True, exist_ok=True)
        self.spend(sum(float(word) for word in words if word[0].isdigit()), words)
        if "silent" in words:
            os._exit(0)
        if "freezes" in words:
            os.kill(os.getpid(), signal.SIGSTOP)
        while "hangs" in words:
            time.sleep(STEP_S)
        while "waits" in words and not (self.behaviour / "go").exists():
            time.sleep(STEP_S)
        self.write_output(is_foreign="foreign" in words)
        reach("before-result")
        write(
            self.folder / "result.json",
            {
                "metadata": {},
                "checks": [],
                "provenance": {"seconds": 0.0, "git_commit": "", "libraries": {}},
            },
        )
        self.note("end")
        reach("after-result")

    def words(self) -> list[str]:
        """Return the words for this start."""
        for name in (self.node, "default"):
            path = self.behaviour / name
            if path.exists():
                lines = path.read_text().splitlines() or [""]
                return lines[min(self.starts_before(), len(lines) - 1)].split()
        return []

    def starts_before(self) -> int:
        """Return how often this node was begun before."""
        path = self.behaviour / "journal"
        lines = path.read_text().splitlines() if path.exists() else []
        found = [json.loads(line) for line in lines]
        return sum(line["what"] == "begin" and line["node"] == self.node for line in found)

    def note(self, what: str, **facts: Any) -> None:
        """Append a line to the journal: one write, whole, whoever else writes."""
        line = {"what": what, "node": self.node, "time": time.time(), **self.identity, **facts}
        handle = os.open(self.behaviour / "journal", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(handle, (json.dumps(line) + "\n").encode())
        os.close(handle)

    def look_for_others(self) -> None:
        """Take the node's lock until this process ends; note who holds it instead."""
        self.lock = (self.behaviour / f"busy-{self.node}").open("a+")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.lock.seek(0)
            holder = (self.lock.read().splitlines() or ["{}"])[-1]
            self.note("clash", holder=json.loads(holder))
            return
        self.lock.truncate(0)
        self.lock.write(json.dumps(self.identity) + "\n")
        self.lock.flush()

    def spend(self, seconds: float, words: list[str]) -> None:
        """Work for some seconds, less what a checkpoint says was done."""
        is_slow = "slow-checkpoints" in words
        keeps = is_slow or "checkpoints" in words
        path = Path(self.unit["checkpoints"]) / "done"
        done = float(path.read_text()) if keeps and path.exists() else 0.0
        self.note("resume", done=done)
        end = time.monotonic() + seconds - done
        while time.monotonic() < end:
            time.sleep(min(CHECKPOINT_EVERY_S, max(0.0, end - time.monotonic())))
            if keeps:
                self.checkpoint(path, seconds - max(0.0, end - time.monotonic()), is_slow)

    def checkpoint(self, path: Path, done: float, is_slow: bool) -> None:
        """Write how much is done, in one step."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".done.{os.getpid()}")
        with partial.open("w") as handle:
            handle.write(str(done)[:1])
            handle.flush()
            reach("mid-checkpoint")
            if is_slow:
                self.note("saving")
                time.sleep(1)
            handle.seek(0)
            handle.write(str(done))
        partial.replace(path)

    def write_output(self, *, is_foreign: bool) -> None:
        """Write who we are, and rows enough to be torn."""
        output = self.folder / "output"
        with (output / "rows.jsonl").open("w") as rows:
            for number in range(ROWS):
                if number == ROWS // 2:
                    rows.flush()
                    reach("mid-write")
                rows.write(json.dumps({"row": number, "node": self.node}) + "\n")
        if is_foreign:
            write(output / "manifest.json", {"asset": "prompts", "fingerprint": "0" * 64})
        write(output / VALUE, {"node": self.node, **self.identity})


def main() -> int:
    """Work on the units of a stage.json one after the other."""
    given = dict(zip(sys.argv[3::2], sys.argv[4::2], strict=False))
    job = json.loads(Path(given["--config"]).read_text())
    for unit in job["units"]:
        Worker(unit, Path(given["--run-dir"])).work()
    return 0


def write(path: Path, value: Any) -> None:
    """Write JSON in one step."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(value))
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main())
