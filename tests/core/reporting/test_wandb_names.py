"""Scores bear the names of the paper's runs."""

from __future__ import annotations

from activeuf_core.reporting.wandb_names import benchmarks_of_means, summary, titles
from tests.core.reporting.conftest import all_scores, scores_of

DOMAINS = {"Factuality": 0.5, "Precise IF": 0.25, "Ties": None}


def test_all_keys_are_there() -> None:
    assert summary(all_scores(0.5)) == dict.fromkeys(
        [
            *("DPO/GSM8K", "DPO/Minerva Math", "DPO/IF Eval", "DPO/Truthful QA", "DPO/Mean"),
            *("Rewardbench/Mean", "Final Score/Mean", "Final Score/Mean (All)"),
        ],
        0.5,
    )


def test_domains_have_their_own_keys_and_missing_ones_none() -> None:
    found = summary(scores_of({"rewardbench2": 0.4}, rewardbench2={"parts": DOMAINS}))
    assert (found["Rewardbench/Factuality"], found["Rewardbench/Precise IF"]) == (0.5, 0.25)
    assert "Rewardbench/Ties" not in found


def test_the_two_reward_benchmarks_have_names_of_their_own() -> None:
    scores = scores_of(
        {"rewardbench2": 0.4, "rewardbench": 0.8}, rewardbench={"parts": {"Chat": 0.9}}
    )
    found = summary(scores)
    assert (found["Rewardbench/Mean"], found["Rewardbench 1/Mean"]) == (0.4, 0.8)
    assert found["Rewardbench 1/Chat"] == 0.9


def test_the_loss_names_the_policy_s_scores() -> None:
    assert summary(scores_of({"gsm8k": 0.5}), "ipo") == {"IPO/GSM8K": 0.5}
    assert summary(scores_of({"gsm8k": 0.5}), "sigmoid_norm") == {"DPO/GSM8K": 0.5}
    assert "title/SIMPO/GSM8K" in titles(scores_of({"gsm8k": 0.5}), "simpo")


def test_what_is_left_out_has_no_title() -> None:
    assert "title/DPO/Alpaca Eval" not in titles(scores_of({"gsm8k": 0.5}))


def test_what_is_missing_has_no_key() -> None:
    assert summary(scores_of({"gsm8k": 0.5})) == {"DPO/GSM8K": 0.5}
    assert summary(scores_of({})) == {}


def test_the_mean_of_all_is_over_the_means_that_there_are() -> None:
    found = summary(scores_of({"rewardbench2": 0.5}))
    assert found == {"Rewardbench/Mean": 0.5, "Final Score/Mean (All)": 0.5}


def test_a_title_says_what_a_key_stands_for() -> None:
    found = titles(scores_of({}, gsm8k={"title": "Our sums"}))
    assert found["title/DPO/GSM8K"] == "Our sums"
    assert found["title/Rewardbench/Mean"] == "RewardBench 2"


def test_a_run_says_what_its_means_are_over() -> None:
    found = benchmarks_of_means(all_scores(0.5), "ipo")
    assert found["over/IPO/Mean"] == "gsm8k, minerva_math, ifeval, truthfulqa"
    assert found["over/Final Score/Mean"] == "DPO/Mean, Rewardbench/Mean"
    assert benchmarks_of_means(scores_of({"gsm8k": 0.5})) == {}
