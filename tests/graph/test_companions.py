"""Runs of one backfill share their submissions, and one of them leads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARENT_RUN_ID_TAG, RETRY_NUMBER_TAG
from dagster._core.test_utils import create_run_for_test

from activeuf_core.recipes import Node
from activeuf_dagster import backfill
from activeuf_dagster.code_location import build
from activeuf_dagster.companions import terms_of
from activeuf_dagster.engine import ALONE
from activeuf_dagster.foreground import Wave, nodes_in, run_waves, waves
from activeuf_dagster.interruption import is_whole_backfill_cancelled
from activeuf_dagster.planning import nodes_of, statuses
from activeuf_dagster.project import Launchers, Project
from tests.fakes.launcher import InstantLauncher

A, B, C = (("dpo_model", f"exp-{key}") for key in "abc")
FEATURES: Node = ("features", "tiny")


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance that keeps backfills."""
    (tmp_path / "sqlite").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "sqlite")) as found:
        yield found


def run_of(instance: dg.DagsterInstance, nodes: list[Node], **tags: str) -> dg.DagsterRun:
    """Return a run of a backfill of some nodes."""
    number = backfill.launch(
        instance, nodes, title="", description="", tags={}, run_config={"ops": {}}
    )
    return create_run_for_test(instance, tags={BACKFILL_ID_TAG: number, **tags})


def test_the_first_run_takes_along_what_the_backfill_wants(
    on_disk: dg.DagsterInstance, project: Project
) -> None:
    run = run_of(on_disk, [A, C, FEATURES])
    with terms_of(on_disk, run, [A], project.layout) as first:
        assert set(first.companions) == {A, C} and first.may_submit()
        assert first.failed_since <= time.time()
        with terms_of(on_disk, run, [C], project.layout) as second:
            assert second.companions == () and not second.may_submit()


def test_another_run_takes_over_when_the_first_is_gone(
    on_disk: dg.DagsterInstance, project: Project
) -> None:
    run = run_of(on_disk, [A, C])
    with terms_of(on_disk, run, [A], project.layout):
        waiting = terms_of(on_disk, run, [C], project.layout)
        terms = waiting.__enter__()
        assert not terms.may_submit()
    assert terms.may_submit()
    waiting.__exit__(None, None, None)


def test_nothing_is_submitted_for_a_cancelled_backfill(
    on_disk: dg.DagsterInstance, project: Project
) -> None:
    run = run_of(on_disk, [A, C])
    with terms_of(on_disk, run, [A], project.layout) as terms:
        assert terms.may_submit()
        one = on_disk.get_backfill(run.tags[BACKFILL_ID_TAG])
        assert one is not None
        on_disk.update_backfill(one.with_status(BulkActionStatus.CANCELING))
        assert not terms.may_submit()
        assert is_whole_backfill_cancelled(on_disk, run.run_id)


def test_other_kinds_of_partitions_do_not_wait(
    on_disk: dg.DagsterInstance, project: Project
) -> None:
    run = run_of(on_disk, [A, FEATURES])
    with (
        terms_of(on_disk, run, [A], project.layout),
        terms_of(on_disk, run, [FEATURES], project.layout) as other,
    ):
        assert other.may_submit() and other.companions == (FEATURES,)


def test_a_run_without_a_backfill_is_alone(on_disk: dg.DagsterInstance, project: Project) -> None:
    with terms_of(on_disk, create_run_for_test(on_disk), [A], project.layout) as terms:
        assert terms == ALONE


@pytest.mark.parametrize(("retry", "is_alone"), [({}, True), ({RETRY_NUMBER_TAG: "1"}, False)])
def test_a_person_who_tries_a_run_again_means_it(
    on_disk: dg.DagsterInstance, project: Project, retry: dict[str, str], is_alone: bool
) -> None:
    run = run_of(on_disk, [A, C], **{PARENT_RUN_ID_TAG: "other", **retry})
    with terms_of(on_disk, run, [A], project.layout) as terms:
        assert (terms == ALONE) is is_alone


def bring_up_to_date(
    project: Project, instance: dg.DagsterInstance, nodes: list[Node]
) -> tuple[bool, int]:
    """Run waves over nodes; return whether all succeeded, and how many Dagster runs it took."""
    before = instance.get_runs_count()
    succeeded = run_waves(build(project), instance, waves(nodes, project), project)
    return succeeded, instance.get_runs_count() - before


@pytest.fixture
def launcher(project: Project, monkeypatch: pytest.MonkeyPatch) -> InstantLauncher:
    """The launcher of all runs; everything but the DPO models is made."""
    found = InstantLauncher(project.layout)
    monkeypatch.setattr(Project, "launchers", lambda self, cluster="": Launchers(found, found))
    return found


def test_scattered_partitions_are_made_by_one_run(
    instance: dg.DagsterInstance, project: Project, launcher: InstantLauncher
) -> None:
    everything = nodes_of(project.book(), project.catalog.experiments)
    assert bring_up_to_date(project, instance, everything)[0]
    book = project.book()
    for asset, key in (A, C):
        book.store.discard(asset, book.recipe(asset, key).fingerprint)
    assert bring_up_to_date(project, instance, [A, C]) == (True, 1)
    found = statuses(instance, project.book(), everything)
    assert {one.state for one in found.values()} == {"fresh"}


def test_what_failed_along_with_the_first_fails_its_own_run_untried(
    instance: dg.DagsterInstance, project: Project, launcher: InstantLauncher
) -> None:
    everything = nodes_of(project.book(), project.catalog.experiments)
    launcher.fails = {A, C}
    bring_up_to_date(project, instance, [n for n in everything if n[0] != "dpo_model"])
    tried = len(launcher.jobs)
    assert bring_up_to_date(project, instance, [A, C]) == (False, 2)
    assert len(launcher.jobs) == tried + 2
    records = [project.book().store.failure(*_target(project, node)) for node in (A, C)]
    assert [record["count"] for record in records if record] == [1, 1]


def _target(project: Project, node: Node) -> tuple[str, str]:
    return node[0], project.book().recipe(*node).fingerprint


def test_the_nodes_of_a_wave(project: Project) -> None:
    wave = Wave(("dpo_model", "leaderboard"), "exp-a", "exp-b")
    assert nodes_in(wave, project) == [A, B, ("leaderboard", "all")]


def test_an_error_that_is_no_failed_partition_is_told(
    instance: dg.DagsterInstance,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def breaks(self: Project, cluster: str = "") -> Launchers:
        raise OSError("the disk is gone")

    monkeypatch.setattr(Project, "launchers", breaks)
    assert not bring_up_to_date(project, instance, [("prompts", "tiny")])[0]
    assert "the disk is gone" in caplog.text
