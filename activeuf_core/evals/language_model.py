"""lm-eval's view of the loaded policy: what all questions have in common is computed once.

All contexts of a benchmark begin alike (system text, worked examples), and the choices of one
question share all of its text. Their keys and values are computed once and reused; finished
outputs, progress and lengths are kept. Outputs are those of lm-eval's own `hf` model up to the
rounding of differently shaped batches.
In: lm-eval requests. Out: texts, or log-likelihoods. Cost: with 8 examples in the context, about a
third of `hf`'s time. Heavy: imports torch, transformers, lm-eval.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lm_eval.models import huggingface
from lm_eval.models.utils import (
    handle_stop_sequences,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from activeuf_core.errors import ConfigError, DataError
from activeuf_core.evals.division import answer_batches
from activeuf_core.evals.models import LoadedModel
from activeuf_core.pretrained import Messages, batches_by_length, context_length

SHORTEST_PREFIX = 8
"""Common beginnings of fewer tokens are not worth a forward pass of their own."""
STOP_LOOKBACK = 8
"""How many more tokens than a stop string has are decoded to look for it: texts split into tokens
in many ways."""

Progress = Callable[[int, int], None]

HFLM: Any = huggingface.HFLM  # its registry's decorator hides the class from type checkers


@dataclass(frozen=True)
class Answer:
    """What the policy wrote, and how it ended."""

    text: str
    num_tokens: int
    finish_reason: str
    """stop: an end token or a stop string; length: the limit."""
    is_context_cut: bool


@dataclass(frozen=True)
class Prefix:
    """The tokens that all contexts begin with, and their keys and values."""

    tokens: list[int]
    cache: Any | None

    def expanded(self, num_rows: int) -> Any | None:
        """Return a copy of the keys and values for a batch."""
        cache = copy.deepcopy(self.cache)
        if cache is not None and num_rows > 1:
            cache.batch_repeat_interleave(num_rows)
        return cache


class PolicyLM(HFLM):
    """The policy behind lm-eval's requests."""

    def __init__(
        self, loaded: LoadedModel, max_tokens: int, batch_size: int, progress: Progress
    ) -> None:
        """Wrap a loaded model. Args: max_tokens: of context and output together."""
        super().__init__(
            pretrained=loaded.model,
            tokenizer=loaded.chat.tokenizer,
            backend="causal",
            max_length=min(max_tokens, context_length(loaded.model)),
            batch_size=batch_size,
            add_bos_token=False,  # the chat template brings it where the model wants one
        )
        self.generations: dict[int, Answer] = {}
        self.num_cut_contexts = 0
        self._chat = loaded.chat
        self._name = f"{loaded.folder} in {str(loaded.model.dtype).removeprefix('torch.')}"
        self._progress = progress
        self._can_share = shares_keys(loaded.model)
        self._end_tokens = _end_tokens(loaded)

    def answer_chats(
        self, conversations: Sequence[Messages], max_new_tokens: int, stops: Sequence[str] = ()
    ) -> list[Answer]:
        """Return the greedy answer to each conversation, in the order given.

        Each is asked by the chat template; control tokens inside a message count as text. Several
        processes divide the conversations, and all of them get all answers.
        Raises: ConfigError when `max_new_tokens` leaves no room for a question.
        """
        return self._answers(self._chat.encode(conversations, ask=True), stops, max_new_tokens)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return greedy outputs, cut at the stop strings; fill `generations` by row number."""
        settings: Any = normalize_gen_kwargs(dict(requests[0].args[1]), self.max_gen_toks)
        contexts = [self.tok_encode(request.args[0]) for request in requests]
        answers = self._answers(contexts, settings["until"], settings["max_gen_toks"])
        self.generations = {r.doc_id: a for r, a in zip(requests, answers, strict=True)}
        return [answer.text for answer in answers]

    def _answers(self, whole: list[list[int]], stops: Sequence[str], limit: int) -> list[Answer]:
        """Return what the policy writes behind each context; a long one is cut on the left."""
        room = room_for_context(self.max_length, limit)
        ends = handle_stop_sequences(list(stops), eos=self.tok_decode(self.eot_token_id, False))
        contexts = [context[-room:] for context in whole]
        prefix = self._prefix(contexts)

        def write(batch: Sequence[int]) -> list[Answer]:
            outputs = self._generate([contexts[i] for i in batch], prefix, ends, limit)
            return [
                self._answer(tokens, ends, limit, len(whole[i]) > room)
                for i, tokens in zip(batch, outputs, strict=True)
            ]

        lengths = [len(context) for context in contexts]
        found = answer_batches(
            list(batches_by_length(lengths, self.batch_size)),
            write,
            lambda done: self._progress(done, len(whole)),
            f"{limit} {lengths} {contexts[0]} {contexts[-1]}",
        )
        self.num_cut_contexts = sum(answer.is_context_cut for answer in found.values())
        return [found[i] for i in range(len(whole))]

    def _answer(self, tokens: list[int], stops: list[str], limit: int, is_cut: bool) -> Answer:
        raw = self.tok_decode(tokens)
        text = postprocess_generated_text(raw, stops, None)
        ended = len(tokens) < limit or text != raw
        return Answer(text, len(tokens), "stop" if ended else "length", is_cut)

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> Any:
        """Return the continuations' log-likelihoods; progress is reported, not drawn."""
        return super().loglikelihood(requests, disable_tqdm=True)

    def _loglikelihood_tokens(
        self, requests: Sequence[Any], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        """Return (log-likelihood, is it the greedy output) per continuation of a context."""
        if not self._can_share:
            alone = super()._loglikelihood_tokens(requests, disable_tqdm=True)
            require_numbers(torch.tensor([value for value, _ in alone]), self._name)
            return alone
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, (_, context, _) in enumerate(requests):
            groups.setdefault(tuple(context), []).append(i)
        prefix = self._prefix([list(context) for context in groups])

        def score(members: Sequence[int]) -> list[tuple[float, bool]]:
            _, context, _ = requests[members[0]]
            return self._score_choices(context, [requests[i][2] for i in members], prefix)

        found = answer_batches(
            list(groups.values()),
            score,
            lambda done: self._progress(done * len(groups) // len(requests), len(groups)),
            f"{len(requests)} {requests[0][1:]} {requests[-1][1:]}",
        )
        surplus = (self._surplus(list(c), [requests[i][2] for i in m]) for c, m in groups.items())
        self.num_cut_contexts = sum(tokens > 0 for tokens in surplus)
        return [found[i] for i in range(len(requests))]

    @torch.inference_mode()
    def _generate(
        self, contexts: list[list[int]], prefix: Prefix, stops: list[str], limit: int
    ) -> list[list[int]]:
        """Return the new tokens of a batch, each up to and without its end token.

        Padding stands between the common prefix and the rest of a row, and is masked.
        """
        start, pad = len(prefix.tokens), self.tokenizer.pad_token_id
        width = max(map(len, contexts))
        gaps = [width - len(context) for context in contexts]
        rows = [
            [*c[:start], *[pad] * gap, *c[start:]] for c, gap in zip(contexts, gaps, strict=True)
        ]
        mask = [[1] * start + [0] * gap + [1] * (width - start - gap) for gap in gaps]
        outputs = self.model.generate(
            input_ids=torch.tensor(rows, device=self.device),
            attention_mask=torch.tensor(mask, device=self.device),
            past_key_values=prefix.expanded(len(rows)),
            generation_config=_greedy(limit, self._end_tokens, pad),
            stopping_criteria=StoppingCriteriaList([StopStrings(stops, self.tokenizer, width)]),
            logits_processor=LogitsProcessorList([RefuseNaN(self._name)]),
        )
        return [_until_end(row, {*self._end_tokens, pad}) for row in outputs[:, width:].tolist()]

    @torch.inference_mode()
    def _score_choices(
        self, context: list[int], choices: list[list[int]], prefix: Prefix
    ) -> list[tuple[float, bool]]:
        """Score continuations of one context; too long a context is cut on the left."""
        surplus = self._surplus(context, choices)
        if surplus > 0:
            context, prefix = context[surplus:], Prefix([], None)
        *before, last = context
        known = self._extend(prefix, before[len(prefix.tokens) :])
        answers: list[tuple[float, bool]] = []
        for start in range(0, len(choices), self.batch_size):
            part = choices[start : start + self.batch_size]
            answers += self._score_batch(known, last, part)
        return answers

    def _surplus(self, context: list[int], choices: list[list[int]]) -> int:
        """Return by how many tokens a context and its longest choice exceed the limit."""
        return len(context) + max(map(len, choices)) - 1 - self.max_length

    def _score_batch(
        self, known: Prefix, last: int, choices: list[list[int]]
    ) -> list[tuple[float, bool]]:
        """Score continuations behind known keys; nothing looks at the padding on the right."""
        width = max(map(len, choices))
        pad = self.tokenizer.pad_token_id
        rows = [[last, *choice[:-1], *[pad] * (width - len(choice))] for choice in choices]
        ids = torch.tensor(rows, device=self.device)
        logits = self.model(input_ids=ids, past_key_values=known.expanded(len(rows))).logits
        require_numbers(logits, self._name)
        log_probabilities = torch.log_softmax(logits, dim=-1, dtype=torch.float32)
        answers = []
        for row, choice in zip(log_probabilities, choices, strict=True):
            targets = torch.tensor(choice, device=self.device)
            chosen = row[: len(choice)].gather(-1, targets.unsqueeze(-1))
            is_greedy = (row[: len(choice)].argmax(dim=-1) == targets).all()
            answers.append((float(chosen.sum()), bool(is_greedy)))
        return answers

    @torch.inference_mode()
    def _prefix(self, contexts: list[list[int]]) -> Prefix:
        """Return what all contexts begin with, leaving each at least two tokens of its own."""
        first, last = min(contexts), max(contexts)
        longest = min(map(len, contexts)) - 2
        common = next((i for i in range(longest) if first[i] != last[i]), max(longest, 0))
        if not self._can_share or common < SHORTEST_PREFIX:
            return Prefix([], None)
        return self._extend(Prefix([], None), first[:common])

    def _extend(self, prefix: Prefix, tokens: list[int]) -> Prefix:
        """Return a prefix with the keys and values of further tokens."""
        if not tokens:
            return prefix
        ids = torch.tensor([tokens], device=self.device)
        known = self.model(
            input_ids=ids, past_key_values=prefix.expanded(1), use_cache=True, logits_to_keep=1
        )
        return Prefix([*prefix.tokens, *tokens], known.past_key_values)


class RefuseNaN(LogitsProcessor):
    """Ends a generation at the first logit that is NaN: greedy search would take it for the best
    token, and the output for the policy's.
    """

    def __init__(self, name: str) -> None:
        """Args: name: of the policy."""
        self.name = name

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the logits as they are. Raises: DataError."""
        require_numbers(scores, self.name)
        return scores


class StopStrings(StoppingCriteria):
    """Ends each row by itself as soon as its new text holds a stop string."""

    def __init__(self, stops: list[str], tokenizer: Any, start: int) -> None:
        """Args: start: number of the first new token."""
        self.stops = [stop for stop in stops if stop]
        self.tokenizer = tokenizer
        self.start = start
        longest = max(
            (len(tokenizer.encode(s, add_special_tokens=False)) for s in self.stops), default=0
        )
        self.lookback = longest + STOP_LOOKBACK

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        """Return per row whether it is done."""
        tails = input_ids[:, self.start :][:, -self.lookback :]
        texts = self.tokenizer.batch_decode(tails)
        done = [any(stop in text for stop in self.stops) for text in texts]
        return torch.tensor(done, device=input_ids.device)


def require_numbers(logits: torch.Tensor, name: str) -> None:
    """Refuse logits that are NaN. Raises: DataError."""
    if torch.isnan(logits).any():
        raise DataError(
            f"{name}: the policy gives NaN for a question, so its outputs would be none of its "
            "own. Score in bfloat16 or float32; if it is so there too, look at the training's loss."
        )


def room_for_context(max_length: int, limit: int) -> int:
    """Return how many tokens of context leave room for the output. Raises: ConfigError if none."""
    if limit < max_length:
        return max_length - limit
    raise ConfigError(
        f"max_new_tokens is {limit}, which leaves no room for a question in max_tokens "
        f"{max_length}. Lower the first or raise the second (at most the model's positions)."
    )


def shares_keys(model: Any) -> bool:
    """Whether every layer attends to all tokens, so that keys can be kept, copied and continued."""
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None) or ["full_attention"]
    slides = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    return set(kinds) == {"full_attention"} and not slides


def _greedy(limit: int, end_tokens: list[int], pad: int) -> GenerationConfig:
    """Return plain greedy search, whatever sampling the model folder recommends."""
    return GenerationConfig(
        max_new_tokens=limit,
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        temperature=1.0,
        top_p=1.0,
        top_k=50,
        eos_token_id=end_tokens,
        pad_token_id=pad,
    )


def _end_tokens(loaded: LoadedModel) -> list[int]:
    """Return all tokens that end an output: the tokenizer's and the generation config's."""
    named = loaded.model.generation_config.eos_token_id
    named = named if isinstance(named, list) else [named]
    found = {loaded.chat.tokenizer.eos_token_id, *named} - {None}
    return sorted(found)


def _until_end(tokens: list[int], ends: set[int]) -> list[int]:
    return tokens[: next((i for i, token in enumerate(tokens) if token in ends), len(tokens))]
