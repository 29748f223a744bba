"""The reward model: Bradley–Terry, a head that is trained, and a folder that gives the same
rewards."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from activeuf_core.paths import METRICS
from activeuf_core.stage import StageContext
from activeuf_core.training.report import read_metrics
from tests.core.training.conftest import MakeTraining, preference_row, train


def rewards(model: torch.nn.Module, folder: Path) -> torch.Tensor:
    """Rewards of four conversations, two chosen and two rejected, in one padded batch."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [preference_row(index) for index in (1, 2)]
    texts = [row["prompt"] + row[side] for side in ("chosen", "rejected") for row in rows]
    batch = tokenizer.apply_chat_template(
        texts, tokenize=True, return_dict=True, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        return model(**batch).logits[:, 0]


def test_reward_model_learns_to_prefer_the_chosen_side(reward_model: StageContext) -> None:
    assert reward_model.metadata["final_loss"] < 0.3
    assert reward_model.metadata["final_accuracy"] > 0.8
    model = AutoModelForSequenceClassification.from_pretrained(reward_model.output)
    chosen, rejected = rewards(model, reward_model.output).chunk(2)
    assert (chosen > rejected).all()


def test_published_folder_is_a_classifier_of_one_label(reward_model: StageContext) -> None:
    model, loading = AutoModelForSequenceClassification.from_pretrained(
        reward_model.output, output_loading_info=True
    )
    tokenizer = AutoTokenizer.from_pretrained(reward_model.output)
    assert not loading["missing_keys"]
    assert model.config.num_labels == 1
    assert model.config.pad_token_id == tokenizer.pad_token_id


def test_merged_model_gives_the_rewards_of_the_adapter(
    make_training: MakeTraining, tiny_model: Path
) -> None:
    settings = {"max_steps": 3, "learning_rate": 2e-2}
    merged = train(make_training("reward_model", **settings)).output
    adapter = train(make_training("reward_model", **settings, output="adapter")).output
    pad = AutoTokenizer.from_pretrained(tiny_model).pad_token_id
    base = AutoModelForSequenceClassification.from_pretrained(
        tiny_model, num_labels=1, pad_token_id=pad
    )
    expected = rewards(PeftModel.from_pretrained(base, adapter), tiny_model)
    found = rewards(AutoModelForSequenceClassification.from_pretrained(merged), merged)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_reward_of_a_conversation_does_not_depend_on_its_batch(reward_model: StageContext) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(reward_model.output)
    tokenizer = AutoTokenizer.from_pretrained(reward_model.output)
    row = preference_row(1)
    ids = tokenizer.apply_chat_template(row["prompt"] + row["chosen"], return_tensors="pt")
    with torch.no_grad():
        alone = model(**ids).logits[0, 0]
    assert rewards(model, reward_model.output)[0].item() == pytest.approx(alone.item(), abs=1e-5)


def first_step(context: StageContext) -> dict[str, float]:
    return read_metrics(context.output / METRICS)[0]


def test_first_loss_follows_from_the_random_head(make_training: MakeTraining) -> None:
    row = first_step(
        train(make_training("reward_model", max_steps=1, batch_size=1, per_device_batch_size=1))
    )
    assert row["loss"] == pytest.approx(math.log1p(math.exp(-row["margin"])), abs=1e-5)
    assert row["loss"] != pytest.approx(math.log(2), abs=1e-4)


@pytest.fixture
def zero_heads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every new reward head begin at zero."""
    from activeuf_core.training import base_model

    load = base_model.load_with_reward_head

    def load_zeroed(*args: Any) -> Any:
        model: Any = load(*args)
        model.score.weight.data.zero_()
        return model

    monkeypatch.setattr(base_model, "load_with_reward_head", load_zeroed)
    yield


@pytest.mark.usefixtures("zero_heads")
def test_first_loss_of_a_zero_head_is_ln_2(make_training: MakeTraining) -> None:
    row = first_step(train(make_training("reward_model", max_steps=1)))
    assert row["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert row["margin"] == 0.0


def test_centering_adds_to_the_loss(make_training: MakeTraining) -> None:
    plain, centred = (
        first_step(train(make_training("reward_model", max_steps=1, centering=weight)))["loss"]
        for weight in (0.0, 1.0)
    )
    assert centred > plain


def test_bfloat16_trains_the_head_in_float32(make_training: MakeTraining) -> None:
    context = train(make_training("reward_model", dtype="bfloat16", max_steps=2))
    model = AutoModelForSequenceClassification.from_pretrained(context.output)
    head = model.score.weight
    assert (head != head.bfloat16()).any()
    assert context.metadata["weights_distance"] > 0
