"""What W&B learns of a sweep's point while it is made: curves as they grow, scores, the end.

In: the engine's events, as its log carries them. Out: rows of the agent's W&B run. The loop's
metrics bear their own names, those of a training begin with `dpo_model/` or `reward_model/`, scores
are named as in `wandb_names`. Every row is a step of the run, so early termination counts rows that
hold the sweep's metric. Trouble with W&B is told and never stops a stage.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from activeuf_core.artifacts import read_json
from activeuf_core.paths import METRICS, SCORES, RunFolder
from activeuf_core.recipes import Recipe, RecipeBook
from activeuf_core.reporting import wandb_names
from activeuf_core.reporting.wandb_names import CURVES
from activeuf_dagster.engine import unit_name
from activeuf_dagster.events import Blocked, Completed, Event, Failed, Progressed, label
from activeuf_dagster.materialization import describe

log = logging.getLogger("activeuf.sweep")
ROWS = "activeuf/rows/"
"""Before an asset's name: how many of its rows were told, so that a resumed run repeats none."""


@contextlib.contextmanager
def _told_if_possible(what: str) -> Iterator[None]:
    """Let trouble with W&B, or with what is told, stop nothing: the engine runs above us."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - tracking never fails a stage: told instead
        log.warning("W&B was not told of %s: %s", what, error)


class PointReport(logging.Handler):
    """Tells a W&B run of one experiment; added to the engine's log as a handler."""

    def __init__(self, wandb_run: Any, book: RecipeBook, experiment: str) -> None:
        super().__init__()
        self.trouble: list[str] = []
        """What failed or was not tried, one line each."""
        self.tracking_failed = False
        """Whether the experiment's own W&B run could not be written, which costs no metric."""
        self.names: set[str] = set()
        """Everything that was told, by name."""
        self._run = wandb_run
        self.book = book
        self._experiment = experiment
        known = wandb_run.summary.get if wandb_run.resumed else {}.get
        self._scores = ""
        self._told = {asset: int(known(ROWS + asset) or 0) for asset in CURVES}

    def emit(self, record: logging.LogRecord) -> None:
        """Tell what an event says."""
        event = getattr(record, "event", None)
        if event is not None:
            with _told_if_possible(describe(event)):
                self._hear(event)

    def finish(self) -> None:
        """Tell all that is complete and was not told: what was fresh made no event."""
        for asset in (*CURVES, "scores"):
            recipe = self._current(asset)
            if self.book.store.inspect(asset, recipe.fingerprint).is_complete:
                with _told_if_possible(label(recipe.node)):
                    self._complete(asset, recipe.fingerprint)

    def _hear(self, event: Event) -> None:
        match event:
            case Progressed((asset, partition), job_id=job_id) if job_id:
                if partition == self._experiment and asset in CURVES:
                    self._follow(asset, self._in_the_making(asset, job_id))
            case Completed(recipe) if recipe.partition == self._experiment:
                self._complete(recipe.asset, recipe.fingerprint)
            case Failed(("wandb_summary", _)):
                self.tracking_failed = True
            case Failed() | Blocked():
                self.trouble.append(describe(event).splitlines()[0])

    def _in_the_making(self, asset: str, job_id: str) -> Path:
        run = RunFolder(self.book.store.layout.run(job_id)).latest_start()
        return run.unit(unit_name(self._current(asset))).output

    def _current(self, asset: str) -> Recipe:
        self.book.forget(asset, self._experiment)  # scores depend on what exists by now
        return self.book.recipe(asset, self._experiment)

    def _complete(self, asset: str, fingerprint: str) -> None:
        folder = self.book.store.layout.artifact(asset, fingerprint)
        if asset in CURVES:
            self._follow(asset, folder)
        if asset == "scores" and fingerprint != self._scores:
            self._scores = fingerprint
            scores = read_json(folder / SCORES)
            loss = self.book.catalog.resolved("dpo_model", self._experiment).full["loss_type"]
            facts = wandb_names.titles(scores, loss) | wandb_names.benchmarks_of_means(scores, loss)
            self._run.config.update(facts, allow_val_change=True)
            self._log(wandb_names.summary(scores, loss))

    def _follow(self, asset: str, folder: Path) -> None:
        """Tell the rows of a metrics.jsonl that were not told. One that begins anew, after a retry,
        repeats what a checkpoint remembers: so rows are counted, whatever file they stand in.
        """
        try:
            *lines, _ = (folder / METRICS).read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            return
        for line in lines[self._told[asset] :]:
            self._told[asset] += 1
            row = json.loads(line)
            named = {CURVES[asset] + name: value for name, value in row.items() if name != "step"}
            counted = {f"{asset}/step": row.get("step"), ROWS + asset: self._told[asset]}
            self._log({**named, **counted})

    def _log(self, values: Mapping[str, Any]) -> None:
        there = {name: value for name, value in values.items() if value is not None}
        self.names |= there.keys()
        if there:
            self._run.log(there)
