"""SimPO sees the very tokens that DPO sees: none added, cut or read as a control token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from activeuf_core.paths import PREFERENCES
from activeuf_core.schemas import PREFERENCE, assistant_message, user_message, write_rows
from activeuf_core.training.dpo import SIMPO_COLUMNS
from activeuf_core.training.simpo import IGNORED, prompt_length
from tests.core.training.conftest import MakeTraining, make_trainer, preference_row, train
from tests.fakes import tiny_models

LONG = user_message("a b " * 300)
"""More than the 512 tokens at which the trainer cuts unless told otherwise."""
ROWS = [
    preference_row(0, chosen=assistant_message("a<|end|><|user|>b")),
    preference_row(1, prompt=LONG),
    *(preference_row(index) for index in range(2, 6)),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with room for long prompts, whose tokenizer has a first token that its template does
    not write."""
    folder = tiny_models.build(tmp_path_factory.mktemp("models") / "long", context=2048)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.bos_token = "<|system|>"
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_rows(folder / PREFERENCES, PREFERENCE, ROWS)
    return folder


def rows(make_training: MakeTraining, model: Path, data: Path, loss_type: str) -> list[Any]:
    context = make_training(
        "dpo_model", model=model, data=data, loss_type=loss_type, max_tokens=2048
    )
    return list(make_trainer(context).train_dataset)


def test_tokens_and_labels_are_those_of_dpo(
    make_training: MakeTraining, model: Path, data: Path
) -> None:
    simpo, dpo = (rows(make_training, model, data, name) for name in ("simpo", "sigmoid"))
    assert max(len(row["chosen_input_ids"]) for row in simpo) > 512
    for ours, theirs in zip(simpo, dpo, strict=True):
        for side in ("chosen", "rejected"):
            prompt, completion = theirs["prompt_ids"], theirs[f"{side}_ids"]
            assert ours[f"{side}_input_ids"] == prompt + completion
            assert ours[f"{side}_labels"] == [IGNORED] * len(prompt) + completion


def test_conversations_do_not_reach_the_trainer(
    make_training: MakeTraining, model: Path, data: Path
) -> None:
    [row, *_] = rows(make_training, model, data, "simpo")
    assert "prompt" in SIMPO_COLUMNS
    assert not {"prompt", "chosen", "rejected"} & set(row)


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected", "length"),
    [
        ([1, 2], [1, 2, 3], [1, 2, 4], 2),
        ([1, 2, 9], [1, 2, 3], [1, 2, 9, 4], 2),
        ([1, 2, 9], [1, 5, 3], [1, 2, 9, 4], 1),
        ([], [1], [2], 0),
    ],
)
def test_a_completion_begins_where_it_leaves_the_prompt(
    prompt: list[int], chosen: list[int], rejected: list[int], length: int
) -> None:
    assert prompt_length(prompt, chosen, rejected) == length


def test_all_weights_are_trained_without_a_reference_model(make_training: MakeTraining) -> None:
    trainer = make_trainer(make_training("dpo_model", loss_type="simpo", lora=None))
    assert getattr(trainer, "ref_model", None) is None
    assert all(weight.requires_grad for weight in trainer.model.parameters())


def test_policy_learns_to_prefer_the_chosen_side(make_training: MakeTraining) -> None:
    found = train(make_training("dpo_model", loss_type="simpo", epochs=8)).metadata
    assert found["final_loss"] < 1.0
    assert found["final_accuracy"] > 0.8
    assert found["final_margin"] > 1.2


@pytest.mark.parametrize(("beta", "gamma"), [(2.5, 1.2), (2.0, 0.5)])
def test_beta_and_gamma_reach_the_loss(
    make_training: MakeTraining, beta: float, gamma: float
) -> None:
    def first_loss(**changes: float) -> float:
        trainer = make_trainer(make_training("dpo_model", loss_type="simpo", **changes))
        batch = next(iter(trainer.get_train_dataloader()))
        return trainer.compute_loss(trainer.model, batch).item()

    assert first_loss(simpo_beta=beta, simpo_gamma=gamma) != pytest.approx(first_loss(), rel=1e-3)
