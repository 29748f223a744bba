"""A stage's command line for several processes, one of which can be told to end at some batch.

`python -m torch.distributed.run … -m tests.fakes.stage_of_several MODULE --config … --run-dir …`.
`$ENDS`, as `<how>:<rank>:<number>`, ends that process when it has finished so many batches: it
`dies` without a word, or `fails` with an error.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ENDS = "ENDS"
LAUNCH = ("-m", "torch.distributed.run", "--standalone")


def write_down(unit: Mapping[str, Any], run_dir: Path) -> list[str]:
    """Write a unit down as by hand; return the arguments of its stage's command."""
    config = run_dir.with_suffix(".json")
    config.write_text(json.dumps(unit))
    return ["--config", str(config), "--run-dir", str(run_dir)]


def start(count: int, module: str, unit: Mapping[str, Any], run_dir: Path, ends: str = "") -> int:
    """Run a unit as so many processes; return the exit code."""
    command = [sys.executable, *LAUNCH, f"--nproc-per-node={count}", "-m", __name__, module]
    done = subprocess.run(
        [*command, *write_down(unit, run_dir)],
        check=False,
        timeout=180,
        env={**os.environ, ENDS: ends, "OMP_NUM_THREADS": "1"},
    )
    return done.returncode


def _prepare(how: str, rank: str, number: str) -> None:
    """Make every batch reach the disk at once, and a process end after one of them."""
    from activeuf_core.errors import DataError
    from activeuf_core.processes import current
    from activeuf_core.shards import Shards

    add, sizes = Shards.add, []

    def add_and_end(self: Shards, rows: Sequence[Mapping[str, Any]]) -> None:
        add(self, rows)
        self.write()
        sizes.append(len(rows))
        if (current().rank, len(sizes)) != (int(rank), int(number)):
            return
        if how == "fails":
            raise DataError(f"batch {number} of process {rank} is bad")
        os.kill(os.getpid(), signal.SIGKILL)

    Shards.add = add_and_end


if __name__ == "__main__":
    if os.environ.get(ENDS):
        _prepare(*os.environ[ENDS].split(":"))
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
