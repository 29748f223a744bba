"""What is verified of a model folder, one thing after the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.adoption.model_folders import is_model, kind_of, offer
from activeuf_core.adoption.offers import Offer, Wanted
from activeuf_core.adoption.taking import take
from activeuf_core.catalog import Catalog
from activeuf_core.paths import TRAINING_CONFIG
from activeuf_core.recipes import RecipeBook
from tests.core.adoption.conftest import Trained, wanted_of
from tests.fakes import tiny_models
from tests.graph.conftest import write_yaml


def look(folder: Path, wanted: Wanted, *, allow_pickle: bool = False) -> Offer:
    found = offer(folder, wanted, allow_pickle=allow_pickle)
    assert found is not None
    return found


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_policy_is_taken_with_what_it_is_loaded_from_and_nothing_else(
    wanted: Wanted, trained: Trained
) -> None:
    folder = trained()
    (folder / "optimizer.pt").touch()
    found = look(folder, wanted)
    assert found.problem == "" and found.node == ("dpo_model", "exp-a")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= found.files.keys()
    assert "optimizer.pt" not in found.files and TRAINING_CONFIG in found.written
    assert [(one["name"], one["passed"]) for one in found.checks] == [("weights_changed", True)]
    assert found.not_known == ("training_loss_finite", "training_reduced_loss", "pairs_kept")


def test_its_architecture_says_what_it_is_and_not_its_folder(
    wanted: Wanted, trained: Trained
) -> None:
    assert look(trained("rewards", to="dpo"), wanted).node == ("reward_model", "exp-a")


def test_an_adopted_policy_answers(wanted: Wanted, trained: Trained) -> None:
    from activeuf_core.evals.models import load_policy

    manifest = take(look(trained(), wanted), wanted, "copy")
    loaded = load_policy(wanted.layout.artifact("dpo_model", manifest.fingerprint), "float32")
    assert loaded.chat.encode([[{"role": "user", "content": "a"}]], ask=True)


def test_an_adopted_reward_model_rates(wanted: Wanted, trained: Trained) -> None:
    from activeuf_core.evals.models import load_reward_model

    manifest = take(look(trained("rewards"), wanted), wanted, "link")
    folder = wanted.layout.artifact("reward_model", manifest.fingerprint)
    assert load_reward_model(folder, "float32").model.config.num_labels == 1


def test_a_config_without_weights_is_a_save_that_was_cut_short(
    wanted: Wanted, trained: Trained
) -> None:
    folder = trained()
    (folder / "model.safetensors").unlink()
    assert "was it ever saved whole?" in look(folder, wanted).problem


def test_a_truncated_file_is_refused(wanted: Wanted, trained: Trained) -> None:
    folder = trained()
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert "its header says" in look(folder, wanted).problem


def test_a_model_of_another_size_is_refused(wanted: Wanted, trained: Trained) -> None:
    folder = trained()
    edit(folder / "config.json", hidden_size=4096)
    assert look(folder, wanted).problem == (
        "hidden_size is 4096, the experiment's base model has 16"
    )


def test_a_model_that_lacks_a_layer_is_refused(wanted: Wanted, trained: Trained) -> None:
    from safetensors.torch import load_file, save_file

    folder = trained()
    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors")
    assert look(folder, wanted).problem == (
        "it lacks 1 tensors of the base model, e.g. model.norm.weight"
    )


def test_the_base_model_itself_is_no_trained_model(wanted: Wanted, trained: Trained) -> None:
    assert "it was not trained" in look(trained("base"), wanted).problem


def test_a_reward_model_with_two_labels_is_refused(wanted: Wanted, tmp_path: Path) -> None:
    folder = tmp_path / "two"
    tiny_models.build(folder, "LlamaForSequenceClassification", num_labels=2)
    assert look(folder, wanted).problem == "it has 2 labels, a reward model has one"


@pytest.mark.parametrize(
    ("gone", "lacks"), [("tokenizer.json", "tokenizer"), ("chat_template.jinja", "chat template")]
)
def test_a_model_that_cannot_be_asked_is_refused(
    wanted: Wanted, trained: Trained, gone: str, lacks: str
) -> None:
    folder = trained()
    (folder / gone).unlink()
    assert look(folder, wanted).problem.startswith(f"it has no {lacks}")


def test_pickled_weights_need_a_word_and_are_converted(wanted: Wanted, trained: Trained) -> None:
    import torch
    from safetensors.torch import load_file

    folder = trained()
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "save_pretrained(..., safe_serialization=True)" in look(folder, wanted).problem
    manifest = take(look(folder, wanted, allow_pickle=True), wanted, "copy")
    names = {one.path for one in manifest.files}
    assert "model-00001-of-00001.safetensors" in names and "pytorch_model.bin" not in names


def test_a_folder_that_is_no_model_of_ours_is_passed_over(tmp_path: Path, wanted: Wanted) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaModel"]}')
    assert is_model(tmp_path) and kind_of(tmp_path) is None
    assert offer(tmp_path, wanted, allow_pickle=False) is None


def test_an_adapter_names_the_base_model_of_this_machine(
    wanted: Wanted, trained: Trained, tmp_path: Path
) -> None:
    folder = trained()
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    settings = {"task_type": "CAUSAL_LM", "r": 64, "base_model_name_or_path": "/their/base"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    found = look(folder, wanted)
    assert found.problem == ""
    written = found.written["adapter_config.json"]
    assert written["base_model_name_or_path"] == str(tmp_path / "base")
    other = wanted_of(tmp_path, dpo_model={"base_model": "base", "lora": {"rank": 8}})
    assert look(folder, other).problem == "it is an adapter of rank 64, the experiment says rank 8"


def test_no_model_becomes_an_untrained_one(
    tmp_path: Path, wanted: Wanted, trained: Trained
) -> None:
    path = tmp_path / "configs" / "experiments" / "exp-a.yaml"
    write_yaml(path, {"baseline": "untrained", "base_model": "base"})
    book = RecipeBook(Catalog.load(tmp_path / "configs", wanted.layout), wanted.book.store)
    node = ("dpo_model", "exp-a")
    found = look(trained(), Wanted.of(book, "exp-a", [node]))
    assert found.problem.startswith("dpo_model of exp-a is a stand-in (untrained)")
