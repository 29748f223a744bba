"""Reward functions as the trainer calls them, and the suites that configs describe."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from activeuf_core.errors import ConfigError, DataError
from activeuf_core.paths import PROJECT
from activeuf_core.rewards.base import RuleReward, text_of
from activeuf_core.rewards.config import AnswerSettings, Reward, RewardsConfig, Tags
from activeuf_core.rewards.registry import REWARDS, SETS, Suite, build

FORMAT = "<reasoning>r</reasoning><answer>{}</answer>"
RUBRIC = "1. Names the capital of France. [Hard Rule]"


def suite(**settings: Any) -> Suite:
    return build(RewardsConfig(**settings))


def test_default_is_the_strict_set_with_equal_weights() -> None:
    found = suite()
    assert found.names == ("format_exact", "format_approx", "answer_check", "number_check")
    assert found.weights == (1.0, 1.0, 1.0, 1.0)
    scored = found.score([FORMAT.format("42")], answer=["42"])
    assert scored == {
        name: [value] for name, value in zip(found.names, (3.0, 2.5, 3.0, 1.5), strict=True)
    }


def test_functions_carry_the_name_that_metrics_get() -> None:
    assert [function.__name__ for function in suite(set="legacy").functions] == list(SETS["legacy"])


def test_conversations_count_with_their_last_message() -> None:
    messages = [[{"role": "assistant", "content": FORMAT.format("42")}]]
    (reward, *_) = suite().functions
    assert reward([[]], messages, [[1, 2]], trainer_state=None, log_metric=print) == [3.0]


def test_text_of_parts_and_of_nothing() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    assert text_of([{"role": "assistant", "content": parts}]) == "ab"
    assert text_of([{"role": "assistant", "content": None}]) == ""
    with pytest.raises(DataError, match="expected a text"):
        text_of([])


def test_row_without_an_answer_has_no_reward() -> None:
    scored = suite().score([FORMAT.format("4")] * 2, answer=["4", None])
    assert scored["answer_check"] == [3.0, None]
    assert scored["format_exact"] == [3.0, 3.0]


def test_missing_column_is_named_with_those_that_are_there() -> None:
    with pytest.raises(DataError, match=r"'answer', which the dataset lacks \(columns: question\)"):
        suite().score(["x"], question=["q"])


def test_column_of_another_length_is_an_error() -> None:
    with pytest.raises(DataError, match="2 values for 1 completions"):
        suite().score(["x"], answer=["4", "5"])


def test_rewards_do_not_depend_on_the_batch() -> None:
    texts = [FORMAT.format(i) for i in range(8)]
    answers = ["3"] * 8
    together = suite().score(texts, answer=answers)
    alone = [suite().score([text], answer=["3"]) for text in texts]
    for name, values in together.items():
        assert values == [one[name][0] for one in alone]


@pytest.mark.parametrize("name", sorted(REWARDS))
def test_rewards_keep_to_their_ends(name: str) -> None:
    entry = REWARDS[name]
    found = suite(set="none", extra=(Reward(name=name),))
    texts = ["", "x", RUBRIC, FORMAT.format("42"), FORMAT.format("7"), FORMAT.format("45")]
    columns = {"answer": ["42"] * 6, "rubric": [RUBRIC] * 6, "reference": ["Paris"] * 6}
    (values,) = found.score(texts, **columns).values()
    assert all(value is not None and entry.low <= value <= entry.high for value in values)


def test_legacy_rubric_reads_reference_and_target_where_they_are() -> None:
    found = suite(set="none", extra=(Reward(name="legacy_rubric"),))
    columns = {"rubric": [RUBRIC], "reference": ["x"], "target_score": ["10"]}
    assert found.score(["x"], **columns) == {"legacy_rubric": [10.0]}
    assert found.score(["x"], rubric=[RUBRIC]) == {"legacy_rubric": [0.0]}


def test_weights_and_extra() -> None:
    found = suite(weights={"format_exact": 0.5}, extra=(Reward(name="rubric_overlap", weight=0.0),))
    assert found.weights == (0.5, 1.0, 1.0, 1.0, 0.0)
    assert found.names[-1] == "rubric_overlap"


def test_ends_of_the_weighted_sum() -> None:
    assert suite().ends == (-3.5, 10.0)
    assert suite(set="legacy").ends == (-3.5, 10.0)
    assert suite(weights={"format_approx": 0.0, "number_check": -2.0}).ends == (-4.0, 6.0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"weights": {"format_exat": 1.0}}, "did you mean 'format_exact'"),
        ({"extra": (Reward(name="answer_chek"),)}, "did you mean 'answer_check'"),
        ({"extra": (Reward(name="answer_check"),)}, "is there already"),
        ({"extra": (Reward(name="llm_judge"),)}, "needs the section `judge`"),
        ({"set": "none"}, "Name a reward"),
    ],
)
def test_wrong_configs_say_what_to_do(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        suite(**settings)


def test_version_follows_settings_that_count() -> None:
    plain, other = suite().versions, suite(answer=AnswerSettings(tolerance=0.05)).versions
    assert plain["format_exact"] == other["format_exact"]
    assert plain["answer_check"] != other["answer_check"]
    tags = suite(tags=Tags(answer_start="<final>", answer_end="</final>")).versions
    assert all(plain[name] != tags[name] for name in plain)


def test_version_names_code_and_weights() -> None:
    versions = suite().versions
    assert len(set(versions.values())) == 4
    assert suite().version == suite().version
    assert suite().version != suite(weights={"format_exact": 2.0}).version


def test_version_without_code_is_refused() -> None:
    reward = RuleReward("x", lambda text, row: 0.0, code=("activeuf_core.rewards.strict.nothing",))
    with pytest.raises(AssertionError, match="no code"):
        _ = reward.version


def test_listing_rewards_loads_nothing_heavy() -> None:
    code = "import sys, activeuf_core.rewards.registry; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT)
    assert {"torch", "aiohttp", "numpy", "pyarrow"}.isdisjoint(done.stdout.split())
