"""The paper's settings: what the config files say, and that what they say takes effect in TRL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from activeuf_core.artifacts import ArtifactStore
from activeuf_core.catalog import Catalog
from activeuf_core.config import flat, identity_of, parse, read_yaml
from activeuf_core.paths import PREFERENCES, PROJECT, Layout
from activeuf_core.recipes import RecipeBook
from activeuf_core.schemas import PREFERENCE, assistant_message, user_message, write_rows
from activeuf_core.training.config import DPOConfig, RewardModelConfig, TrainingConfig
from tests.core.training.conftest import MakeTraining, make_trainer, preference_row
from tests.fakes import tiny_models
from tests.graph.conftest import write_small_project, write_yaml

DEFAULTS = PROJECT / "configs" / "defaults"
VARIANTS = ("paper", "paper-ipo", "paper-simpo")
MODELS: dict[str, type[TrainingConfig]] = {
    "dpo_model": DPOConfig,
    "reward_model": RewardModelConfig,
}


def section(name: str, asset: str) -> TrainingConfig:
    body = read_yaml(DEFAULTS / f"{name}.yaml")[asset]
    model = {"name": body["base_model"], "identity": "pinned"}
    return parse(MODELS[asset], {**body, "base_model": model}, name)


@pytest.mark.parametrize("asset", MODELS)
def test_the_written_settings_are_the_defaults_of_the_code(asset: str) -> None:
    plain = parse(MODELS[asset], {"base_model": {"name": "x", "identity": "pinned"}}, "here")
    written = section("paper", asset)
    assert identity_of(written) == identity_of(plain)


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_differ_in_what_the_paper_varied(name: str) -> None:
    paper, variant = (section(one, "dpo_model") for one in ("paper", name))
    differing = {
        field
        for field, value in paper
        if getattr(variant, field) != value and field not in paper.not_in_recipe
    }
    loss = {"loss_type", "learning_rate", "epochs"}
    assert (
        differing
        == {
            "paper": set(),
            "paper-ipo": loss | {"dpo_beta"},
            "paper-simpo": loss,
        }[name]
    )
    assert identity_of(section(name, "reward_model")) == identity_of(
        section("paper", "reward_model")
    )


@pytest.mark.parametrize("name", VARIANTS[1:])
def test_the_papers_table(name: str) -> None:
    found = section(name, "dpo_model")
    assert isinstance(found, DPOConfig)
    assert (found.learning_rate, found.epochs, found.batch_size) == (5e-6, 1.0, 32)
    assert (found.simpo_beta, found.simpo_gamma) == (2.0, 1.2)


@pytest.fixture(scope="module")
def roomy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.build(tmp_path_factory.mktemp("models") / "roomy", context=4096)


@pytest.fixture(scope="module")
def long_prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Comparisons with prompts of more than 512 tokens, of more than one turn; one side of the last
    is too long."""
    turns = [*user_message("a b " * 200), *assistant_message("c " * 99), *user_message("d " * 99)]
    rows: list[Any] = [preference_row(index, prompt=turns) for index in range(5)]
    rows.append(preference_row(5, rejected=assistant_message("x " * 1500)))
    folder = tmp_path_factory.mktemp("long")
    write_rows(folder / PREFERENCES, PREFERENCE, rows)
    return folder


def sequences(trainer: Any) -> list[list[int]]:
    """The token ids that reach the model, both sides of every comparison, without padding."""
    batches = list(trainer.get_train_dataloader())
    return sorted(
        ids[mask.bool()].tolist()
        for batch in batches
        for name in batch
        if name.endswith("input_ids")
        for ids, mask in zip(
            batch[name], batch[name.replace("input_ids", "attention_mask")], strict=True
        )
    )


@pytest.mark.parametrize(
    ("asset", "changes"),
    [
        ("dpo_model", {"loss_type": "sigmoid"}),
        ("dpo_model", {"loss_type": "simpo"}),
        ("reward_model", {}),
    ],
)
def test_no_prompt_is_cut_and_both_sides_are_measured(
    make_training: MakeTraining,
    roomy_model: Path,
    long_prompts: Path,
    asset: str,
    changes: dict[str, Any],
) -> None:
    context = make_training(asset, model=roomy_model, data=long_prompts, max_tokens=2048, **changes)
    found = sequences(make_trainer(context))
    tokenizer = AutoTokenizer.from_pretrained(roomy_model)
    rows = [preference_row(index) for index in range(5)]
    turns = [*user_message("a b " * 200), *assistant_message("c " * 99), *user_message("d " * 99)]
    expected = sorted(
        tokenizer.apply_chat_template(turns + row[side])["input_ids"]
        for row in rows
        for side in ("chosen", "rejected")
    )
    assert min(map(len, expected)) > 512
    assert found == expected


def test_beta_reaches_the_loss(make_training: MakeTraining) -> None:
    trainers = [make_trainer(make_training("dpo_model", dpo_beta=beta)) for beta in (0.1, 0.5)]
    assert [trainer.beta for trainer in trainers] == [0.1, 0.5]


def test_a_sweep_over_the_loss_shares_what_is_above_the_policy(tmp_path: Path) -> None:
    write_small_project(tmp_path)
    own = read_yaml(tmp_path / "configs" / "experiments" / "exp-a.yaml")
    fixed = {key: {"value": value} for key, value in flat(own).items()}
    losses = {"dpo_model.loss_type": {"values": ["sigmoid", "sigmoid_norm", "ipo", "simpo"]}}
    body = {"method": "grid", "parameters": {**fixed, **losses}}
    write_yaml(tmp_path / "configs" / "sweeps" / "losses.yaml", body)
    layout = Layout(tmp_path / "home")
    catalog = Catalog.load(tmp_path / "configs", layout)
    book = RecipeBook(catalog, ArtifactStore(layout))
    points = list(catalog.sweeps["losses"].experiments)
    for asset, different in (("preference_dataset", 1), ("reward_model", 1), ("dpo_model", 4)):
        assert len({book.fingerprint(asset, point) for point in points}) == different
