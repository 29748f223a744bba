"""The furniture of every stage: how it is started, what it reads, how it reports.

`python -m activeuf_core.<stage> --config job.json --run-dir DIR` runs the units of a job one after
the other. A stage is a function `run(context)`; it reads `context.input(...)`, writes files to
`context.output`, and reports progress, metrics, metadata and checks. It never publishes: whoever
started it does (`activeuf_core.task`).

By hand, `--config` may also be one unit in short, as YAML or JSON: `asset`, `config`, `inputs`
(asset: folder) and `locations` (model or data name: path).
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import math
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel

from activeuf_core import processes, shared_fate
from activeuf_core.artifacts import write_json
from activeuf_core.config import DataRef, ModelRef, parse, read_yaml
from activeuf_core.errors import ActiveUFError, ConfigError, DataError, choose_from
from activeuf_core.jobs import Unit
from activeuf_core.paths import METRICS, RunFolder, UnitFolder
from activeuf_core.provenance import git_commit, library_versions, peak_memory
from activeuf_core.stand_ins import is_stand_in

log = logging.getLogger("activeuf")
Config = TypeVar("Config", bound=BaseModel)
PREVIEW_ROWS = 5
PREVIEW_CHARACTERS = 160
PROGRESS_INTERVAL_S = 0.5
STAND_IN_RUN = "activeuf_core.stand_in_stage:run"


class StageContext:
    """What a stage sees of the unit that it works on."""

    def __init__(
        self, unit: Unit, folder: UnitFolder, checkpoints: Path, of_unit: UnitFolder | None = None
    ) -> None:
        """Args: folder: where this process writes. of_unit: the unit's, if that is another one."""
        self.unit = unit
        self.asset = unit.asset
        self.partition = unit.partition
        self.output = folder.output
        self.checkpoints = checkpoints
        self.metadata: dict[str, Any] = {}
        self.checks: list[dict[str, Any]] = []
        self._folder = folder
        self._of_unit = of_unit or folder
        self._started = time.time()
        self._progress_written = 0.0
        self._when_done: list[Callable[[], None]] = []

    @property
    def runtime(self) -> Mapping[str, Any]:
        """Settings that are not part of the recipe: threads, tracking."""
        return self.unit.runtime

    def config(self, model: type[Config]) -> Config:
        """Return the stage's config, checked. Raises: ConfigError."""
        return parse(model, self.unit.config, f"{self.asset}[{self.partition}]")

    def input(self, asset: str) -> Path:
        """Return the folder of the one partition of `asset` that this unit reads.

        Raises: DataError when there is not exactly one.
        """
        folders = self.inputs(asset)
        if len(folders) != 1:
            raise DataError(
                f"{self.asset}[{self.partition}]: expected one {asset}, got {len(folders)}: "
                f"{sorted(folders)}."
            )
        return next(iter(folders.values()))

    def inputs(self, asset: str) -> dict[str, Path]:
        """Return the folders of all partitions of `asset` that this unit reads, by partition; {}
        when none.
        """
        return {
            partition: Path(path) for partition, path in self.unit.inputs.get(asset, {}).items()
        }

    def locate(self, ref: ModelRef | DataRef) -> str:
        """Return where a named model or data source lies: a path, or a hub id with `@revision`.

        Raises: ConfigError when this machine does not say.
        """
        try:
            return self.unit.locations[ref.name]
        except KeyError:
            known = choose_from(ref.name, self.unit.locations)
            raise ConfigError(
                f"{self.asset}[{self.partition}]: nobody says where {ref.name!r} lies; {known}."
            ) from None

    def progress(self, done: int, total: int, unit: str = "rows") -> None:
        """Say how far the work is; cheap enough to call at every step."""
        now = time.time()
        if done < total and now - self._progress_written < PROGRESS_INTERVAL_S:
            return
        self._progress_written = now
        elapsed = now - self._started
        eta = elapsed / done * (total - done) if done else None
        record = {"done": done, "total": total, "unit": unit, "elapsed_s": elapsed, "eta_s": eta}
        write_json(self._folder.progress, record)

    def log_metrics(self, step: int, **values: float) -> None:
        """Append one line to metrics.jsonl; values that are not finite are written as null."""
        line = {
            name: (value if abs(value) < float("inf") else None) for name, value in values.items()
        }
        with (self.output / METRICS).open("a", encoding="utf-8") as handle:
            handle.write(json.dumps({"step": step, **line}) + "\n")

    def add_metadata(self, **values: float | int | str | bool) -> None:
        """Report facts that a person wants to see beside the artifact."""
        self.metadata.update(values)

    def add_table(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Report a preview of rows: the first few, long texts cut."""
        shown = []
        for row, _ in zip(rows, range(PREVIEW_ROWS), strict=False):
            shown.append({key: _short(value) for key, value in row.items()})
        self.metadata[name] = {"kind": "table", "rows": shown}

    def add_markdown(self, name: str, text: str) -> None:
        """Report a text with Markdown in it."""
        self.metadata[name] = {"kind": "markdown", "text": text}

    def add_plot(self, name: str, path: Path) -> None:
        """Report a picture that the stage wrote below its output."""
        self.metadata[name] = {"kind": "plot", "path": path.relative_to(self.output).as_posix()}

    def check(
        self,
        name: str,
        passed: bool,
        description: str,
        *,
        blocking: bool = False,
        **values: float | str,
    ) -> None:
        """Report a fact that an asset check shows. A failed blocking check stops everything
        downstream.
        """
        found = {
            "name": name,
            "passed": bool(passed),
            "description": description,
            "blocking": blocking,
        }
        self.checks.append({**found, "values": values})

    def start_again(self, reason: str) -> NoReturn:
        """End all processes of the stage, to be started once more: they go on from what they left
        in `checkpoints`.
        """
        shared_fate.ask_for_another_start(self._of_unit, reason)

    def when_done(self, act: Callable[[], None]) -> None:
        """Do something once the result is written: until then, what it removes may be needed."""
        self._when_done.append(act)

    def finish(self) -> None:
        """Write the result: from here on the unit counts as done."""
        seconds = time.time() - self._started
        provenance = {
            "seconds": seconds,
            "started": self._started,
            "git_commit": git_commit(),
            "libraries": library_versions(),
            "threads": os.environ.get("OMP_NUM_THREADS", "default"),
            **peak_memory(),
        }
        result = {"metadata": self.metadata, "checks": self.checks, "provenance": provenance}
        write_json(self._folder.result, _plain(result))
        for act in self._when_done:
            act()


Run = Callable[[StageContext], None]


def main(runs: Mapping[str, str]) -> int:
    """Run a stage from the command line; return the exit code.

    Args: runs: per asset that the stage makes, `module:function`; imported when first needed, so
    that a stage does not pay for its neighbours.
    """
    arguments = _arguments()
    logging.basicConfig(
        level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(levelname)s %(message)s"
    )
    folder = Path(arguments.run_dir).absolute()
    exit_code = 0
    shared_fate.bind()
    for unit, where in _units(arguments.config, folder):
        if not _run_unit(unit, where, runs):
            exit_code = 1
            if processes.current().count > 1:  # units that are left are started anew
                shared_fate.leave(exit_code)
    processes.part()
    return exit_code


def _run_unit(unit: Unit, folder: UnitFolder, runs: Mapping[str, str]) -> bool:
    of_unit, folder = folder, _of_this_process(folder)
    _clean(folder)
    folder.output.mkdir(parents=True)
    checkpoints = Path(unit.checkpoints) if unit.checkpoints else of_unit.path / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    context = StageContext(unit, folder, checkpoints, of_unit)
    log.info("%s[%s] begins", unit.asset, unit.partition)
    try:
        _refuse_several(unit.asset)
        with shared_fate.watched(of_unit):
            _run_of(unit, runs)(context)
            context.finish()
    except Exception as error:  # noqa: BLE001 - the boundary of a unit: recorded
        _record_failure(of_unit, unit, error)
        return False
    log.info("%s[%s] done in %.1f s", unit.asset, unit.partition, time.time() - context._started)
    return True


def _of_this_process(folder: UnitFolder) -> UnitFolder:
    """Return where this process of a stage writes.

    Of a stage of several processes, the first one's output is published; each other has a folder of
    its own, so that none clears what another writes.
    """
    rank = processes.current().rank
    return folder if rank == 0 else UnitFolder(folder.path / f"rank-{rank}")


def _refuse_several(asset: str) -> None:
    """Raises: ConfigError when several processes would do the same work side by side."""
    count = processes.current().count
    if count == 1:
        return
    from activeuf_core.stages import STAGES

    if any(stage.asset == asset and not stage.divides for stage in STAGES):
        dividing = ", ".join(stage.asset for stage in STAGES if stage.divides)
        raise ConfigError(
            f"{asset} was started as {count} processes, and works as one: each would do all of it. "
            f"Start it as one process on one device. Those that divide their work: {dividing}."
        )


def _clean(folder: UnitFolder) -> None:
    """Remove what an earlier run of the unit left, and nothing else."""
    shutil.rmtree(folder.output, ignore_errors=True)
    for path in (folder.result, folder.failure, folder.progress, folder.again):
        path.unlink(missing_ok=True)


def _record_failure(folder: UnitFolder, unit: Unit, error: Exception) -> None:
    expected = isinstance(error, ActiveUFError)
    text = "".join(traceback.format_exception(error))
    log.error("%s[%s] failed: %s", unit.asset, unit.partition, error if expected else text)
    record = {
        "kind": type(error).__name__,
        "message": str(error),
        "retryable": isinstance(error, ActiveUFError) and error.retryable,
        "traceback": text,
    }
    shared_fate.record_failure(folder, record)


def _run_of(unit: Unit, runs: Mapping[str, str]) -> Run:
    """Return what makes a unit: the stage, or what writes stand-ins."""
    if is_stand_in(unit.config):
        return _imported(STAND_IN_RUN)
    return _load(runs, unit.asset)


def _load(runs: Mapping[str, str], asset: str) -> Run:
    if asset not in runs:
        raise ConfigError(f"this stage does not make {asset!r}; {choose_from(asset, runs)}.")
    return _imported(runs[asset])


def _imported(name: str) -> Run:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run one stage over the units of a job.")
    parser.add_argument(
        "--config", type=Path, required=True, help="job.json, or one unit as YAML or JSON"
    )
    parser.add_argument(
        "--run-dir", type=Path, required=True, help="folder for output, progress and logs"
    )
    return parser.parse_args()


def _units(path: Path, run_dir: Path) -> list[tuple[Unit, UnitFolder]]:
    """Return the units of a job file, or the one unit that a person wrote down in short."""
    body = read_yaml(path)
    if "units" in body:
        units = [Unit(**unit) for unit in body["units"]]
        return [(unit, RunFolder(run_dir).unit(unit.name)) for unit in units]
    inputs = {asset: {asset: str(folder)} for asset, folder in body.get("inputs", {}).items()}
    _require_own_folder(run_dir)
    unit = Unit(
        asset=body["asset"],
        partition=body.get("partition", "by-hand"),
        fingerprint="",
        version="",
        generation=0,
        config=body.get("config", {}),
        inputs=inputs,
        input_fingerprints={},
        locations=body.get("locations", {}),
        runtime=body.get("runtime", {}),
    )
    return [(unit, UnitFolder(run_dir))]


def _require_own_folder(run_dir: Path) -> None:
    """Refuse a folder with other things in it: a run by hand writes and removes files there."""
    known = UnitFolder(run_dir)
    own = (known.output, known.result, known.failure, *run_dir.glob("rank-*"))
    if run_dir.exists() and any(run_dir.iterdir()) and not any(path.exists() for path in own):
        raise SystemExit(f"--run-dir {run_dir} holds other files. Name a new or an empty folder.")


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it: numpy scalars as Python's, NaN and infinities as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if hasattr(value, "item") and not isinstance(value, (int, float, str, bool)):
        value = value.item()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _short(value: Any) -> Any:
    """Cut a preview cell to one readable line."""
    if isinstance(value, (int, float, bool)) or value is None:
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= PREVIEW_CHARACTERS else text[: PREVIEW_CHARACTERS - 1] + "…"
