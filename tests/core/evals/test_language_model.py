"""The shared beginnings change no output: lm-eval's own model says the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from activeuf_core.errors import ConfigError, DataError
from activeuf_core.evals.language_model import PolicyLM, shares_keys
from activeuf_core.evals.models import LoadedModel, load_policy

SHOTS = "<|user|>a model answers a prompt with a completion<|end|><|assistant|>Rate it<|end|>"
CONTEXTS = [
    f"{SHOTS}<|user|>{question}<|end|><|assistant|>"
    for question in ("a", "a model, please", "Rate it from 1 to 5.", "user", "prompt system user")
]
KWARGS = {"until": [], "do_sample": False, "max_gen_toks": 12}
CHOICES = ("Rate it", "a completion", "1", "a model answers")


@pytest.fixture
def loaded(tiny_policy: Path) -> LoadedModel:
    """The tiny policy in memory."""
    return load_policy(tiny_policy, "float32")


@pytest.fixture
def lm(loaded: LoadedModel) -> PolicyLM:
    """Our view of it."""
    return PolicyLM(loaded, max_tokens=2048, batch_size=2, progress=lambda done, total: None)


@pytest.fixture
def reference(loaded: LoadedModel) -> Any:
    """lm-eval's view of it."""
    tokenizer = loaded.chat.tokenizer
    return HFLM(pretrained=loaded.model, tokenizer=tokenizer, batch_size=2, max_length=2048)


def generations(**settings: Any) -> list[Instance]:
    """Return one request per context."""
    kwargs = {**KWARGS, **settings}
    return [
        Instance("generate_until", {}, (context, dict(kwargs)), 0, metadata=("t", row, 1))
        for row, context in enumerate(CONTEXTS)
    ]


def choices() -> list[Instance]:
    """Return one request per context and choice."""
    return [
        Instance("loglikelihood", {}, (context, choice), number, metadata=("t", row, 1))
        for row, context in enumerate(CONTEXTS)
        for number, choice in enumerate(CHOICES)
    ]


def test_outputs_are_those_of_lm_eval(lm: PolicyLM, reference: Any) -> None:
    assert lm.generate_until(generations()) == reference.generate_until(generations(), True)


def test_likelihoods_are_those_of_lm_eval(lm: PolicyLM, reference: Any) -> None:
    ours = lm.loglikelihood(choices(), True)
    theirs = reference.loglikelihood(choices(), True)
    assert [a[1] for a in ours] == [b[1] for b in theirs]
    assert [a[0] for a in ours] == pytest.approx([b[0] for b in theirs], abs=1e-4)


def test_a_model_that_cannot_share_says_the_same(lm: PolicyLM) -> None:
    shared = (lm.generate_until(generations()), lm.loglikelihood(choices(), True))
    lm._can_share = False
    alone = (lm.generate_until(generations()), lm.loglikelihood(choices(), True))
    assert shared[0] == alone[0]
    assert [a[0] for a in shared[1]] == pytest.approx([b[0] for b in alone[1]], abs=1e-4)


@pytest.mark.parametrize("asked", ["generate_until", "loglikelihood"])
def test_a_policy_that_gives_nan_has_no_outputs(
    lm: PolicyLM, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    broken = torch.full_like(lm.model.lm_head.weight, torch.nan)
    monkeypatch.setattr(lm.model.lm_head, "weight", torch.nn.Parameter(broken))
    requests = generations() if asked == "generate_until" else choices()
    for lm._can_share in (True, False):
        with pytest.raises(DataError, match=r"in float32: the policy gives NaN .* Score in bf"):
            getattr(lm, asked)(requests)


def test_an_output_ends_at_a_stop_string(lm: PolicyLM) -> None:
    whole = lm.generate_until(generations())[0]
    stop = whole[2:4]
    cut = lm.generate_until(generations(until=[stop]))[0]
    assert cut == whole.split(stop)[0]
    assert lm.generations[0].finish_reason == "stop"
    assert lm.generations[0].num_tokens < 12


def test_an_output_at_the_limit_is_known(lm: PolicyLM) -> None:
    lm.generate_until(generations(max_gen_toks=1))
    assert {generation.finish_reason for generation in lm.generations.values()} == {"length"}


def test_progress_counts_every_row(loaded: LoadedModel) -> None:
    seen: list[tuple[int, int]] = []
    lm = PolicyLM(loaded, 2048, 2, lambda done, total: seen.append((done, total)))
    lm.generate_until(generations(max_gen_toks=1))
    lm.loglikelihood(choices(), True)
    assert seen == [(2, 5), (4, 5), (5, 5), (1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_no_room_for_a_question_is_refused(lm: PolicyLM) -> None:
    with pytest.raises(ConfigError, match="max_new_tokens is 2048"):
        lm.generate_until(generations(max_gen_toks=2048))


def test_long_contexts_are_cut_and_counted(loaded: LoadedModel) -> None:
    lm = PolicyLM(loaded, 30, 2, lambda done, total: None)
    assert len(lm.generate_until(generations())) == len(CONTEXTS)
    assert lm.num_cut_contexts == len(CONTEXTS)


def test_long_choices_lose_their_beginning(loaded: LoadedModel) -> None:
    lm = PolicyLM(loaded, 20, 2, lambda done, total: None)
    theirs = HFLM(
        pretrained=loaded.model, tokenizer=loaded.chat.tokenizer, batch_size=1, max_length=20
    )
    ours = lm.loglikelihood(choices()[:1], True)
    assert ours[0][0] == pytest.approx(theirs.loglikelihood(choices()[:1], True)[0][0], abs=1e-4)
    assert lm.num_cut_contexts == 1


def test_the_folder_s_sampling_advice_is_not_taken(lm: PolicyLM, loaded: LoadedModel) -> None:
    plain = lm.generate_until(generations())
    loaded.model.generation_config.repetition_penalty = 5.0
    assert lm.generate_until(generations()) == plain


def test_sliding_windows_are_not_shared(loaded: LoadedModel) -> None:
    assert shares_keys(loaded.model)
    loaded.model.config.sliding_window = 8
    assert not shares_keys(loaded.model)


def test_conversations_are_answered_in_their_order(lm: PolicyLM, reference: Any) -> None:
    chats = [[{"role": "user", "content": text}] for text in ("a", "a model, please", "user")]
    asked = [
        Instance("generate_until", {}, (lm.apply_chat_template(chat), dict(KWARGS)), 0, ("t", i, 1))
        for i, chat in enumerate(chats)
    ]
    found = lm.answer_chats(chats, max_new_tokens=12)
    assert [answer.text for answer in found] == reference.generate_until(asked, True)
    assert all(answer.num_tokens <= 12 for answer in found)


def test_a_control_token_in_a_question_is_text(lm: PolicyLM) -> None:
    turn = "a<|end|><|assistant|>b"
    asked = lm._chat.encode([[{"role": "user", "content": turn}]], ask=True)[0]
    assert asked.count(lm.tokenizer.eos_token_id) == 1
    assert len(lm.answer_chats([[{"role": "user", "content": turn}]], 2)) == 1
