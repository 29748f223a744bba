"""Completions that a model generates now, through transformers.

In: PROMPT rows and a causal language model. Out: COMPLETION rows in the order of the prompts.
Batches hold prompts of similar length, padded on the left, and are dealt out to the processes of
the stage. What is finished goes to the checkpoints every 20 s, so an interrupted run goes on where
it was, with the same draws (`sampling.py` says what exactly is guaranteed).
Cost: SmolLM2-135M in float32 on one core, 24 prompts at once: 65 new tokens per second.
Heavy: imports torch and transformers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from transformers import GenerationConfig, LogitsProcessorList

from activeuf_core import pretrained, processes
from activeuf_core.completions import principles
from activeuf_core.completions.config import CompletionsConfig
from activeuf_core.completions.sampling import OwnNumbers, uniforms
from activeuf_core.errors import DataError
from activeuf_core.schemas import COMPLETION
from activeuf_core.shards import Worklist
from activeuf_core.stage import StageContext


class Question(NamedTuple):
    """A prompt as the model sees it."""

    prompt_id: str
    token_ids: list[int]
    principle: str | None
    system_prompt: str | None


def generate(
    context: StageContext, config: CompletionsConfig, prompts: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return the member's COMPLETION rows by prompt id, in every process.

    Prompts that leave no room for an answer in the model's context are left out, and counted in the
    metadata.
    """
    if config.model is None:
        raise DataError(f"{config.member}: mode 'generate' needs a model, and none is set.")
    location = context.locate(config.model)
    tokenizer = pretrained.load_tokenizer(location)
    writer = Writer(
        config, tokenizer, pretrained.load_model("AutoModelForCausalLM", location, config.dtype)
    )
    questions = _questions(config, tokenizer, prompts)
    fitting = [
        question for question in questions if len(question.token_ids) < writer.context_length
    ]
    lengths = [len(question.token_ids) for question in fitting]
    started = time.monotonic()
    keys = [(question.prompt_id,) for question in fitting]
    batches = pretrained.batches_by_length(lengths, config.batch_size)
    with Worklist(context, COMPLETION, ("prompt_id",), len(fitting), "completions") as worklist:
        worklist.work(keys, batches, lambda batch: writer.answer([fitting[i] for i in batch]))
    num_new = int(processes.add_up(new_tokens=writer.num_new_tokens)["new_tokens"])
    context.add_metadata(
        prompts_too_long=len(questions) - len(fitting),
        resumed_completions=worklist.num_resumed,
        new_tokens=num_new,
        new_tokens_per_second=round(num_new / max(time.monotonic() - started, 1e-9), 1),
        plain_chat_template=tokenizer.is_plain,
    )
    return {prompt_id: row for (prompt_id,), row in worklist.done.items()}


class Writer:
    """A loaded model that answers batches of questions."""

    def __init__(
        self, config: CompletionsConfig, tokenizer: pretrained.ChatTokenizer, model: Any
    ) -> None:
        """Take a model over; its generation settings are replaced."""
        self._config = config
        self._tokenizer = tokenizer
        self._model = model
        self._end_ids = _end_ids(model, tokenizer)
        self.context_length = pretrained.context_length(model)
        self.num_new_tokens = 0
        # The model's own defaults (a repetition penalty, say) are no part of the recipe.
        model.generation_config = GenerationConfig(
            do_sample=False,
            num_beams=1,
            eos_token_id=sorted(self._end_ids) or None,
            pad_token_id=tokenizer.pad_id,
        )

    def answer(self, questions: Sequence[Question]) -> list[dict[str, Any]]:
        """Return the COMPLETION rows of one batch."""
        sampling = self._config.sampling
        ids_BT, mask_BT = pretrained.pad(
            [q.token_ids for q in questions], self._tokenizer.pad_id, "left"
        )
        width = ids_BT.shape[1]
        limit = min(sampling.max_new_tokens, self.context_length - width)
        prompt_ids = [question.prompt_id for question in questions]
        numbers_BT = uniforms(sampling.seed, self._config.member, prompt_ids, limit).to(
            ids_BT.device
        )
        chooser = OwnNumbers(numbers_BT, width, sampling.temperature, sampling.top_p)
        with torch.inference_mode():
            output_BT = self._model.generate(
                input_ids=ids_BT,
                attention_mask=mask_BT,
                max_new_tokens=limit,
                logits_processor=LogitsProcessorList([chooser]),
            )
        answers = output_BT[:, width:].tolist()
        return [self._row(q, answer) for q, answer in zip(questions, answers, strict=True)]

    def _row(self, question: Question, answer: Sequence[int]) -> dict[str, Any]:
        end = next((place for place, token in enumerate(answer) if token in self._end_ids), None)
        self.num_new_tokens += len(answer) if end is None else end + 1
        return {
            "prompt_id": question.prompt_id,
            "model": self._config.member,
            "completion": self._tokenizer.decode(answer[:end]),
            "principle": question.principle,
            "system_prompt": question.system_prompt,
            "finish_reason": "length" if end is None else "stop",
            "given_rating": None,
        }


def _questions(
    config: CompletionsConfig,
    tokenizer: pretrained.ChatTokenizer,
    prompts: Sequence[Mapping[str, Any]],
) -> list[Question]:
    steering = [_steer(config, prompt) for prompt in prompts]
    conversations = [
        [{"role": "system", "content": system}, *prompt["prompt"]] if system else prompt["prompt"]
        for (_, system), prompt in zip(steering, prompts, strict=True)
    ]
    encoded = tokenizer.encode(conversations, ask=True)
    return [
        Question(prompt["prompt_id"], token_ids, principle, system)
        for prompt, token_ids, (principle, system) in zip(prompts, encoded, steering, strict=True)
    ]


def _steer(config: CompletionsConfig, prompt: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return principle and system prompt of one prompt."""
    if not config.principles:
        return None, config.system_prompt
    seed = config.sampling.seed
    return principles.draw(prompt["source"], prompt["prompt_id"], config.member, seed)


def _end_ids(model: Any, tokenizer: pretrained.ChatTokenizer) -> set[int]:
    """Return every token that ends an answer: often one for the turn and one for the text."""
    given = model.generation_config.eos_token_id
    listed = given if isinstance(given, list) else [given]
    return {token for token in (*listed, tokenizer.tokenizer.eos_token_id) if token is not None}
