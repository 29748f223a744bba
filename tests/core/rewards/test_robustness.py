"""The robustness harness: what it says of rewards that are known to be good, blind or for sale."""

from __future__ import annotations

from typing import Any

import pytest

from activeuf_core.rewards.answers import gold_of
from activeuf_core.rewards.base import RuleReward
from activeuf_core.rewards.config import Reward, RewardsConfig, Tags
from activeuf_core.rewards.perturbations import PERTURBATIONS
from activeuf_core.rewards.registry import REWARDS, build
from activeuf_core.rewards.robustness import Robustness, robustness_of

REASONING = "First she buys 40 packs. Then each costs 31. We multiply. So the total is 1240."
RIGHT = f"<reasoning>{REASONING}</reasoning><answer>1240</answer>"
RUBRIC = "1. Multiplies the number of packs by their price and names the currency. [Hard Rule]"
ROW = {"answer": "1240", "rubric": RUBRIC, "reference": REASONING}


def examine(name: str) -> Robustness:
    (reward,) = build(RewardsConfig(set="none", extra=(Reward(name=name),))).functions
    return robustness_of(reward, REWARDS[name].senses, [RIGHT] * 2, [ROW] * 2)


STRICT = ["format_exact", "format_approx", "answer_check", "number_check"]


@pytest.mark.parametrize("name", STRICT)
def test_strict_rewards_keep_notice_and_are_not_for_sale(name: str) -> None:
    found = examine(name)
    assert found.violations == 0.0
    assert found.sensitivity == 1.0
    assert found.exploit_gain is not None
    assert found.exploit_gain <= 0.0


@pytest.mark.parametrize("name", STRICT)
def test_strict_rewards_on_real_solutions(name: str, gsm8k: list[dict[str, str]]) -> None:
    rows = [{"answer": gold_of(row["answer"])} for row in gsm8k[:150]]
    worked = [row["answer"].rpartition("####")[0] for row in gsm8k[:150]]
    completions = [
        f"<reasoning>{steps}</reasoning><answer>{row['answer']}</answer>"
        for steps, row in zip(worked, rows, strict=True)
    ]
    (reward,) = build(RewardsConfig(set="none", extra=(Reward(name=name),))).functions
    found = robustness_of(reward, REWARDS[name].senses, completions, rows)
    assert (found.violations, found.sensitivity) == (0.0, 1.0)
    assert found.exploit_gain is not None
    assert found.exploit_gain <= 0.0


def test_legacy_rewards_pay_for_characters() -> None:
    moved = {
        one.name
        for one in examine("legacy_answer_check").effects
        if one.expected == "unchanged" and one.as_expected == 0.0
    }
    assert moved == {"white_space", "thousands_comma", "currency", "trailing_zero"}


def test_legacy_format_pays_for_text_around_it() -> None:
    (effect,) = (one for one in examine("legacy_format_exact").effects if one.name == "text_around")
    assert (effect.mean_change, effect.as_expected) == (0.0, 0.5)


def test_echo_buys_the_legacy_rubric_and_not_the_new_one() -> None:
    def gain(name: str) -> float:
        (effect,) = (one for one in examine(name).effects if one.name == "rubric_echo")
        return effect.mean_change or 0.0

    assert gain("legacy_rubric") > 5.0
    assert gain("rubric_overlap") == 0.0


def constant(text: str, row: Any) -> float:
    return 1.0


def test_blind_reward_has_half_sensitivity() -> None:
    found = robustness_of(RuleReward("blind", constant), frozenset({"answer"}), [RIGHT], [ROW])
    assert (found.violations, found.sensitivity, found.exploit_gain) == (0.0, 0.5, 0.0)


def test_nothing_tried_is_no_perfect_score() -> None:
    found = robustness_of(RuleReward("blind", constant), frozenset({"answer"}), [], [])
    assert (found.violations, found.sensitivity, found.exploit_gain) == (None, None, None)


def test_rewards_that_do_not_apply_are_not_counted() -> None:
    reward = RuleReward("none", lambda text, row: None)
    found = robustness_of(reward, frozenset({"format"}), [RIGHT], [ROW])
    assert {one.num_tried for one in found.effects} == {0}


@pytest.mark.parametrize("one", PERTURBATIONS, ids=lambda one: one.name)
def test_perturbation_changes_a_right_completion_and_always_alike(one: Any) -> None:
    changed = one.change(RIGHT, ROW, Tags())
    assert changed is not None
    assert changed != RIGHT
    assert one.change(RIGHT, ROW, Tags()) == changed


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("thousands_comma", "7"),
        ("currency", "-7"),
        ("trailing_zero", "7.5"),
        ("sentence_order", "7"),
    ],
)
def test_perturbation_that_cannot_be_made_is_left_out(name: str, text: str) -> None:
    (one,) = (one for one in PERTURBATIONS if one.name == name)
    completion = f"<reasoning>One.</reasoning><answer>{text}</answer>"
    assert one.change(completion, ROW, Tags()) is None


def test_sentence_order_keeps_the_ends() -> None:
    (one,) = (one for one in PERTURBATIONS if one.name == "sentence_order")
    text = "<reasoning>A. B. C. D.</reasoning><answer>7</answer>"
    assert one.change(text, ROW, Tags()) == text.replace("A. B. C. D.", "A. C. B. D.")
