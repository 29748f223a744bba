#!/usr/bin/env python3
"""Stands in for every stage: takes a stage's command line, and works for as long as it is told.

Name it in ACTIVEUF_STAGE_PYTHON (in a cluster file: `setup: ["export ACTIVEUF_STAGE_PYTHON=…"]`),
and the task wrapper starts it in place of `python`. What it does per unit stands in the folder that
ACTIVEUF_BEHAVIOUR names, in a file `<asset>@<partition>` or else `default`; without one it makes a
small artifact at once. Words, separated by blanks: a number (seconds of work), `fails` (a permanent
error), `stumbles` (a retryable one), `exits` (code 7, no reason), `silent` (code 0, no artifact),
`dies` (SIGKILL), `eats` (memory until it is killed), `hangs`, `waits` (until the folder has a file
`go`), `stubborn` (heeds no SIGTERM), `checkpoints` (a checkpoint every 0.2 s, and goes on from the
last), `once` (the words before it hold for the first try only).

Each start appends a line to `<behaviour>/log`: asset, partition, SLURM job id, restart, pid. That
is how a test counts who worked. Standard library only.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

STEP_S = 0.1
CHECKPOINT_EVERY_S = 0.2


def main() -> int:
    """Work on the units of a stage.json one after the other."""
    given = dict(zip(sys.argv[3::2], sys.argv[4::2], strict=False))
    run_dir = Path(given["--run-dir"])
    job = json.loads(Path(given["--config"]).read_text())
    failed = 0
    for unit in job["units"]:
        folder = run_dir / "units" / f"{unit['asset']}-{unit['fingerprint'][:12]}"
        (folder / "output").mkdir(parents=True, exist_ok=True)
        failed += not work(unit, folder)
    return 1 if failed else 0


def work(unit: dict[str, Any], folder: Path) -> bool:
    """Do what a unit's words say; return whether it was made."""
    words = words_for(unit)
    note(unit)
    sys.stdout.write(f"works as told: {' '.join(words)}\n")
    sys.stdout.flush()
    if "stubborn" in words:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    seconds = sum(float(word) for word in words if is_number(word))
    spend(seconds, Path(unit["checkpoints"]) if "checkpoints" in words else None)
    if "fails" in words or "stumbles" in words:
        record = {"kind": "DataError", "message": "told to fail", "retryable": "stumbles" in words}
        write(folder / "failure.json", record)
        return False
    if "exits" in words:
        os._exit(7)
    if "silent" in words:
        os._exit(0)
    if "dies" in words:
        os.kill(os.getpid(), signal.SIGKILL)
    if "eats" in words:
        eaten = [bytearray(50_000_000) for _ in range(200)]
        sys.stdout.write(f"still alive with {len(eaten)} blocks\n")
    while "hangs" in words or ("waits" in words and not may_go()):
        time.sleep(STEP_S)
    write(folder / "output" / "value.json", {"asset": unit["asset"], "config": unit["config"]})
    provenance = {"seconds": seconds, "git_commit": "", "libraries": {}}
    write(folder / "result.json", {"metadata": {}, "checks": [], "provenance": provenance})
    return True


def words_for(unit: dict[str, Any]) -> list[str]:
    """Return the words that hold for this try of a unit."""
    behaviour = behaviour_folder()
    if behaviour is None:
        return []
    for name in (f"{unit['asset']}@{unit['partition']}", "default"):
        if (behaviour / name).exists():
            words = (behaviour / name).read_text().split()
            if "once" in words:
                cut = words.index("once")
                words = words[cut + 1 :] if tries_of(unit) else words[:cut]
            return words
    return []


def tries_of(unit: dict[str, Any]) -> int:
    """Return how often a unit was begun before."""
    behaviour = behaviour_folder()
    path = behaviour / "log" if behaviour else None
    if path is None or not path.exists():
        return 0
    mine = f"{unit['asset']} {unit['partition']} "
    return sum(line.startswith(mine) for line in path.read_text().splitlines())


def note(unit: dict[str, Any]) -> None:
    """Write down that this process works on a unit: one line, whole, whoever else writes."""
    behaviour = behaviour_folder()
    if behaviour is None:
        return
    job_id = os.environ.get("SLURM_JOB_ID", "-")
    restart = os.environ.get("SLURM_RESTART_COUNT", "0")
    line = f"{unit['asset']} {unit['partition']} {job_id} {restart} {os.getpid()}\n"
    handle = os.open(behaviour / "log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.write(handle, line.encode())
    os.close(handle)


def spend(seconds: float, checkpoints: Path | None) -> None:
    """Work for some seconds, less what a checkpoint says was done."""
    path = checkpoints / "done" if checkpoints else None
    done = float(path.read_text()) if path and path.exists() else 0.0
    if done:
        sys.stdout.write(f"goes on from {done:g} of {seconds:g} s\n")
    while done < seconds:
        step = min(CHECKPOINT_EVERY_S if path else seconds, seconds - done)
        time.sleep(step)
        done += step
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".done.{os.getpid()}")
            partial.write_text(str(done))
            partial.replace(path)


def may_go() -> bool:
    """Whether those that wait may go on; without a folder nobody can say so."""
    behaviour = behaviour_folder()
    return behaviour is None or (behaviour / "go").exists()


def behaviour_folder() -> Path | None:
    """Return the folder with the words, None when there is none."""
    name = os.environ.get("ACTIVEUF_BEHAVIOUR")
    return Path(name) if name else None


def is_number(word: str) -> bool:
    """Whether a word is a number."""
    return word.replace(".", "", 1).isdigit()


def write(path: Path, value: Any) -> None:
    """Write JSON in one step."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(value))
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main())
