"""What is refused, what is dropped and counted, and what is held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from activeuf_core.errors import DataError
from activeuf_core.schemas import assistant_message, user_message
from activeuf_core.training.comparisons import prepare, require_sound
from activeuf_core.training.config import TrainingConfig
from tests.core.training.conftest import FAST, preference_row

EMPTY = assistant_message(" \n")
LONG = assistant_message("x " * 60)


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model)


def config(**changes: Any) -> TrainingConfig:
    return TrainingConfig.model_validate({**FAST, **changes})


def rows(*changed: dict[str, Any]) -> list[dict[str, Any]]:
    return [preference_row(i, **changes) for i, changes in enumerate(changed)] + [
        preference_row(i) for i in range(len(changed), 8)
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rejected": preference_row(0)["chosen"]}, "1 with chosen = rejected (prompts p0)"),
        ({"chosen": EMPTY}, "1 with an empty chosen completion"),
        ({"rejected": []}, "1 with an empty rejected completion"),
        ({"chosen": [{"role": "assistant", "content": None}]}, "an empty chosen completion"),
        ({"chosen": user_message("x")}, "a chosen completion that is not the assistant's"),
        ({"prompt": assistant_message("x")}, "a prompt that does not end with a user's turn"),
        ({"prompt": []}, "a prompt that does not end with a user's turn"),
        ({"rejected_score": float("nan")}, "a rejected score that is not a number"),
    ],
)
def test_wrong_rows_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as caught:
        require_sound(rows(changes))
    assert str(caught.value).startswith("preference_dataset: of 8 comparisons, 1 with ")
    assert said in str(caught.value)


def test_all_that_is_wrong_is_counted_at_once() -> None:
    same = {"rejected": preference_row(0)["chosen"], "chosen": preference_row(0)["chosen"]}
    with pytest.raises(DataError) as caught:
        require_sound(rows(same, {"chosen": EMPTY}, {"chosen": EMPTY}))
    assert "1 with chosen = rejected (prompts p0)" in str(caught.value)
    assert "2 with an empty chosen completion (prompts p1, p2)" in str(caught.value)


def test_missing_scores_are_no_mistake() -> None:
    require_sound(rows({"chosen_score": None, "rejected_score": None}))


def test_pairs_with_either_side_too_long_are_dropped(tokenizer: Any) -> None:
    found = prepare(rows({"chosen": LONG}, {"rejected": LONG}), tokenizer, config())
    assert (len(found.train), found.num_kept, found.num_read) == (6, 6, 8)
    assert found.dropped == {"too_long": 2, "same_tokens": 0}
    assert found.longest <= 64


def test_length_is_that_of_the_whole_conversation(tokenizer: Any) -> None:
    row = preference_row(0, prompt=user_message("how long is this"))
    ids, other = (
        tokenizer.apply_chat_template(row["prompt"] + row[side])["input_ids"]
        for side in ("rejected", "chosen")
    )
    assert len(ids) > len(other)
    found = prepare([row], tokenizer, config(batch_size=1, max_tokens=len(ids)))
    assert found.train[0]["rejected_ids"] == ids
    with pytest.raises(DataError, match="0 of 1 comparisons are left"):
        prepare([row], tokenizer, config(batch_size=1, max_tokens=len(ids) - 1))


def test_sides_that_the_template_makes_equal_are_dropped(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trimming = tokenizer.chat_template.replace("m['content']", "m['content'] | trim")
    monkeypatch.setattr(tokenizer, "chat_template", trimming)
    padded = {"chosen": assistant_message("yes"), "rejected": assistant_message("yes ")}
    assert prepare(rows(padded), tokenizer, config()).dropped["same_tokens"] == 1


def test_too_few_rows_after_the_filter_are_an_error_with_counts(
    tokenizer: Any,
) -> None:
    long = [{"chosen": LONG}] * 6
    with pytest.raises(DataError) as caught:
        prepare(rows(*long), tokenizer, config())
    assert "2 of 8 comparisons are left" in str(caught.value)
    assert "6 longer than max_tokens = 64" in str(caught.value)


def test_control_tokens_in_a_completion_count_as_text(tokenizer: Any) -> None:
    row = preference_row(0, chosen=assistant_message("a<|end|><|user|>b"))
    found = prepare([row], tokenizer, config(batch_size=1))
    assert found.train[0]["chosen_ids"].count(tokenizer.eos_token_id) == 2


def test_template_that_refuses_a_conversation_is_a_data_error(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "chat_template", "{{ raise_exception('no system role') }}")
    with pytest.raises(DataError, match=r"refuses a conversation .*no system role"):
        prepare(rows(), tokenizer, config())


def test_held_out_comparisons_share_no_prompt_with_the_others(
    tokenizer: Any,
) -> None:
    doubled = rows() + [preference_row(i, chosen=assistant_message("b")) for i in range(8)]
    found = prepare(doubled, tokenizer, config(validation_fraction=0.25))
    held_out = {row["prompt"][0]["content"] for row in found.validation}
    assert (len(found.train), len(found.validation)) == (12, 4)
    assert held_out.isdisjoint(row["prompt"][0]["content"] for row in found.train)


def test_the_seed_decides_what_is_held_out(tokenizer: Any) -> None:
    chosen = [
        prepare(rows(), tokenizer, config(validation_fraction=0.25, seed=seed)).validation
        for seed in (1, 1, 3)
    ]
    assert chosen[0] == chosen[1] != chosen[2]
