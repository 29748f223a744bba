"""The fault matrix, played on private SLURM clusters on this machine: `make chaos`.

    python -m tests.chaos [--only TEXT] [--lanes N] [--keep] [--list]

Out: a line per cell as it ends, then a table (fault × times tried × outcome) on standard output and
in `.activeuf/chaos.md`. Exit code 1 when a promise was broken or a fault did not fire.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from rich.console import Console

from tests.chaos import report
from tests.chaos.cells import CELLS
from tests.chaos.lanes import Outcome, play_all
from tests.slurm.sandbox import require_slurm, wipe_leftovers

PROJECT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Play the cells that the command line names."""
    arguments = _arguments()
    console = Console(highlight=False, soft_wrap=True)
    chosen = [cell for cell in CELLS if arguments.only.lower() in cell.name.lower()]
    if arguments.list:
        console.print("\n".join(cell.name for cell in chosen))
        return 0
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    require_slurm()
    wipe_leftovers()
    began = time.monotonic()
    outcomes: list[Outcome] = []
    for outcome in play_all(chosen, min(arguments.lanes, len(chosen)), arguments.keep):
        outcomes.append(outcome)
        report.show(console, outcome, len(outcomes), len(chosen), time.monotonic() - began)
    text = report.table(outcomes, time.monotonic() - began)
    path = PROJECT / ".activeuf" / "chaos.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    sys.stdout.write(f"\n{text}\nThe same in {path.relative_to(PROJECT)}\n")
    return int(any(outcome.verdict == "BROKEN" for outcome in outcomes))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--only", default="", help="cells whose name contains this text")
    parser.add_argument("--lanes", type=int, default=3, help="cells at a time")
    parser.add_argument("--keep", action="store_true", help="leave the folders of broken cells")
    parser.add_argument("--list", action="store_true", help="name the cells and end")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
