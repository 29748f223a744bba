"""Run every acquisition function on a pool of judged completions, and report what that shows.

In: a pool (see `pool`), named by --pool or lying under $ACTIVEUF_SHARED_DATA. Out: in DIR
results.jsonl, one line per (function, seed), and report.md with its pictures. A run that stands in
results.jsonl is not made again, so the command can be stopped and started at any time.
Cost: 10 seeds took 8 minutes in two processes on two cores, 6 to 7 seconds a run.
Command: python -m studies.acquisition_functions --pool PATH --out DIR [--seeds 10] [--quick]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are imported

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from activeuf_core.errors import ActiveUFError
from studies.acquisition_functions.report import write_report
from studies.acquisition_functions.runs import (
    CEILING,
    FUNCTIONS,
    Run,
    StudySettings,
    from_json,
    run_key,
)
from studies.acquisition_functions.workers import Place, make_runs

log = logging.getLogger("activeuf")

POOL_IN_SHARED_DATA = Path("pool") / "alpaca_eval_pool.jsonl.xz"
QUICK = StudySettings(hand_size=4, batch_size=16, num_heads=3, hidden_size=8)
QUICK_PROMPTS = 40


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    arguments = _arguments(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        _study(arguments)
    except ActiveUFError as error:
        log.error("%s", error)
        return 1
    return 0


def _study(arguments: argparse.Namespace) -> None:
    started = time.perf_counter()
    place = Place(
        arguments.pool,
        arguments.out / "cache",
        arguments.model,
        QUICK_PROMPTS if arguments.quick else None,
    )
    material = place.load()
    settings = QUICK if arguments.quick else StudySettings()
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = arguments.out / "results.jsonl"
    seeds = range(1, arguments.seeds + 1)
    names = arguments.functions or (CEILING, *FUNCTIONS)
    wanted = {
        run_key(name, seed, settings, material): (name, seed) for seed in seeds for name in names
    }
    done = {found.key: found for found in _read(results) if found.key in wanted}
    left = [unit for key, unit in wanted.items() if key not in done]
    log.info("%d runs wanted, %d done before", len(wanted), len(done))
    made = make_runs(left, settings, place, arguments.processes)
    for number, found in enumerate(made, start=1):
        done[found.key] = found
        _append(results, found)
        spent = time.perf_counter() - started
        log.info(
            "%d of %d: %s, seed %d: accuracy %.4f, %.0f s; %.1f minutes left",
            number,
            len(left),
            found.function,
            found.seed,
            found.points[-1].fresh_accuracy,
            found.seconds,
            spent / number * (len(left) - number) / 60,
        )
    ordered = [done[key] for key in wanted]
    path = write_report(arguments.out, ordered, settings, material, arguments.model)
    log.info("%s; this command took %.1f minutes", path, (time.perf_counter() - started) / 60)


def _read(path: Path) -> Iterable[Run]:
    """Yield the runs of earlier commands; a line that was cut off by a kill is passed over."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as handle:
        for number, line in enumerate(handle, start=1):
            try:
                yield from_json(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                log.warning("%s, line %d is passed over (%r)", path.name, number, error)


def _append(path: Path, found: Run) -> None:
    """Add a run on a line of its own, also behind a line that was cut off."""
    with path.open("ab+") as handle:
        torn = handle.tell() > 0 and path.read_bytes()[-1:] != b"\n"
        handle.write((b"\n" if torn else b"") + json.dumps(asdict(found)).encode() + b"\n")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m studies.acquisition_functions")
    shared = os.environ.get("ACTIVEUF_SHARED_DATA")
    parser.add_argument(
        "--pool",
        type=Path,
        default=Path(shared) / POOL_IN_SHARED_DATA if shared else None,
        help="JSON lines of judged completions, plain or .xz; else looked for under "
        "$ACTIVEUF_SHARED_DATA",
    )
    parser.add_argument("--out", type=Path, required=True, help="where results and report go")
    parser.add_argument("--seeds", type=int, default=10, help="seeds 1 to this (10)")
    parser.add_argument("--functions", nargs="+", choices=(CEILING, *FUNCTIONS), metavar="NAME")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--model", type=Path, help="a model's folder: features use its input embeddings"
    )
    parser.add_argument("--quick", action="store_true", help="a few prompts and tiny heads")
    found = parser.parse_args(argv)
    if found.pool is None:
        parser.error("name the pool with --pool, or set ACTIVEUF_SHARED_DATA")
    if found.seeds < 1 or found.processes < 1:
        parser.error("--seeds and --processes are at least 1")
    return found


if __name__ == "__main__":
    sys.exit(main())
