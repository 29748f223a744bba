"""A benchmark that an experiment leaves out: there, weightless, and no concern of what is below."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import dagster as dg
import pytest

from activeuf_core import catalog_benchmarks
from activeuf_core.evals.benchmarks import Benchmark, benchmark
from activeuf_dagster.project import Project
from tests.fakes.launcher import InstantLauncher, instant_launchers
from tests.graph.test_engine import completed, run
from tests.graph.test_staleness import edit, materialize_all, ours, verdicts

LEFT_OUT = ("minerva_math_score", "exp-a")


@pytest.fixture
def project(folder: Path) -> Project:
    """The small project, of which one experiment leaves a benchmark out."""
    leave_out(folder)
    return Project.load()


def leave_out(folder: Path) -> None:
    path = folder / "configs/experiments/exp-a.yaml"
    edit(path, lambda body: body.update(benchmarks={"minerva_math": None}))


def optional(name: str) -> Benchmark:
    """Return a row of the table; Minerva Math is optional here."""
    row = benchmark(name)
    return dataclasses.replace(row, optional=True) if name == "minerva_math" else row


def test_a_left_out_score_reads_nothing_and_is_not_read(project: Project) -> None:
    book = project.book()
    assert book.upstream(*LEFT_OUT) == ()
    assert LEFT_OUT not in book.upstream("scores", "exp-a")
    assert ("minerva_math_score", "exp-b") in book.upstream("scores", "exp-b")


def test_it_is_made_beside_the_orchestrator_although_its_model_cannot_be(
    project: Project, launcher: InstantLauncher
) -> None:
    launcher.fails = {("preference_dataset", "exp-a")}
    assert LEFT_OUT in completed(run(project, launcher))
    job = next(job for job in launcher.jobs if any(u.asset == LEFT_OUT[0] for u in job.units))
    assert job.weight == 0
    assert [unit.inputs for unit in job.units] == [{}] * len(job.units)


def test_an_optional_benchmark_is_left_out_unless_an_experiment_has_a_section(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Project.load().book().fingerprint("minerva_math_score", "exp-b")
    monkeypatch.setattr(catalog_benchmarks, "benchmark", optional)
    path = folder / "configs/experiments/exp-b.yaml"
    edit(path, lambda body: body.update(benchmarks={"minerva_math": {}}))
    catalog = Project.load().catalog
    assert catalog.resolved("minerva_math_score", "exp-a").is_stand_in
    assert catalog.resolved("scores", "exp-a").full["benchmarks"].count("minerva_math") == 0
    assert Project.load().book().fingerprint("minerva_math_score", "exp-b") == before


def test_who_leaves_it_out_does_not_notice_that_a_benchmark_is_new(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_out(folder)
    before = Project.load()
    monkeypatch.setattr(catalog_benchmarks, "benchmark", optional)
    after = Project.load()
    for asset in ("scores", "wandb_summary", "gsm8k_score"):
        prints = [one.book().fingerprint(asset, "exp-a") for one in (before, after)]
        assert prints[0] == prints[1]


def test_dagster_calls_it_fresh_whatever_becomes_of_its_model(
    folder: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Project, "launchers", instant_launchers)
    leave_out(folder)
    assert materialize_all(instance)
    assert verdicts(instance) == {}
    path = folder / "configs/experiments/exp-a.yaml"
    edit(path, lambda body: body["dpo_model"].update(learning_rate=0.5))
    assert LEFT_OUT not in ours(instance)
    assert materialize_all(instance)
    assert verdicts(instance) == {}
