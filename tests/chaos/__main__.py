"""The fault matrix, played on private SLURM clusters on this machine: `make chaos`.

    python -m tests.chaos [--only TEXT] [--times N] [--lanes N] [--keep] [--list]
    python -m tests.chaos --random [--seed TEXT] [--minutes N]

Out: a line per cell as it ends, then a table (fault × times tried × outcome) on standard output and
in `.activeuf/chaos.md`. Exit code 1 when a promise was broken or a fault did not fire.
"""

from __future__ import annotations

import argparse
import itertools
import os
import secrets
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console

from tests.chaos import report, storm
from tests.chaos.cells import CELLS
from tests.chaos.lanes import Outcome, play_all
from tests.slurm.sandbox import require_slurm, wipe_leftovers

PROJECT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Play the cells that the command line names."""
    arguments = _arguments()
    console = Console(highlight=False, soft_wrap=True)
    chosen = [cell for cell in CELLS if arguments.only.lower() in cell.name.lower()]
    names = [cell.name for cell in sorted(chosen, key=lambda cell: -cell.limit_s)]
    if arguments.list:
        console.print("\n".join(cell.name for cell in chosen))
        return 0
    coming: Iterable[str] = names * arguments.times
    if arguments.random:
        coming = _storms(console, arguments.seed, arguments.minutes)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    require_slurm()
    wipe_leftovers()
    began = time.monotonic()
    outcomes: list[Outcome] = []
    for outcome in play_all(coming, arguments.lanes, arguments.keep):
        outcomes.append(outcome)
        report.show(console, outcome, len(outcomes), time.monotonic() - began)
    make = report.storm_table if arguments.random else report.table
    text = make(outcomes, time.monotonic() - began)
    path = PROJECT / ".activeuf" / ("chaos-random.md" if arguments.random else "chaos.md")
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    sys.stdout.write(f"\n{text}\nThe same in {path.relative_to(PROJECT)}\n")
    return int(any(outcome.verdict == "BROKEN" for outcome in outcomes))


def _storms(console: Console, seed: str, minutes: float) -> Iterator[str]:
    """Yield the names of storms until the time is over; a seed with a number is one storm."""
    seed = seed or secrets.token_hex(4)
    console.print(f"seed {seed}")
    if "-" in seed:
        yield f"{storm.ACTOR}: seed {seed}"
        return
    ends = time.monotonic() + 60 * minutes
    for number in itertools.count():
        if time.monotonic() > ends:
            return
        yield f"{storm.ACTOR}: seed {seed}-{number}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--only", default="", help="cells whose name contains this text")
    parser.add_argument("--times", type=int, default=1, help="how often each is played")
    parser.add_argument("--random", action="store_true", help="storms of random faults")
    parser.add_argument("--seed", default="", help="of the storms; printed when not given")
    parser.add_argument("--minutes", type=float, default=5.0, help="of storms")
    parser.add_argument("--lanes", type=int, default=3, help="cells at a time")
    parser.add_argument("--keep", action="store_true", help="leave the folders of broken cells")
    parser.add_argument("--list", action="store_true", help="name the cells and end")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
