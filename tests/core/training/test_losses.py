"""The four losses, against values computed here from the papers' formulas: log-probabilities by a
plain softmax over a plain model's logits, tokens by the chat template alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from activeuf_core.paths import PREFERENCES
from activeuf_core.schemas import PREFERENCE, assistant_message, write_rows
from tests.core.training.conftest import MakeTraining, make_trainer, preference_row

ROWS = [
    preference_row(0, chosen=assistant_message("one two three"), rejected=assistant_message("no")),
    preference_row(1, chosen=assistant_message("x"), rejected=assistant_message("a b c d e f g")),
]
"""Completions of four lengths."""
SETTINGS: dict[str, dict[str, float]] = {
    "sigmoid": {"dpo_beta": 0.3},
    "sigmoid_norm": {"dpo_beta": 5.0},
    "ipo": {"dpo_beta": 0.7},
    "simpo": {"simpo_beta": 2.0, "simpo_gamma": 1.2},
}


def log_sigmoid(value: float) -> float:
    return -math.log1p(math.exp(-value))


def by_hand(loss_type: str, pair: dict[str, tuple[float, float, int]]) -> float:
    """The loss of one comparison. Args: pair: per side, the log-probability under the policy, that
    under the reference model, and the number of tokens."""
    (pi_c, ref_c, len_c), (pi_r, ref_r, len_r) = pair["chosen"], pair["rejected"]
    beta = SETTINGS[loss_type].get("dpo_beta", 2.0)
    per_token = (pi_c - ref_c) / len_c - (pi_r - ref_r) / len_r
    return {
        "sigmoid": -log_sigmoid(beta * ((pi_c - ref_c) - (pi_r - ref_r))),
        "sigmoid_norm": -log_sigmoid(beta * per_token),
        "ipo": (per_token - 1 / (2 * beta)) ** 2,
        "simpo": -log_sigmoid(2.0 * (pi_c / len_c - pi_r / len_r) - 1.2),
    }[loss_type]


def log_probability(
    model: torch.nn.Module, tokenizer: Any, row: Any, side: str
) -> tuple[float, int]:
    """The completion's log-probability, end token included, and its number of tokens."""
    prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)["input_ids"]
    ids = tokenizer.apply_chat_template(row["prompt"] + row[side])["input_ids"]
    with torch.no_grad():
        log_probs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    steps = range(len(prompt), len(ids))
    return sum(log_probs[step - 1, ids[step]].item() for step in steps), len(steps)


@pytest.fixture(scope="module")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    write_rows(folder / PREFERENCES, PREFERENCE, ROWS)
    return folder


@pytest.fixture
def moved(make_training: MakeTraining, tiny_data: Path) -> Callable[[str], Any]:
    """Return a maker of trainers whose policy is not the reference model any more."""

    def make(loss_type: str) -> Any:
        changes: dict[str, Any] = {"loss_type": loss_type, **SETTINGS[loss_type]}
        trainer = make_trainer(make_training("dpo_model", data=tiny_data, batch_size=2, **changes))
        torch.manual_seed(3)
        for name, weight in trainer.model.named_parameters():
            if "lora_B" in name:
                weight.data.normal_(std=0.3)
        return trainer

    return make


def expected(trainer: Any, loss_type: str, base_folder: Path) -> float:
    base = AutoModelForCausalLM.from_pretrained(base_folder)
    tokenizer = AutoTokenizer.from_pretrained(base_folder)
    losses = []
    for row in ROWS:
        pair = {}
        for side in ("chosen", "rejected"):
            policy, count = log_probability(trainer.model.get_base_model(), tokenizer, row, side)
            pair[side] = (policy, log_probability(base, tokenizer, row, side)[0], count)
        losses.append(by_hand(loss_type, pair))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("loss_type", SETTINGS)
def test_loss_is_that_of_its_paper(
    moved: Callable[[str], Any], tiny_model: Path, loss_type: str
) -> None:
    trainer = moved(loss_type)
    batch = next(iter(trainer.get_train_dataloader()))
    loss = trainer.compute_loss(trainer.model, batch).item()
    assert loss == pytest.approx(expected(trainer, loss_type, tiny_model), rel=1e-4)


def test_no_two_losses_are_the_same(moved: Callable[[str], Any], tiny_model: Path) -> None:
    values = [round(expected(moved(name), name, tiny_model), 3) for name in SETTINGS]
    assert len(set(values)) == len(values)
    assert all(value > 0 for value in values)


def test_ipo_is_compared_with_a_reference_model(
    make_training: MakeTraining, tiny_data: Path
) -> None:
    """Where the policy is the reference model still, every completion has a margin of zero."""
    trainer = make_trainer(
        make_training("dpo_model", data=tiny_data, batch_size=2, loss_type="ipo", dpo_beta=0.7)
    )
    batch = next(iter(trainer.get_train_dataloader()))
    loss = trainer.compute_loss(trainer.model, batch).item()
    assert loss == pytest.approx((1 / 1.4) ** 2, rel=1e-5)
