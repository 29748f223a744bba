"""The policy in vLLM, as lm-eval's own vLLM model loads and asks it.

An adapter is applied by vLLM to its base model. Texts are made from the tokens that vLLM returns,
in the way of `language_model`, so that equal tokens are equal predictions in both back ends.
In: lm-eval requests, or conversations. Out: texts, or log-likelihoods.
Heavy: imports vLLM, which is an optional extra and needs a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lm_eval.models import vllm_causallms
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text
from vllm import SamplingParams  # pyright: ignore[reportMissingImports] - an extra

from activeuf_core.artifacts import read_json
from activeuf_core.errors import DataError
from activeuf_core.evals.language_model import Answer, room_for_context
from activeuf_core.evals.models import (
    ADAPTER_CONFIG,
    adapter_base,
    held_alone,
    require_whole_folder,
)
from activeuf_core.pretrained import ChatTokenizer, Messages

LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The largest ranks that vLLM can be told to make room for."""

VLLM: Any = vllm_causallms.VLLM  # its registry's decorator hides the class from type checkers


@held_alone
def load_in_vllm(
    folder: Path, dtype: str, max_tokens: int, tensor_parallel_size: int, gpu_memory_share: float
) -> VllmPolicy:
    """Return the policy of a folder in vLLM.

    Args: max_tokens: of context and output together; the model's positions where they are fewer.
    Raises: DataError as `load_policy` does, before vLLM sees the folder.
    """
    chat = require_whole_folder(folder)
    base = adapter_base(folder)
    positions = _positions(base or str(folder))
    return VllmPolicy(
        chat,
        pretrained=base or str(folder),
        tokenizer=str(folder),
        dtype=dtype,
        max_length=min(max_tokens, positions) if positions else max_tokens,
        tensor_parallel_size=tensor_parallel_size,
        gpu_memory_utilization=gpu_memory_share,
        add_bos_token=False,  # the chat template brings it where the model wants one
        **({} if base is None else _adapter_options(folder)),
    )


class VllmPolicy(VLLM):
    """The policy behind lm-eval's requests."""

    def __init__(self, chat: ChatTokenizer, **options: Any) -> None:
        """Args: options: of lm-eval's vLLM model."""
        super().__init__(**options)
        self.generations: dict[int, Answer] = {}
        self.num_cut_contexts = 0
        self._chat = chat
        self._report: Callable[[int, int], None] = lambda done, total: None
        self._end_tokens = _end_tokens(Path(options["pretrained"]), self.eot_token_id)

    def begin(self, report: Callable[[int, int], None]) -> None:
        """Forget what an earlier benchmark left. Args: report: is told (done, total)."""
        self.generations, self.num_cut_contexts, self._report = {}, 0, report

    def answer_chats(
        self, conversations: Sequence[Messages], max_new_tokens: int, stops: Sequence[str] = ()
    ) -> list[Answer]:
        """Return the greedy answer to each conversation, in the order given."""
        contexts = self._chat.encode(conversations, ask=True)
        settings = {"until": list(stops), "max_gen_toks": max_new_tokens, "do_sample": False}
        return self._answers(contexts, settings)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return greedy outputs, cut at the stop strings; fill `generations` by row number."""
        contexts = [self.tok_encode(request.args[0]) for request in requests]
        answers = self._answers(contexts, dict(requests[0].args[1]))
        self.generations = {r.doc_id: a for r, a in zip(requests, answers, strict=True)}
        return [answer.text for answer in answers]

    def _loglikelihood_tokens(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Return (log-likelihood, is it the greedy output) per continuation of a context."""
        cut = {tuple(c) for _, c, more in requests if len(c) + len(more) > self.max_length - 1}
        self.num_cut_contexts = len(cut)
        answers = super()._loglikelihood_tokens(requests, disable_tqdm=True)
        self._report(len(requests), len(requests))
        return answers

    def _answers(self, whole: list[list[int]], settings: dict[str, Any]) -> list[Answer]:
        """Ask all at once: vLLM forms its batches itself."""
        normal: Any = normalize_gen_kwargs(settings)
        limit = int(normal["max_gen_toks"])
        room = room_for_context(self.max_length, limit)
        end = self.tokenizer.decode(self.eot_token_id)
        options, stops, _ = self.modify_gen_kwargs(dict(settings), eos=end)
        params = SamplingParams(max_tokens=limit, stop=stops, **options)
        contexts = [context[-room:] for context in whole]
        outputs = self._model_generate(
            contexts, generate=True, sampling_params=[params] * len(whole)
        )
        self.num_cut_contexts = sum(len(context) > room for context in whole)
        self._report(len(whole), len(whole))
        return [
            self._answer(output.outputs[0], stops, len(context) > room)
            for output, context in zip(outputs, whole, strict=True)
        ]

    def _answer(self, output: Any, stops: list[str], is_cut: bool) -> Answer:
        tokens = list(output.token_ids)
        if tokens and tokens[-1] in self._end_tokens:
            tokens.pop()
        raw = self.tokenizer.decode(tokens, skip_special_tokens=True)
        text = postprocess_generated_text(raw, stops, None)
        ended = output.finish_reason == "stop" or text != raw
        return Answer(text, len(tokens), "stop" if ended else "length", is_cut)


def _adapter_options(folder: Path) -> dict[str, Any]:
    """Return how lm-eval is told of an adapter. Raises: DataError for a rank that is too large."""
    rank = int(read_json(folder / ADAPTER_CONFIG).get("r") or 0)
    fitting = [size for size in LORA_RANKS if size >= rank]
    if not fitting:
        raise DataError(
            f"{folder}: the adapter's rank is {rank}; vLLM takes up to {LORA_RANKS[-1]}. Merge it "
            "into its base model, or set backend: transformers."
        )
    return {"lora_local_path": str(folder), "max_lora_rank": fitting[0]}


def _positions(model: str) -> int | None:
    """Return how many positions a model has, None when its config does not say."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model, trust_remote_code=False).get_text_config()
    return getattr(config, "max_position_embeddings", None)


def _end_tokens(folder: Path, own: int | None) -> set[int]:
    """Return all tokens that end an output: the tokenizer's and the generation config's."""
    path = folder / "generation_config.json"
    named = read_json(path).get("eos_token_id") if path.is_file() else None
    return {own, *(named if isinstance(named, list) else [named])} - {None}
