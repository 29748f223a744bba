"""What metrics files of other programs say, and when they are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.adoption.offers import Wanted
from activeuf_core.adoption.score_files import DOMAINS, benchmark_of, offer, read
from activeuf_core.adoption.taking import take
from activeuf_core.errors import DataError
from activeuf_core.evals.benchmarks import benchmark
from activeuf_core.paths import SCORE

GSM8K, REWARDS = benchmark("gsm8k"), benchmark("rewardbench2")


def write(folder: Path, body: Any) -> Path:
    path = folder / "metrics.json"
    path.write_text(body if isinstance(body, str) else json.dumps(body))
    return path


@pytest.mark.parametrize("folder", ["gsm8k_tulu", "gsm8k"])
def test_its_folder_says_which_benchmark_it_is_of(folder: str) -> None:
    assert benchmark_of(Path(f"run/results/{folder}/metrics.json")) is GSM8K
    assert benchmark_of(Path("run/results/mmlu/metrics.json")) is None
    assert benchmark_of(Path("run/metrics.json")) is REWARDS


def test_both_layouts_of_olmes_and_a_suite_with_parts(tmp_path: Path) -> None:
    old = {"metrics": [{"primary_score": 0.4}]}
    assert read(write(tmp_path, old), GSM8K).value == 0.4
    tasks = [
        {"alias": "suite", "metrics": {"primary_score": 0.3}, "num_instances": 10},
        {"alias": "algebra", "metrics": {"primary_score": 0.5}, "num_instances": 4},
    ]
    found = read(write(tmp_path, {"all_primary_scores": [], "tasks": tasks}), GSM8K)
    assert (found.value, found.rows, dict(found.parts)) == (0.3, 10, {"algebra": (0.5, 4)})


def test_a_reward_models_score_has_all_domains_and_their_mean(tmp_path: Path) -> None:
    body = {**dict.fromkeys(DOMAINS, 0.2), "Ties": 1.005, "Mean": 0.334}
    assert read(write(tmp_path, body), REWARDS).value == 0.334
    with pytest.raises(DataError, match=r"Mean is 0\.5, the mean of the six domains is 0\.3342"):
        read(write(tmp_path, {**body, "Mean": 0.5}), REWARDS)
    del body["Focus"]
    with pytest.raises(DataError, match="lacks the keys Focus"):
        read(write(tmp_path, body), REWARDS)


def test_a_score_of_this_project_is_read_as_it_is(tmp_path: Path) -> None:
    parts = {"a": {"score": 0.5, "n": 2}, "b": {"score": None, "n": 0}}
    body = {"benchmark": "gsm8k", "score": 0.5, "stderr": 0.1, "n": 2, "details": {"parts": parts}}
    found = read(write(tmp_path, body), GSM8K)
    assert (found.value, found.stderr, found.rows, dict(found.parts)) == (
        *(0.5, 0.1, 2),
        {"a": (0.5, 2)},
    )
    with pytest.raises(DataError, match="a score on 'gsm8k'"):
        read(write(tmp_path, body), REWARDS)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[1]",
        "{}",
        {"metrics": []},
        {"metrics": [{"primary_score": None}]},
        {"metrics": [{"primary_score": "0.5"}]},
        {"metrics": [{"primary_score": 41.2}]},
        '{"metrics": [{"primary_score": NaN}]}',
    ],
)
def test_what_is_no_fraction_is_refused(tmp_path: Path, body: Any) -> None:
    with pytest.raises(DataError):
        read(write(tmp_path, body), GSM8K)


def test_it_becomes_a_score_that_the_tables_can_read(tmp_path: Path, wanted: Wanted) -> None:
    path = write(tmp_path, {"metrics": [{"primary_score": 0.25}]})
    found = offer(path, GSM8K, wanted)
    manifest = take(found, wanted, "copy")
    score = json.loads((wanted.layout.artifact(*found_at(manifest)) / SCORE).read_text())
    assert (score["score"], score["n"], score["stderr"]) == (0.25, None, None)
    assert score["details"]["adopted_from"] == str(path)
    assert score["model_fingerprint"] == wanted.own("dpo_model").fingerprint
    assert manifest.failed_blocking_checks == ()
    assert str(path) in manifest.provenance["adopted"]["digests"]


def test_nothing_takes_the_place_of_what_is_left_out(tmp_path: Path, wanted: Wanted) -> None:
    path = write(tmp_path, {"metrics": [{"primary_score": 0.25}]})
    found = offer(path, benchmark("alpaca_eval"), wanted)
    assert found.problem.startswith("alpaca_eval_score of exp-a is a stand-in (left out)")
    assert not found.written


def test_a_published_score_is_not_taken_for_a_computed_one(tmp_path: Path) -> None:
    body = {"benchmark": "gsm8k", "score": 0.7, "details": {"parts": {}, "published": "a paper"}}
    with pytest.raises(DataError, match=r"a stand-in \(published\)"):
        read(write(tmp_path, body), GSM8K)


def found_at(manifest: Any) -> tuple[str, str]:
    return manifest.asset, manifest.fingerprint
