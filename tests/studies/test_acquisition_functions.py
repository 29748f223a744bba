"""The study of acquisition functions: its arithmetic by hand, and the command on a made-up pool."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from activeuf_core.errors import DataError
from studies.acquisition_functions import statistics
from studies.acquisition_functions.__main__ import QUICK, main
from studies.acquisition_functions.features import extract
from studies.acquisition_functions.pool import JudgedPool, deal, is_ordinary, log_odds, read_pool
from studies.acquisition_functions.runs import (
    HeldOut,
    Material,
    Point,
    Run,
    acquisition,
    from_json,
    run,
)

MODELS = (QUICK.large_model, QUICK.small_model, *"abcdef")


def row(prompt: int, rng: np.random.Generator) -> dict[str, Any]:
    """A prompt whose longer answers are liked better, mostly."""
    lengths = rng.integers(2, 40, size=len(MODELS))
    liked = 1.0 / (1.0 + np.exp(-(lengths - 20 + 4 * rng.normal(size=len(MODELS))) / 4))
    completions = [
        {"model": model, "response": " ".join(["word"] * n + [f"of {model}."]), "ae2_pref": p}
        for model, n, p in zip(MODELS, lengths.tolist(), liked.tolist(), strict=True)
    ]
    odd = {"model": "NullModel", "response": "", "ae2_pref": 1.0}
    return {
        "prompt_id": str(prompt),
        "prompt": f"Question {prompt}?",
        "completions": [*completions, odd],
    }


@pytest.fixture
def pool_file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps(row(number, rng)) + "\n" for number in range(20)))
    return path


@pytest.fixture
def pool(pool_file: Path) -> JudgedPool:
    return read_pool(pool_file)


def a_run(function: str, seed: int, accuracies: list[float]) -> Run:
    points = tuple(Point(128 * n, 64 * n, 128 * n, a, a, 0.0) for n, a in enumerate(accuracies, 1))
    by_prompt = tuple((a, a) for a in accuracies)
    named = ("p", f"q{seed}")
    return Run("", function, seed, 1.0, 0.7, 0, 0, 0.0, 0.0, 0.5, 2.0, points, named, by_prompt)


def test_log_odds_are_clipped() -> None:
    assert log_odds(np.array([0.5])) == 0.0
    assert log_odds(np.array([0.0, 1e-9, 1.0])) == pytest.approx(
        [-13.8155] * 2 + [13.8155], abs=1e-4
    )


@pytest.mark.parametrize("model", ["NullModel", "gpt4_gamed", "alpaca-7b_verbose", "a-togetherai"])
def test_attacks_and_variants_are_not_ordinary(model: str) -> None:
    assert not is_ordinary(model)


def test_only_ordinary_judged_completions_are_read(pool: JudgedPool) -> None:
    assert set(pool.models) == set(MODELS)
    assert len(pool.score_R) == 20 * len(MODELS)


def test_a_pool_that_is_none_is_told(tmp_path: Path) -> None:
    wrong = tmp_path / "pool.jsonl"
    wrong.write_text('{"prompt_id": 1}\n')
    with pytest.raises(DataError, match="cannot be read as a pool"):
        read_pool(wrong)
    with pytest.raises(DataError, match="no such file"):
        read_pool(tmp_path / "absent.jsonl.xz")


def test_hands_share_no_completion_and_no_held_out_prompt(pool: JudgedPool) -> None:
    dealt = deal(pool, 1, hand_size=4, held_out_share=0.25, anchors=QUICK.anchors)
    assert len(set(dealt.source_R.tolist())) == len(dealt.source_R) == 15 * 8
    assert not set(pool.prompt_R[dealt.source_R]) & set(pool.prompt_R[dealt.held_out_R])
    assert len(set(pool.prompt_R[dealt.held_out_R])) == 5


def test_every_anchored_hand_holds_both_models(pool: JudgedPool) -> None:
    known: dict[str, Any] = {"hand_size": 4, "held_out_share": 0.25, "anchors": QUICK.anchors}
    dealt = deal(pool, 1, **known, only_anchored=True)
    names = np.array(pool.models)[pool.model_R[dealt.source_R]].reshape(-1, 4)
    assert [set(QUICK.anchors) <= set(hand) for hand in names] == [True] * 15


def test_features_are_of_the_completion_within_its_prompt(pool: JudgedPool) -> None:
    features_RD = extract(pool)
    assert np.isfinite(features_RD).all()
    assert np.abs(features_RD[pool.prompt_R == 3].mean(axis=0)).max() < 1e-4


def test_accuracy_counts_untied_pairs_and_half_for_equal_rewards(pool: JudgedPool) -> None:
    held_out = HeldOut(Material(pool, extract(pool)), np.flatnonzero(pool.prompt_R < 2))
    assert held_out.accuracy(held_out.score_PM) == pytest.approx([1.0, 1.0])
    assert held_out.accuracy(-held_out.score_PM) == pytest.approx([0.0, 0.0])
    assert held_out.accuracy(0.0 * held_out.score_PM) == pytest.approx([0.5, 0.5])
    assert held_out.best(held_out.score_PM) == pytest.approx(held_out.score_PM.max(axis=1).mean())


def test_the_fixed_pair_is_of_this_pool() -> None:
    assert acquisition("deltaqwen", QUICK).chosen_model == QUICK.large_model


def test_a_run_is_repeatable_and_learns(pool: JudgedPool) -> None:
    material = Material(pool, extract(pool))
    first, again = (run("drts", 1, QUICK, material) for _ in range(2))
    assert first.points == again.points
    assert first.points[-1].fresh_accuracy > 0.7
    assert first.points[-1].annotations == 2 * (first.points[-1].comparisons + first.ties)


def test_judge_calls_are_those_of_all_that_is_ranked(pool: JudgedPool) -> None:
    end = run("maxmin", 1, QUICK, Material(pool, extract(pool))).points[-1]
    assert end.judgements == 2 * end.annotations


def test_the_paired_t_test_is_students() -> None:
    four_degrees = np.array([1.0, -1.0, 1.0, -1.0, 0.0])
    shift = 2.776 * four_degrees.std(ddof=1) / 5**0.5
    assert statistics.t_p(four_degrees + shift) == pytest.approx(0.05, abs=1e-4)
    assert statistics.t_p(four_degrees) == pytest.approx(1.0)
    assert statistics.t_p(np.array([1.0])) == 1.0


def test_sign_flips_are_exact_for_few_pairs() -> None:
    assert statistics.sign_flip_p(np.array([1.0, 2.0, 3.0, 4.0, 5.0])) == 2 / 32
    assert statistics.sign_flip_p(np.array([1.0, -1.0])) == 1.0


def test_sign_flips_of_many_pairs_see_a_shift_and_nothing_in_noise() -> None:
    noise = np.random.default_rng(0).normal(size=200)
    assert statistics.sign_flip_p(noise - noise.mean()) > 0.9
    assert statistics.sign_flip_p(noise + 0.5) < 0.001


def test_holm_steps_down() -> None:
    assert statistics.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def test_half_width_is_students() -> None:
    values = np.array([1.0, 2.0, 3.0])
    assert statistics.half_width(values) == pytest.approx(4.303 / 3**0.5)
    assert np.isnan(statistics.half_width(values[:1]))


def test_differences_are_in_pairs_of_a_seed() -> None:
    random = [a_run("random", seed, [0.5 + seed / 100, 0.6]) for seed in (1, 2)]
    better = [a_run("better", seed, [0.6 + seed / 100, 0.7]) for seed in (1, 2)]
    runs = {"random": random, "better": better}
    found = statistics.differences(runs, "random", statistics.grid([*random, *better]))["better"]
    assert found.mean == pytest.approx(0.1)
    assert found.half == pytest.approx(0.0, abs=1e-9)
    assert not found.is_supported


def test_a_curve_above_length_forgets_how_hard_a_split_is() -> None:
    runs = [
        replace(a_run("drts", seed, [0.6 + seed / 10] * 2), length_accuracy=0.5 + seed / 10)
        for seed in (1, 2)
    ]
    found = statistics.curve_above_length(runs, "enn_accuracy", statistics.grid(runs))
    assert found.mean_G == pytest.approx([0.1, 0.1])
    assert found.half_G == pytest.approx([0.0, 0.0], abs=1e-9)


def test_any_field_can_be_compared_over_seeds() -> None:
    runs = {
        name: [a_run(name, seed, [level + seed / 100] * 2) for seed in (1, 2, 3)]
        for name, level in (("random", 0.5), ("worse", 0.4))
    }
    at_G = statistics.grid(runs["random"])
    found = statistics.seed_differences(runs, "random", "enn_accuracy", at_G)["worse"]
    assert (found.mean, found.half) == pytest.approx((-0.1, 0.0), abs=1e-9)
    assert np.isnan(found.prompts_p)
    assert not found.is_supported


def test_a_run_survives_its_line(pool: JudgedPool) -> None:
    found = run("random", 1, QUICK, Material(pool, extract(pool)))
    assert from_json(json.loads(json.dumps(asdict(found)))) == found


def test_the_command_reports_and_is_not_made_again(pool_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["--pool", str(pool_file), "--out", str(out), "--seeds", "2", "--quick"]
    command += ["--processes", "1", "--functions", "random", "deltaqwen", "drts", "ceiling"]
    assert main(command) == 0
    lines = (out / "results.jsonl").read_text()
    report = (out / "report.md").read_text()
    assert "| drts |" in report
    assert (out / "curves_fresh.png").stat().st_size > 1000
    assert main(command) == 0
    assert (out / "results.jsonl").read_text() == lines
    assert (out / "report.md").read_text() == report


def test_a_run_whose_line_was_cut_off_is_made_again(pool_file: Path, tmp_path: Path) -> None:
    command = ["--pool", str(pool_file), "--out", str(tmp_path / "out"), "--seeds", "1", "--quick"]
    command += ["--functions", "random", "ceiling"]
    assert main(command) == 0
    results = tmp_path / "out" / "results.jsonl"
    whole = results.read_text().splitlines()
    results.write_text(whole[0] + "\n" + whole[1][:40])
    assert main(command) == 0
    kept = results.read_text().splitlines()
    assert (kept[0], kept[1], len(kept)) == (whole[0], whole[1][:40], 3)
    assert (tmp_path / "out" / "report.md").exists()
