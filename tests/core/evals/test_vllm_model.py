"""vLLM's back end, through lm-eval's own vLLM model, over a stand-in for vLLM itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from activeuf_core.errors import ConfigError, DataError
from activeuf_core.evals.config import ScoreConfig
from activeuf_core.evals.policy import Policy, open_policy
from tests.core.evals.test_language_model import CONTEXTS, choices, generations
from tests.core.evals.test_models import adapt
from tests.fakes import tiny_models

PACKAGE = Path(tiny_models.__file__).parent / "vllm_package"
CHATS = [[{"role": "user", "content": text}] for text in ("a", "Rate it", "a<|end|>b")]


def config(backend: str, **changes: Any) -> ScoreConfig:
    """Return the settings of a score."""
    data = {"name": "rows", "identity": "1"}
    fast = {"dtype": "float32", "max_tokens": 2048, "batch_size": 2}
    return ScoreConfig.model_validate(
        {"benchmark": "gsm8k", "data": data, "backend": backend, **fast, **changes}
    )


def opened(folder: Path, backend: str, **changes: Any) -> Any:
    """Open a policy in a back end."""
    return open_policy(folder, config(backend, **changes), lambda done, total: None)


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Any]:
    """Put the stand-in where vLLM would be, once: lm-eval's model keeps what it imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PACKAGE))
        import vllm

        yield vllm
    for name in [n for n in sys.modules if n == "vllm" or n.startswith("vllm.")]:
        del sys.modules[name]


@pytest.fixture
def vllm(stand_in: Any) -> Any:
    """Return the stand-in; no engine was started."""
    stand_in.ENGINES.clear()
    return stand_in


def answered(lm: Policy, requests: list[Instance]) -> list[tuple[str, int, str]]:
    """Let a policy answer; return texts, lengths and endings."""
    texts = lm.generate_until(requests)  # type: ignore[attr-defined]
    told = [lm.generations[row] for row in range(len(requests))]
    assert texts == [answer.text for answer in told]
    return [(answer.text, answer.num_tokens, answer.finish_reason) for answer in told]


def test_without_vllm_it_says_how_to_get_it(tiny_policy: Path) -> None:
    with pytest.raises(ConfigError, match=r"pip install 'activeuf\[vllm\]'"):
        opened(tiny_policy, "vllm")


@pytest.mark.parametrize("settings", [{}, {"until": ["e"]}, {"max_gen_toks": 1}])
def test_both_back_ends_say_the_same(vllm: Any, tiny_policy: Path, settings: Any) -> None:
    ours = answered(opened(tiny_policy, "transformers"), generations(**settings))
    assert answered(opened(tiny_policy, "vllm"), generations(**settings)) == ours


def test_choices_have_the_same_likelihoods(vllm: Any, tiny_policy: Path) -> None:
    ours = opened(tiny_policy, "transformers").loglikelihood(choices(), True)
    theirs = opened(tiny_policy, "vllm").loglikelihood(choices(), True)
    assert [a[1] for a in theirs] == [a[1] for a in ours]
    assert [a[0] for a in theirs] == pytest.approx([a[0] for a in ours], abs=1e-4)


def test_conversations_are_answered_alike(vllm: Any, tiny_policy: Path) -> None:
    ours = opened(tiny_policy, "transformers").answer_chats(CHATS, 9)
    assert opened(tiny_policy, "vllm").answer_chats(CHATS, 9) == ours


def test_long_contexts_are_cut_alike(vllm: Any, tiny_policy: Path) -> None:
    ours, theirs = (opened(tiny_policy, b, max_tokens=64) for b in ("transformers", "vllm"))
    requests = generations(max_gen_toks=48)
    assert answered(theirs, requests) == answered(ours, requests)
    assert theirs.num_cut_contexts == ours.num_cut_contexts == len(CONTEXTS)


def test_an_adapter_is_applied(vllm: Any, tiny_policy: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "adapter"
    adapt(tiny_policy, folder, AutoModelForCausalLM)
    ours = answered(opened(folder, "transformers"), generations())
    assert answered(opened(folder, "vllm"), generations()) == ours
    assert vllm.ENGINES[0]["max_lora_rank"] == 8


def test_settings_reach_the_engine(vllm: Any, tiny_policy: Path) -> None:
    opened(tiny_policy, "vllm", tensor_parallel_size=4, gpu_memory_share=0.5)
    engine = vllm.ENGINES[0]
    assert (engine["tensor_parallel_size"], engine["gpu_memory_utilization"]) == (4, 0.5)
    assert engine["max_model_len"] == 2048


def test_benchmarks_of_a_model_share_an_engine(vllm: Any, tiny_policy: Path) -> None:
    first, second = opened(tiny_policy, "vllm"), opened(tiny_policy, "vllm")
    assert first is second
    assert len(vllm.ENGINES) == 1


def test_nan_weights_are_refused_before_vllm_sees_them(vllm: Any, tmp_path: Path) -> None:
    folder = tiny_models.build(tmp_path / "policy")
    tiny_models.poison(folder, "model.norm.weight")
    with pytest.raises(DataError, match=r"1 weight tensors are not finite, e\.g\. model\.norm"):
        opened(folder, "vllm")
    assert vllm.ENGINES == []


def test_several_processes_are_refused(
    vllm: Any, tiny_policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"started as 2 processes.*tensor_parallel_size"):
        opened(tiny_policy, "vllm")
