"""The whole loop on a synthetic pool: what it buys, and that an interruption leaves no trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from activeuf_core import paths
from activeuf_core.errors import DataError
from activeuf_core.loop import checkpoints, report
from activeuf_core.loop.run import run as run_stage
from activeuf_core.schemas import read_rows
from activeuf_core.stage import StageContext

ENN = {
    "num_heads": 6,
    "hidden_sizes": [16],
    "learning_rate": 2e-3,
    "max_steps": 10,
    "batch_size": 8,
}
SMALL = {"acquisition": {"method": "drts"}, "enn": ENN, "batch_size": 5, "checkpoint_every": 1}
RESULTS = (paths.PREFERENCES, paths.METRICS, paths.ENN_WEIGHTS)
HOURLESS = {"resumed_after_batches", "seconds_per_batch"}


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than the loop on a small pool; `test_report` draws."""
    monkeypatch.setattr(report, "draw_plots", lambda *arguments: None)


def run(context: StageContext) -> None:
    """Run the stage to its end, as its furniture does."""
    run_stage(context)
    context.finish()


def bytes_of(context: StageContext) -> dict[str, bytes]:
    return {name: (context.output / name).read_bytes() for name in RESULTS}


def facts_of(context: StageContext) -> dict[str, Any]:
    return {name: value for name, value in context.metadata.items() if name not in HOURLESS}


def checkpoints_of(context: StageContext) -> dict[str, bytes]:
    files = (path for path in context.checkpoints.rglob("*") if path.is_file())
    return {str(path.relative_to(context.checkpoints)): path.read_bytes() for path in files}


def check_of(context: StageContext, name: str) -> dict[str, Any]:
    return next(check for check in context.checks if check["name"] == name)


def kill_after(context: StageContext, num_batches: int) -> None:
    """Run the stage and end it when it reports a batch."""

    def die(done: int, total: int, unit: str) -> None:
        del total, unit
        if done == num_batches:
            raise Killed

    context.progress = die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        run(context)


@pytest.fixture
def undisturbed(make_pool: Callable[..., Any], make_context: Callable[..., Any]) -> Any:
    """Return a pool of six batches and a finished run on it."""
    pool = make_pool(29).write()
    context = make_context(pool, **SMALL)
    run(context)
    return pool, context


def test_killed_at_any_batch_ends_with_the_same_bytes(undisturbed: Any, make_context: Any) -> None:
    pool, reference = undisturbed
    for batch in range(1, 7):
        kill_after(make_context(pool, f"killed-{batch}", **SMALL), batch)
        resumed = make_context(pool, f"resumed-{batch}", **SMALL)
        run(resumed)
        assert resumed.metadata["resumed_after_batches"] == batch
        assert bytes_of(resumed) == bytes_of(reference)
        assert facts_of(resumed) == facts_of(reference)


@pytest.mark.parametrize(
    "changes",
    [
        {"checkpoint_every": 4},
        {"enn": {**ENN, "head_diversity": "bootstrap"}},
        {"enn": {"method": "bayesian_linear"}},
        {"replay_buffer_factor": 2},
        {"acquisition": {"method": "random"}, "budget": 57},
        {"prompt_selection": "most_uncertain", "prompts_scored": 12},
    ],
    ids=["between checkpoints", "bootstrap", "bayesian", "full buffer", "budget", "prompts"],
)
def test_killed_twice_ends_with_the_same_bytes(
    make_pool: Any, make_context: Any, changes: dict[str, Any]
) -> None:
    pool, config = make_pool(29).write(), {**SMALL, **changes}
    reference = make_context(pool, **config)
    run(reference)
    kill_after(make_context(pool, "killed", **config), 5)
    kill_after(make_context(pool, "killed-again", **config), 6)
    resumed = make_context(pool, "resumed", **config)
    run(resumed)
    assert bytes_of(resumed) == bytes_of(reference)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"enn": {"method": "bayesian_linear"}},
        {"prompt_selection": "most_uncertain", "prompts_scored": 9},
    ],
    ids=["drts", "bayesian", "prompts"],
)
def test_checkpoints_after_an_interruption_are_those_of_an_undisturbed_loop(
    make_pool: Any, make_context: Any, changes: dict[str, Any]
) -> None:
    pool, config = make_pool(29).write(), {**SMALL, **changes}
    whole = make_context(pool, "whole", **config)
    kill_after(whole, 6)
    expected = checkpoints_of(whole)
    for batch in range(1, 6):
        checkpoints.discard(whole.checkpoints)
        kill_after(make_context(pool, f"killed-{batch}", **config), batch)
        kill_after(make_context(pool, f"again-{batch}", **config), 6)
        assert checkpoints_of(whole) == expected
    run(make_context(pool, "end", **config))


def test_killed_before_the_first_comparison_goes_on(make_pool: Any, make_context: Any) -> None:
    pool = make_pool(29)
    for row in pool.rows:
        if row["prompt_id"] < "p0010":
            row["overall_score"] = 3.0
    pool, config = pool.write(), {**SMALL, "prompt_selection": "in_order"}
    reference = make_context(pool, **config)
    run(reference)
    kill_after(make_context(pool, "killed", **config), 2)
    resumed = make_context(pool, "resumed", **config)
    run(resumed)
    assert resumed.metadata["resumed_after_batches"] == 2
    assert bytes_of(resumed) == bytes_of(reference)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Return a setter of the number of threads; at the end there are as many as before."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_loop_goes_on_with_the_threads_that_it_began_with(
    make_pool: Any, make_context: Any, threads: Callable[[int], None]
) -> None:
    wide = {**SMALL, "enn": {"max_steps": 10, "batch_size": 8}}  # sums that two threads share
    pool = make_pool(29).write()
    threads(2)
    reference = make_context(pool, "reference", **wide)
    run(reference)
    kill_after(make_context(pool, "killed", **wide), 3)
    threads(1)
    resumed = make_context(pool, "resumed", **wide)
    run(resumed)
    assert bytes_of(resumed) == bytes_of(reference)
    assert torch.get_num_threads() == 1


def test_truncated_checkpoint_costs_a_batch_not_the_result(
    undisturbed: Any, make_context: Any
) -> None:
    pool, reference = undisturbed
    killed = make_context(pool, "killed", **SMALL)
    kill_after(killed, 4)
    newest = killed.checkpoints / "batch-000004" / "enn.safetensors"
    newest.write_bytes(newest.read_bytes()[:100])
    resumed = make_context(pool, "resumed", **SMALL)
    run(resumed)
    assert resumed.metadata["resumed_after_batches"] == 3
    assert bytes_of(resumed) == bytes_of(reference)


def test_checkpoint_of_another_seed_is_not_used(undisturbed: Any, make_context: Any) -> None:
    pool, _ = undisturbed
    kill_after(make_context(pool, "killed", **SMALL), 3)
    other = make_context(pool, "other", **SMALL, seed=5)
    run(other)
    assert "resumed_after_batches" not in other.metadata


@pytest.mark.parametrize("change", ["width", "values"])
def test_checkpoint_made_with_other_features_is_not_used(
    make_pool: Any, make_context: Any, change: str
) -> None:
    pool = make_pool(29).write()
    kill_after(make_context(pool, "killed", **SMALL), 4)
    pool.features = pool.features[:, :-1] if change == "width" else -pool.features
    pool.write()
    kill_after(make_context(pool, "other", **SMALL), 2)
    resumed = make_context(pool, "resumed", **SMALL)
    run(resumed)
    assert resumed.metadata["resumed_after_batches"] == 2
    assert list(resumed.checkpoints.iterdir()) == []


def test_error_leaves_the_checkpoint_of_what_was_bought(make_pool: Any, make_context: Any) -> None:
    pool = make_pool(150)
    pool.features[-1, 0] = float("nan")
    context = make_context(pool.write(), **SMALL, prompt_selection="in_order")
    with pytest.raises(DataError, match=r"'p0149', model 'm3'.*Materialize features again"):
        run(context)
    assert [path.name for path in sorted(context.checkpoints.iterdir())] == [
        "batch-000028",
        "batch-000029",
    ]


def test_checkpoints_stay_until_the_result_is_written(make_pool: Any, make_context: Any) -> None:
    context = make_context(make_pool(29).write(), **SMALL)
    run_stage(context)
    assert list(context.checkpoints.iterdir()) != []
    context.finish()
    assert list(context.checkpoints.iterdir()) == []


def test_every_prompt_is_compared_once(undisturbed: Any) -> None:
    pool, context = undisturbed
    rows = read_rows(context.output / paths.PREFERENCES)
    assert sorted(row["prompt_id"] for row in rows) == sorted({r["prompt_id"] for r in pool.rows})
    assert [row["batch_index"] for row in rows] == sorted(row["batch_index"] for row in rows)
    assert context.metadata["stopped_because"] == "no prompt left"


def test_metrics_have_a_line_per_batch(undisturbed: Any) -> None:
    text = (undisturbed[1].output / paths.METRICS).read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["step"] for line in lines] == list(range(6))
    assert [line["annotations"] for line in lines] == [10, 20, 30, 40, 50, 58]
    assert lines[-1]["replay_buffer"] == 29


def test_weights_are_heads_without_optimiser(undisturbed: Any) -> None:
    with safe_open(undisturbed[1].output / paths.ENN_WEIGHTS, "pt") as file:
        names, about = set(file.keys()), json.loads(file.metadata()["enn"])
    assert names == {"network.weights.0", "network.weights.1", "network.biases.0"}
    assert (about["feature_size"], about["config"]["num_heads"]) == (12, 6)


def test_budget_goes_to_the_prompts_that_the_ensemble_is_least_sure_about(
    make_pool: Any, make_context: Any
) -> None:
    pool = make_pool(60)
    loud = {row["prompt_id"] for row in pool.rows if row["prompt_id"] >= "p0040"}
    for place, row in enumerate(pool.rows):
        pool.features[place] *= 3.0 if row["prompt_id"] in loud else 0.1
    chosen = {"prompt_selection": "most_uncertain", "prompts_scored": 60, "budget": 20}
    context = make_context(pool.write(), **SMALL, **chosen)
    run(context)
    bought = {row["prompt_id"] for row in read_rows(context.output / paths.PREFERENCES)}
    assert len(bought) == 10 and bought <= loud
    line = json.loads((context.output / paths.METRICS).read_text().splitlines()[0])
    assert line["prompts_scored"] == 60
    taken = line["mean_taken_prompt_uncertainty_per_batch"]
    assert taken > 2 * line["mean_prompt_uncertainty_per_batch"]


@pytest.mark.parametrize(("budget", "bought"), [(2, 2), (17, 16), (20, 20), (1000, 58)])
def test_budget_stops_exactly(make_pool: Any, make_context: Any, budget: int, bought: int) -> None:
    context = make_context(make_pool(29).write(), **SMALL, budget=budget)
    run(context)
    assert context.metadata["annotations"] == bought
    assert context.metadata["comparisons"] == bought / 2
    assert check_of(context, "budget_respected")["passed"]


def test_pull_decays_over_the_prompts_that_the_budget_buys(
    make_pool: Any, make_context: Any
) -> None:
    enn = {**ENN, "regularization": {"decay": "linear", "initial_value": 2.0}}
    context = make_context(make_pool(29).write(), **{**SMALL, "enn": enn}, budget=20)
    run(context)
    lines = (context.output / paths.METRICS).read_text(encoding="utf-8").splitlines()
    pull = [json.loads(line)["regularization_towards_initial_weights"] for line in lines]
    assert pull == [2.0, 1.0]


@pytest.mark.parametrize(("ties", "comparisons"), [("drop", 24), ("keep_first", 29)])
def test_ties_cost_their_annotations(
    make_pool: Any, make_context: Any, ties: str, comparisons: int
) -> None:
    pool = make_pool(29)
    for row in pool.rows:
        if row["prompt_id"] < "p0005":
            row["overall_score"] = 3.0
    context = make_context(pool.write(), **SMALL, ties=ties)
    run(context)
    assert (context.metadata["ties"], context.metadata["annotations"]) == (5, 58)
    assert context.metadata["comparisons"] == comparisons
    assert check_of(context, "chosen_scores_higher")["passed"]


def test_prompts_without_scores_are_skipped_and_counted(make_pool: Any, make_context: Any) -> None:
    pool = make_pool(12)
    for row in pool.rows:
        if row["prompt_id"] < "p0004":
            row["overall_score"] = None
    context = make_context(pool.write(), **SMALL)
    run(context)
    assert (context.metadata["missing_scores"], context.metadata["comparisons"]) == (4, 8)


def test_nothing_to_compare_fails_the_check_that_blocks(make_pool: Any, make_context: Any) -> None:
    pool = make_pool(6)
    for row in pool.rows:
        row["overall_score"] = 1.0
    context = make_context(pool.write(), **SMALL)
    run(context)
    check = check_of(context, "preferences_not_empty")
    assert check["blocking"] and not check["passed"]
    assert read_rows(context.output / paths.PREFERENCES) == []


def test_nan_feature_stops_the_loop_by_name(make_pool: Any, make_context: Any) -> None:
    pool = make_pool(12)
    pool.features[5, 0] = float("nan")
    with pytest.raises(DataError, match=r"row 5 \(prompt 'p0001', model 'm2'\)"):
        run(make_context(pool.write(), **SMALL))


@pytest.mark.parametrize("method", ["random", "maxmin", "ultrafeedback", "dts", "infomax"])
def test_every_kind_of_method_takes_the_same_path(
    make_pool: Any, make_context: Any, method: str
) -> None:
    context = make_context(make_pool(12).write(), **{**SMALL, "acquisition": {"method": method}})
    run(context)
    assert context.metadata["comparisons"] == 12
    assert 0.0 <= context.metadata["pair_accuracy_before_training"] <= 1.0


def test_bayesian_head_foretells_what_it_was_not_trained_on(
    make_pool: Any, make_context: Any
) -> None:
    pool = make_pool(400, noise=0.5).write()
    enn = {"method": "bayesian_linear"}
    config = {**SMALL, "acquisition": {"method": "random"}, "enn": enn, "batch_size": 20}
    context = make_context(pool, **config)
    run(context)
    assert context.metadata["calibration_error_before_training"] < 0.07
    assert 0.68 < context.metadata["verdicts_inside_bounds"] <= 1.0


def test_deltaucb_finds_larger_gaps_than_random(make_pool: Any, make_context: Any) -> None:
    pool = make_pool(240, noise=0.2).write()
    gaps, accuracies = {}, {}
    for method in ("deltaucb", "random"):
        config = {**SMALL, "acquisition": {"method": method}, "batch_size": 16}
        context = make_context(pool, method, **config)
        run(context)
        gaps[method] = context.metadata["mean_score_difference"]
        accuracies[method] = context.metadata["pair_accuracy_before_training_last_quarter"]
    assert gaps["deltaucb"] > 1.2 * gaps["random"]
    assert accuracies["deltaucb"] > 0.85


def test_killed_process_ends_with_the_same_bytes(
    make_pool: Any, make_context: Any, tmp_path: Path
) -> None:
    pool = make_pool(100).write()
    reference = make_context(pool, **SMALL)
    run(reference)
    unit = {**asdict(reference.unit), "checkpoints": str(tmp_path / "process-checkpoints")}
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"units": [unit]}), encoding="utf-8")
    command = [sys.executable, "-m", "activeuf_core.loop", "--config", str(job), "--run-dir"]
    first = subprocess.Popen([*command, str(tmp_path / "one")], stdout=subprocess.DEVNULL)
    _wait_for(lambda: any((tmp_path / "process-checkpoints").glob("batch-00000[2-9]")), first)
    os.kill(first.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    subprocess.run([*command, str(tmp_path / "two")], check=True, stdout=subprocess.DEVNULL)
    folder = paths.RunFolder(tmp_path / "two").unit(reference.unit.name)
    result = json.loads(folder.result.read_text(encoding="utf-8"))
    assert result["metadata"]["resumed_after_batches"] >= 2
    assert {name: (folder.output / name).read_bytes() for name in RESULTS} == bytes_of(reference)


def _wait_for(condition: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    """Wait until a condition holds; fail when the process ends before."""
    while not condition():
        assert process.poll() is None, "the process ended before it was killed"
        time.sleep(0.002)
