"""The engine: order, adoption, isolation of failures, shared processes, interruption."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from activeuf_core.artifacts import ArtifactStore, write_json
from activeuf_core.paths import RunFolder
from activeuf_core.recipes import Node
from activeuf_dagster.engine import Engine, Terms
from activeuf_dagster.events import Attached, Blocked, Completed, Event, Failed, Submitted
from activeuf_dagster.outcomes import unit_name
from activeuf_dagster.planning import nodes_of
from activeuf_dagster.project import Project
from tests.fakes.launcher import InstantLauncher


def run(
    project: Project,
    launcher: InstantLauncher,
    nodes: list[Node] | None = None,
    force: bool = False,
) -> list[Event]:
    """Run an engine over all nodes of all experiments (or those given); return its events."""
    book = project.book()
    nodes = nodes or nodes_of(book, project.catalog.experiments)
    return list(Engine(book, launcher, launcher, poll_s=0).run(nodes, Terms(force=force)))


def completed(events: list[Event]) -> list[tuple[str, str]]:
    """Return the nodes that completed, in order."""
    return [event.recipe.node for event in events if isinstance(event, Completed)]


def made_by(events: list[Event]) -> list[Completed]:
    """Return how what was not there before completed."""
    return [event for event in events if isinstance(event, Completed) and not event.is_adopted]


def test_everything_is_made_once_and_upstream_first(
    project: Project, launcher: InstantLauncher
) -> None:
    events = run(project, launcher)
    assert launcher.made.index(("prompts", "tiny")) < launcher.made.index(
        ("completions", "tiny--a")
    )
    assert launcher.made.index(("candidate_pool", "tiny")) < launcher.made.index(
        ("preference_dataset", "exp-a")
    )
    made = {(event.recipe.asset, event.recipe.fingerprint) for event in made_by(events)}
    assert len(launcher.made) == len(set(launcher.made)) == len(made)
    assert completed(events)[-1] == ("leaderboard", "all")


def test_a_second_run_adopts_everything_and_submits_nothing(
    project: Project, launcher: InstantLauncher
) -> None:
    run(project, launcher)
    jobs = len(launcher.jobs)
    events = run(project, launcher)
    assert len(launcher.jobs) == jobs
    assert all(event.is_adopted for event in events if isinstance(event, Completed))


def test_a_failure_costs_only_what_reads_it(project: Project, launcher: InstantLauncher) -> None:
    launcher.fails = {("dpo_model", "exp-b")}
    events = run(project, launcher)
    assert [e.node for e in events if isinstance(e, Failed)] == [("dpo_model", "exp-b")]
    blocked = {event.node for event in events if isinstance(event, Blocked)}
    assert blocked == {
        (f"{name}_score", "exp-b") for name in ("gsm8k", "minerva_math", "ifeval", "truthfulqa")
    }
    assert ("scores", "exp-b") in completed(events)
    assert ("rewardbench2_score", "exp-b") in completed(events)


def test_scores_of_nothing_are_not_made(project: Project, launcher: InstantLauncher) -> None:
    launcher.fails = {("preference_dataset", name) for name in project.catalog.experiments}
    reasons = {e.node: e.reason for e in run(project, launcher) if isinstance(e, Blocked)}
    assert reasons[("scores", "exp-a")] == "none of what it reads is there"
    assert ("leaderboard", "all") in reasons


def test_scores_turn_stale_when_a_missing_benchmark_appears(
    project: Project, launcher: InstantLauncher
) -> None:
    launcher.fails = {("ifeval_score", "exp-a")}
    run(project, launcher)
    launcher.fails = set()
    launcher.made.clear()
    run(project, launcher)
    assert set(launcher.made) == {
        ("ifeval_score", "exp-a"),
        ("scores", "exp-a"),
        ("wandb_summary", "exp-a"),
        ("leaderboard", "all"),
    }


def test_benchmarks_of_one_model_share_one_job(project: Project, launcher: InstantLauncher) -> None:
    run(project, launcher)
    heavy = [job for job in launcher.jobs if job.weight and job.module == "activeuf_core.evals"]
    assert sorted(len(job.units) for job in heavy) == [1, 1, 1, 4, 4, 4]


def test_recorded_completions_share_one_job(project: Project, launcher: InstantLauncher) -> None:
    run(project, launcher)
    sizes = [len(job.units) for job in launcher.jobs if job.module == "activeuf_core.completions"]
    assert sizes == [2]


def test_a_job_without_an_artifact_is_a_failure_with_its_log(
    project: Project, launcher: InstantLauncher
) -> None:
    launcher.silent = {("reward_model", "exp-c")}
    failed = [event for event in run(project, launcher) if isinstance(event, Failed)]
    assert [event.failure.kind for event in failed] == ["NoArtifact"]
    assert "the log of" in failed[0].failure.log_tail


def test_a_failed_blocking_check_stops_downstream(
    project: Project, launcher: InstantLauncher
) -> None:
    launcher.red = {("features", "features_finite")}
    events = run(project, launcher)
    reasons = {event.node: event.reason for event in events if isinstance(event, Blocked)}
    assert "features_finite" in reasons[("preference_dataset", "exp-a")]


def test_a_missing_input_outside_the_selection_is_named(
    project: Project, launcher: InstantLauncher
) -> None:
    (event,) = run(project, launcher, [("dpo_model", "exp-a")])
    assert isinstance(event, Blocked)
    assert "preference_dataset[exp-a] is missing" in event.reason


def test_equal_recipes_are_made_once(folder: Path, launcher: InstantLauncher) -> None:
    text = (folder / "configs/experiments/exp-a.yaml").read_text()
    (folder / "configs/experiments/exp-z.yaml").write_text(text)
    project = Project.load()
    events = run(project, launcher)
    assert ("dpo_model", "exp-z") in completed(events)
    assert len([n for n in launcher.made if n[0] == "dpo_model"]) == 3


def test_a_failing_recipe_is_tried_once_for_all_its_partitions(
    folder: Path, launcher: InstantLauncher
) -> None:
    text = (folder / "configs/experiments/exp-a.yaml").read_text()
    (folder / "configs/experiments/exp-z.yaml").write_text(text)
    launcher.fails = {("preference_dataset", "exp-a"), ("preference_dataset", "exp-z")}
    events = run(Project.load(), launcher)
    failed = [event.node for event in events if isinstance(event, Failed)]
    assert failed == [("preference_dataset", "exp-a"), ("preference_dataset", "exp-z")]
    assert len([job for job in launcher.jobs if job.module == "activeuf_core.loop"]) == 3


def test_who_works_on_an_artifact_elsewhere_is_named_and_waited_for(
    project: Project, launcher: InstantLauncher
) -> None:
    recipe = project.book().recipe("prompts", "tiny")
    engine = Engine(project.book(), launcher, launcher, poll_s=0)
    with ArtifactStore(project.layout).claim("prompts", recipe.fingerprint):
        events = engine.run([("prompts", "tiny")])
        first = next(events)
    assert isinstance(first, Attached)
    assert ".lock" in first.holder
    assert [type(event) for event in events] == [Submitted, Completed]


def test_a_score_that_failed_its_blocking_check_does_not_count(
    project: Project, launcher: InstantLauncher
) -> None:
    launcher.red = {("gsm8k_score", "score_in_range")}
    run(project, launcher)
    assert project.book().recipe("scores", "exp-a").inputs["gsm8k_score"] == {}


def test_force_makes_a_new_generation_and_downstream_stale(
    project: Project, launcher: InstantLauncher
) -> None:
    run(project, launcher)
    launcher.made.clear()
    run(project, launcher, [("dpo_model", "exp-a")], force=True)
    assert launcher.made == [("dpo_model", "exp-a")]
    launcher.made.clear()
    run(project, launcher)
    assert ("gsm8k_score", "exp-a") in launcher.made
    assert ("gsm8k_score", "exp-b") not in launcher.made


def test_an_interruption_cancels_jobs_that_nobody_would_watch(
    project: Project, launcher: InstantLauncher
) -> None:
    launcher.holds = True
    book = project.book()
    events = Engine(book, launcher, launcher, poll_s=0).run([("prompts", "tiny")])
    assert isinstance(next(events), Submitted)
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt)
    assert launcher.cancelled == [launcher.jobs[0].job_id]


def test_a_damaged_artifact_and_only_it_is_made_again(
    project: Project, launcher: InstantLauncher
) -> None:
    run(project, launcher)
    recipe = project.book().recipe("reward_model", "exp-b")
    folder = ArtifactStore(project.layout).require("reward_model", recipe.fingerprint)
    (folder / "manifest.json").write_text("{")
    launcher.made.clear()
    run(project, launcher)
    assert launcher.made == [("reward_model", "exp-b")]


TRAININGS: list[Node] = [("dpo_model", key) for key in ("exp-a", "exp-b", "exp-c")]


@pytest.fixture
def untrained(project: Project, launcher: InstantLauncher) -> InstantLauncher:
    """A launcher for a project of which all but the trainings is made."""
    run(project, launcher)
    for node in TRAININGS:
        project.book().store.discard(node[0], project.book().recipe(*node).fingerprint)
    return InstantLauncher(project.layout)


def test_as_many_jobs_are_out_as_the_terms_allow(
    project: Project, untrained: InstantLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, sizes = untrained.submit, []
    monkeypatch.setattr(untrained, "submit", lambda jobs: sizes.append(len(jobs)) or submit(jobs))
    engine = Engine(project.book(), untrained, untrained, poll_s=0)
    assert len(completed(list(engine.run(TRAININGS, Terms(max_parallel=2))))) == 3
    assert sizes == [2, 1]


def test_companions_are_made_in_the_same_submission(
    project: Project, launcher: InstantLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(project, launcher, nodes_of(project.book(), ["exp-a"]))
    submit, sizes = launcher.submit, []
    monkeypatch.setattr(launcher, "submit", lambda jobs: sizes.append(len(jobs)) or submit(jobs))
    loops = [("preference_dataset", key) for key in ("exp-b", "exp-c")]
    engine = Engine(project.book(), launcher, launcher, poll_s=0)
    events = list(engine.run(loops[:1], Terms(companions=tuple(loops))))
    assert sizes == [2] and sorted(completed(events)) == loops


def test_a_failure_told_since_then_is_not_tried_again(
    project: Project, launcher: InstantLauncher
) -> None:
    node = ("dpo_model", "exp-a")
    run(project, launcher, nodes_of(project.book(), ["exp-a"]))
    fingerprint = project.book().recipe(*node).fingerprint
    store = project.book().store
    store.discard(node[0], fingerprint)
    store.note_failure(node[0], fingerprint, "StageError", "out of luck")
    tried = len(launcher.jobs)
    record = store.failure(node[0], fingerprint)
    assert record is not None
    engine = Engine(project.book(), launcher, launcher, poll_s=0)
    [event] = engine.run([node], Terms(failed_since=record["time"]))
    assert isinstance(event, Failed) and event.failure.message == "out of luck"
    assert store.failure(node[0], fingerprint) == record and len(launcher.jobs) == tried
    again = Engine(project.book(), launcher, launcher, poll_s=0)
    assert completed(list(again.run([node], Terms(failed_since=record["time"] + 1)))) == [node]


def test_who_may_not_submit_waits_until_it_may(project: Project, launcher: InstantLauncher) -> None:
    answers = iter([False, False, True])
    engine = Engine(project.book(), launcher, launcher, poll_s=0)
    events = list(engine.run([("prompts", "tiny")], Terms(may_submit=lambda: next(answers, True))))
    assert [type(event) for event in events] == [Attached, Submitted, Completed]


def test_cancelling_leaves_the_jobs_of_companions_alone(
    project: Project, untrained: InstantLauncher
) -> None:
    untrained.holds = True
    own, *others = TRAININGS
    engine = Engine(project.book(), untrained, untrained, poll_s=0)
    events = engine.run([own], Terms(companions=tuple(others)))
    jobs = [event for event in itertools.islice(events, 3) if isinstance(event, Submitted)]
    assert len(jobs) == 3
    assert engine.cancel() == [event.job_id for event in jobs if event.nodes == (own,)]
    assert len(engine.cancel(companions=True)) == 3


def test_twins_that_fail_together_count_once(folder: Path, launcher: InstantLauncher) -> None:
    configs = folder / "configs" / "experiments"
    (configs / "twin.yaml").write_text((configs / "exp-a.yaml").read_text())
    project = Project.load()
    launcher.fails = {("preference_dataset", "exp-a"), ("preference_dataset", "twin")}
    run(project, launcher)
    recipe = project.book().recipe("preference_dataset", "twin")
    record = project.book().store.failure(recipe.asset, recipe.fingerprint)
    assert record is not None and record["count"] == 1


def test_a_failure_of_before_is_no_answer_while_its_job_ends(
    project: Project, untrained: InstantLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = TRAININGS[0]
    recipe = project.book().recipe(*node)
    folder = RunFolder(project.layout.run("old-job")).unit(unit_name(recipe))
    write_json(folder.failure, {"kind": "DataError", "message": "of before", "retryable": False})
    target = (recipe.asset, recipe.fingerprint)
    answers = iter([{target: "old-job"}, {target: "old-job"}, {}])
    monkeypatch.setattr(untrained, "in_flight", lambda wanted: next(answers, {}))
    engine = Engine(project.book(), untrained, untrained, poll_s=0)
    assert [type(event) for event in engine.run([node])] == [Attached, Submitted, Completed]
