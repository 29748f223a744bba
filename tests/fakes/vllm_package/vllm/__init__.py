"""A stand-in for vLLM: the part of its interface that lm-eval uses, over a tiny real model.

Outputs are greedy and one at a time, so that they are what vLLM promises and nothing faster. What
vLLM refuses is refused: an unknown setting, a prompt that is too long. Random sampling is refused
too: no test asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypedDict

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ENGINES: list[dict[str, Any]] = []
"""The arguments of every engine that was started."""


class TokensPrompt(TypedDict):
    prompt_token_ids: list[int]


@dataclass
class SamplingParams:
    temperature: float = 1.0
    max_tokens: int = 16
    stop: list[str] = field(default_factory=list)
    prompt_logprobs: int | None = None
    detokenize: bool = True
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True


@dataclass
class Logprob:
    logprob: float


class LLM:
    def __init__(
        self, model: str, dtype: str, max_model_len: int, tokenizer: str, **options: Any
    ) -> None:
        ENGINES.append({"model": model, "max_model_len": max_model_len, **options})
        self.name = model
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype))
        self.tokenizer = AutoTokenizer.from_pretrained(tokenizer)
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=max_model_len))

    @torch.inference_mode()
    def generate(
        self,
        prompts: list[TokensPrompt],
        sampling_params: list[SamplingParams],
        use_tqdm: bool = True,
        lora_request: Any = None,
    ) -> list[Any]:
        model = self.model if lora_request is None else self._adapted(lora_request)
        return [
            self._one(model, prompt["prompt_token_ids"], params)
            for prompt, params in zip(prompts, sampling_params, strict=True)
        ]

    def _adapted(self, request: Any) -> Any:
        from peft import PeftModel

        base = AutoModelForCausalLM.from_pretrained(self.name, dtype=self.model.dtype)
        return PeftModel.from_pretrained(base, request.path)

    def _one(self, model: Any, prompt: list[int], params: SamplingParams) -> Any:
        limit = self.llm_engine.model_config.max_model_len
        if len(prompt) + params.max_tokens > limit or params.temperature:
            raise ValueError(f"{len(prompt)} tokens of {limit}, temperature {params.temperature}")
        known = None
        if params.prompt_logprobs is not None:
            known = _prompt_logprobs(model, prompt)
        tokens, reason = self._write(model, list(prompt), params)
        text = self.tokenizer.decode(tokens, skip_special_tokens=params.skip_special_tokens)
        output = SimpleNamespace(text=text, token_ids=tokens, finish_reason=reason)
        return SimpleNamespace(prompt_logprobs=known, outputs=[output])

    def _write(self, model: Any, known: list[int], params: SamplingParams) -> tuple[list[int], str]:
        new: list[int] = []
        for _ in range(params.max_tokens):
            token = int(model(input_ids=torch.tensor([known + new])).logits[0, -1].argmax())
            new.append(token)
            text = self.tokenizer.decode(new)
            ends = token == self.tokenizer.eos_token_id
            if ends or any(stop in text for stop in params.stop):
                return new, "stop"
        return new, "length"


def _prompt_logprobs(model: Any, prompt: list[int]) -> list[dict[int, Logprob] | None]:
    logits = model(input_ids=torch.tensor([prompt])).logits[0, :-1]
    table = torch.log_softmax(logits, dim=-1, dtype=torch.float32)
    found: list[dict[int, Logprob] | None] = [None]
    for row, token in zip(table, prompt[1:], strict=True):
        best = int(row.argmax())
        found.append({best: Logprob(float(row[best])), token: Logprob(float(row[token]))})
    return found
