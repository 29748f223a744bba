"""What a point's W&B run is told, and what it is told only once."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from activeuf_core.artifacts import Manifest, write_json
from activeuf_core.paths import METRICS, SCORES, RunFolder
from activeuf_dagster.engine import unit_name
from activeuf_dagster.events import Completed, Event, Failed, Failure, Progressed
from activeuf_dagster.project import Project
from activeuf_dagster.sweep_report import PointReport

LOOP = ("preference_dataset", "exp-a")


class FakeRun(SimpleNamespace):
    """A W&B run that remembers what it is told."""

    def __init__(self, resumed: bool = False, **summary: Any) -> None:
        super().__init__(resumed=resumed, summary=summary, rows=[], config={})

    def log(self, row: dict[str, Any]) -> None:
        self.rows.append(row)


def tell(report: PointReport, event: Event) -> None:
    record = logging.LogRecord("activeuf.engine", logging.INFO, "", 0, "", None, None)
    record.event = event
    report.emit(record)


def write_rows(project: Project, count: int, job_id: str = "job-1") -> Progressed:
    """Write rows of the loop's metrics as a running job does; return what the engine says of it."""
    recipe = project.book().recipe(*LOOP)
    output = RunFolder(project.layout.run(job_id)).unit(unit_name(recipe)).output
    output.mkdir(parents=True, exist_ok=True)
    rows = [json.dumps({"step": step, "loss": step / 10, "none": None}) for step in range(count)]
    (output / METRICS).write_text("".join(f"{row}\n" for row in rows) + '{"half')
    return Progressed(LOOP, count, 9, "batches", None, job_id)


def losses(run: FakeRun) -> list[float]:
    return [row["loss"] for row in run.rows]


def test_rows_are_told_as_they_come(project: Project) -> None:
    run = FakeRun()
    report = PointReport(run, project.book(), "exp-a")
    tell(report, write_rows(project, 2))
    tell(report, write_rows(project, 3))
    assert losses(run) == [0.0, 0.1, 0.2]
    assert run.rows[2] == {
        "loss": 0.2,
        "preference_dataset/step": 2,
        "activeuf/rows/preference_dataset": 3,
    }


def test_a_retry_that_begins_anew_repeats_nothing(project: Project) -> None:
    run = FakeRun()
    report = PointReport(run, project.book(), "exp-a")
    tell(report, write_rows(project, 3))
    tell(report, write_rows(project, 1, "job-2"))
    tell(report, write_rows(project, 4, "job-2"))
    assert losses(run) == [0.0, 0.1, 0.2, 0.3]


def test_a_resumed_run_goes_on_where_it_was(project: Project) -> None:
    run = FakeRun(resumed=True, **{"activeuf/rows/preference_dataset": 2})
    tell(PointReport(run, project.book(), "exp-a"), write_rows(project, 3))
    assert losses(run) == [0.2]


def test_another_experiment_is_not_told(project: Project) -> None:
    run = FakeRun()
    tell(PointReport(run, project.book(), "exp-b"), write_rows(project, 3))
    assert run.rows == []


def test_trouble_with_wandb_stops_nothing(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    run = FakeRun()
    run.rows = None  # so that logging a row fails
    tell(PointReport(run, project.book(), "exp-a"), write_rows(project, 1))
    assert "W&B was not told of preference_dataset[exp-a]" in caplog.text


def test_failures_are_kept_as_reasons(project: Project) -> None:
    report = PointReport(FakeRun(), project.book(), "exp-a")
    tell(report, Failed(LOOP, Failure("DataError", "told to fail\nand more")))
    assert report.trouble == ["preference_dataset[exp-a]: FAILED (DataError): told to fail"]


def test_a_failure_of_tracking_is_told_apart(project: Project) -> None:
    report = PointReport(FakeRun(), project.book(), "exp-a")
    tell(report, Failed(("wandb_summary", "exp-a"), Failure("CommError", "no way there")))
    assert report.tracking_failed
    assert report.trouble == []


def test_scores_are_told_once(project: Project, tmp_path: Path) -> None:
    book = project.book()
    recipe = book.recipe("scores", "exp-a")
    names = ("DPO/Mean", "Rewardbench/Mean", "Final Score/Mean")
    means = {name: {"value": 0.5, "over": ["gsm8k"]} for name in names}
    write_json(tmp_path / "made" / SCORES, {"benchmarks": {}, "means": means})
    fields = ("asset", "partition", "fingerprint", "version", "generation", "config", "inputs")
    told = {name: getattr(recipe, name) for name in fields}
    manifest = Manifest(**told, metadata={}, checks=(), provenance={"seconds": 0.1})
    manifest = book.store.publish(manifest, tmp_path / "made")
    run = FakeRun()
    report = PointReport(run, book, "exp-a")
    tell(report, Completed(recipe, manifest, is_adopted=False))
    report.finish()
    assert [row["DPO/Mean"] for row in run.rows] == [0.5]
    assert run.config["over/DPO/Mean"] == "gsm8k"
    assert "DPO/Mean" in report.names
