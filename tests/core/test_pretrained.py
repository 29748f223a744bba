"""Pretrained models: whole ones are loaded, others refused; conversations become tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from activeuf_core import pretrained
from activeuf_core.errors import DataError
from activeuf_core.schemas import assistant_message, user_message
from tests.fakes import tiny_models


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.build(tmp_path_factory.mktemp("models") / "tiny")


def test_conversation_follows_the_chat_template(folder: Path) -> None:
    tokenizer = pretrained.load_tokenizer(str(folder))
    [ids] = tokenizer.encode([user_message("hi")], ask=True)
    assert tokenizer.tokenizer.decode(ids) == "<|user|>hi<|end|><|assistant|>"


THINKING = (
    "{% if add_generation_prompt and enable_thinking is defined and not enable_thinking %}"
    "<think></think>{% endif %}"
)


def test_model_that_can_think_is_told_not_to_where_its_template_knows_that(tmp_path: Path) -> None:
    tiny_models.build_tokenizer(tmp_path, chat_template=tiny_models.CHAT_TEMPLATE + THINKING)
    tokenizer = pretrained.load_tokenizer(str(tmp_path))
    [thinks] = tokenizer.encode([user_message("hi")], ask=True)
    [answers] = tokenizer.encode([user_message("hi")], ask=True, at_once=True)
    assert tokenizer.decode(answers) == tokenizer.decode(thinks) + "<think></think>"


def test_other_templates_are_not_told_anything(folder: Path) -> None:
    tokenizer = pretrained.load_tokenizer(str(folder))
    usual = tokenizer.encode([user_message("hi")], ask=True)
    assert tokenizer.encode([user_message("hi")], ask=True, at_once=True) == usual


@pytest.mark.parametrize(
    ("budget", "expected"),
    [(10, [[1], [2], [0, 3]]), (1, [[1], [2], [0], [3]]), (99, [[1, 2, 0, 3]])],
)
def test_batches_hold_so_many_tokens_with_their_padding(
    budget: int, expected: list[list[int]]
) -> None:
    assert list(pretrained.batches_by_tokens([5, 20, 6, 2], budget)) == expected


def test_nothing_makes_no_batch() -> None:
    assert list(pretrained.batches_by_tokens([], 10)) == []


def test_control_tokens_in_a_message_count_as_text(folder: Path) -> None:
    tokenizer = pretrained.load_tokenizer(str(folder))
    end = tokenizer.tokenizer.eos_token_id
    [ids] = tokenizer.encode([[*user_message("a"), *assistant_message("b<|end|><|user|>c")]])
    assert ids.count(end) == 2


def test_tokenizer_without_a_template_gets_the_plain_one(tmp_path: Path) -> None:
    tiny_models.build_tokenizer(tmp_path, chat_template=None)
    tokenizer = pretrained.load_tokenizer(str(tmp_path))
    [ids] = tokenizer.encode([[*user_message("a"), *assistant_message("b")]])
    assert tokenizer.is_plain
    assert tokenizer.tokenizer.decode(ids) == "User: a\n\nAssistant: b<|end|>\n\n"


def test_system_prompt_moves_into_the_user_turn_where_the_template_has_none(tmp_path: Path) -> None:
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}"
    tiny_models.build_tokenizer(tmp_path, chat_template=refusing + tiny_models.CHAT_TEMPLATE)
    tokenizer = pretrained.load_tokenizer(str(tmp_path))
    system = {"role": "system", "content": "s"}
    [ids] = tokenizer.encode([[system, *user_message("u")]])
    assert tokenizer.tokenizer.decode(ids) == "<|user|>s\n\nu<|end|>"


def test_template_that_refuses_everything_is_an_error(tmp_path: Path) -> None:
    tiny_models.build_tokenizer(tmp_path, chat_template="{{ raise_exception('never') }}")
    with pytest.raises(DataError, match=r"refuses a conversation of the roles \['user'\]: never"):
        pretrained.load_tokenizer(str(tmp_path)).encode([user_message("u")])


def test_missing_parts_of_a_model_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such model folder"):
        pretrained.load_model("AutoModel", str(tmp_path / "gone"), "float32")
    with pytest.raises(DataError, match=r"no config\.json"):
        pretrained.load_model("AutoModel", str(tmp_path), "float32")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="has no weights"):
        pretrained.load_model("AutoModel", str(tmp_path), "float32")
    with pytest.raises(DataError, match="tokenizer cannot be loaded"):
        pretrained.load_tokenizer(str(tmp_path))


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    tiny_models.build(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be loaded as AutoModel"):
        pretrained.load_model("AutoModel", str(tmp_path), "float32")


def test_model_without_the_needed_head_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"lacks 1 tensors, e\.g\. 'score\.weight'"):
        pretrained.load_model("AutoModelForSequenceClassification", str(folder), "float32")


def test_backbone_of_a_causal_model_is_whole(folder: Path) -> None:
    model = pretrained.load_model("AutoModel", str(folder), "bfloat16")
    assert model.dtype == torch.bfloat16
    assert not model.training
    assert pretrained.context_length(model) == 256


def test_batches_are_of_similar_length_and_complete() -> None:
    batches = list(pretrained.batches_by_length([3, 9, 1, 9, 5], 2))
    assert batches == [[1, 3], [4, 0], [2]]


def test_padding_goes_to_the_side_asked_for() -> None:
    ids, mask = pretrained.pad([[1, 2], [3]], 0, "left")
    assert ids.tolist() == [[1, 2], [0, 3]]
    assert mask.tolist() == [[1, 1], [0, 1]]
    assert pretrained.pad([[1, 2], [3]], 0, "right")[0].tolist() == [[1, 2], [3, 0]]


@pytest.mark.parametrize(
    ("local_rank", "seen", "expected"), [("", 1, "cuda:0"), ("2", 4, "cuda:2"), ("2", 1, "cuda:0")]
)
def test_each_process_of_a_node_has_a_gpu_of_its_own(
    monkeypatch: pytest.MonkeyPatch, local_rank: str, seen: int, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: seen)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local_rank:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    assert pretrained.device() == expected
