"""Fixtures of this room: a tiny model, comparisons to train it on, and both trainings' contexts."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.jobs import Unit
from activeuf_core.paths import PREFERENCES, UnitFolder
from activeuf_core.schemas import PREFERENCE, assistant_message, user_message, write_rows
from activeuf_core.stage import StageContext
from tests.fakes import tiny_models

MakeTraining = Callable[..., StageContext]

NUM_ROWS = 16
WORDS = ["prompt", "model", "answer", "completion", "rate", "user", "system", "from", "one", "five"]
FAST = {
    "base_model": {"name": "tiny", "identity": "tiny"},
    "lora": {"rank": 4, "alpha": 8},
    "learning_rate": 5e-3,
    "epochs": 1,
    "batch_size": 4,
    "per_device_batch_size": 2,
    "max_tokens": 64,
    "dtype": "float32",
    "gradient_checkpointing": False,
}
"""Settings under which a training takes a second."""


def preference_row(index: int, **changes: Any) -> dict[str, Any]:
    """Return a comparison in which the chosen side repeats a word of the prompt."""
    word, other = WORDS[index % 10], WORDS[(index * 3 + 1) % 10]
    row = {
        "prompt_id": f"p{index}",
        "source": "made",
        "prompt": user_message(f"a {word} {index}"),
        "chosen": assistant_message(f"{word} {word}"),
        "rejected": assistant_message(f"with {other} it"),
        "chosen_model": "a",
        "rejected_model": "b",
        "chosen_score": 4.0,
        "rejected_score": 2.0,
        "batch_index": 0,
    }
    return {**row, **changes}


def train(context: StageContext) -> StageContext:
    """Run the training that a context is for, and return the context."""
    module = {"dpo_model": "dpo", "reward_model": "reward_model"}[context.asset]
    importlib.import_module(f"activeuf_core.training.{module}").run(context)
    return context


def make_trainer(context: StageContext, per_device: int = 4, accumulation: int = 1) -> Any:
    """Return TRL's trainer as the training that a context is for would use it."""
    from activeuf_core.training import dpo, reward_model, session
    from activeuf_core.training.batching import Batching
    from activeuf_core.training.config import DPOConfig, RewardModelConfig

    is_dpo = context.asset == "dpo_model"
    config = context.config(DPOConfig if is_dpo else RewardModelConfig)
    kind = dpo.kind(config) if isinstance(config, DPOConfig) else reward_model.kind(config)
    plan = session.prepare(context, config)
    return session.make_trainer(plan, kind, Batching(per_device, accumulation))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with a byte-level tokenizer, as a folder."""
    return tiny_models.build(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def preferences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preference dataset of 16 comparisons."""
    folder = tmp_path_factory.mktemp("preferences")
    rows = [preference_row(index) for index in range(NUM_ROWS)]
    write_rows(folder / PREFERENCES, PREFERENCE, rows)
    return folder


@pytest.fixture(scope="session")
def make_training(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, preferences: Path
) -> MakeTraining:
    """Return a maker of contexts of `dpo_model` or `reward_model`; keywords change the config.

    Given the same `home`, two contexts share their checkpoints, as two attempts at one artifact do.
    """

    def make(
        asset: str,
        *,
        model: Path = tiny_model,
        data: Path = preferences,
        home: Path | None = None,
        **changes: Any,
    ) -> StageContext:
        home = home or tmp_path_factory.mktemp(asset)
        inputs = {"preference_dataset": {"test": str(data)}}
        config = {**FAST, **changes}
        unit = Unit(asset, "test", "", "", 0, config, inputs, {}, {"tiny": str(model)})
        folder = UnitFolder(home / "unit")
        folder.output.mkdir(parents=True, exist_ok=True)
        (home / "checkpoints").mkdir(exist_ok=True)
        return StageContext(unit, folder, home / "checkpoints")

    return make


@pytest.fixture(scope="session")
def dpo(make_training: MakeTraining) -> StageContext:
    """A finished DPO training of 16 steps, published as a merged model."""
    return train(make_training("dpo_model", epochs=4))


@pytest.fixture(scope="session")
def reward_model(make_training: MakeTraining) -> StageContext:
    """A finished training of a reward model of 16 steps, published as a merged model."""
    return train(make_training("reward_model", epochs=4, learning_rate=2e-2))
