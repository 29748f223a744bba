"""A reward model as judge: its reward for (prompt, completion) is the overall score.

In: cases; a sequence-classification model with one output. Out: judgements whose one rating is
`reward`, in logits. Conversations longer than max_tokens are cut on the right and counted.
Batches are dealt out to the processes of the stage.
Cost: a forward pass per completion. Heavy: imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from activeuf_core import pretrained
from activeuf_core.annotations.cases import Case
from activeuf_core.annotations.config import RewardModelJudge
from activeuf_core.annotations.judgement_cache import JudgementCache, Values, key_of
from activeuf_core.annotations.scoring import Judgement
from activeuf_core.errors import DataError
from activeuf_core.schemas import ANNOTATION, assistant_message, to_text
from activeuf_core.shards import Worklist
from activeuf_core.stage import StageContext

CASES_AT_ONCE = 4096
"""Cases that are tokenized and sorted by length together: memory stays flat."""
PROCEDURE = "1"
"""Part of the model's identity in the cache: raise it when the same conversation would get another
reward because the code changed."""


def judge(
    context: StageContext, config: RewardModelJudge, cases: Sequence[Case]
) -> list[Judgement]:
    """Return one judgement per case, in their order."""
    tokenizer, model, limit = load(context, config)
    num_cut = 0
    with Worklist(context, ANNOTATION, ("prompt_id",), len(cases), "completions") as worklist:
        for start in range(0, len(cases), CASES_AT_ONCE):
            some = cases[start : start + CASES_AT_ONCE]
            encoded = tokenizer.encode(
                [[*c.prompt, *assistant_message(c.completion)] for c in some]
            )
            num_cut += sum(len(ids) > limit for ids in encoded)
            kept = [ids[:limit] for ids in encoded]
            worklist.work(
                [(case.prompt_id,) for case in some],
                pretrained.batches_by_length([len(ids) for ids in kept], config.batch_size),
                lambda batch, some=some, kept=kept: _rows(
                    [some[i] for i in batch], rewards(model, [kept[i] for i in batch])
                ),
            )
    context.add_metadata(completions_cut=num_cut, plain_chat_template=tokenizer.is_plain)
    scores = [worklist.done[(case.prompt_id,)]["overall_score"] for case in cases]
    return [Judgement({"reward": score}, score) for score in scores]


Loaded = tuple[pretrained.ChatTokenizer, Any, int]
"""Tokenizer, model, and how many tokens it reads."""


def load(context: StageContext, config: RewardModelJudge) -> Loaded:
    """Load a reward model. Raises: DataError when it is broken, or has not one output."""
    location = context.locate(config.model)
    tokenizer = pretrained.load_tokenizer(location)
    model = pretrained.load_model("AutoModelForSequenceClassification", location, config.dtype)
    if model.config.num_labels != 1:
        raise DataError(
            f"{location}: has {model.config.num_labels} outputs, a reward model has 1. Name a "
            "reward model."
        )
    return tokenizer, model, min(config.max_tokens, pretrained.context_length(model))


def identity_in_cache(config: RewardModelJudge) -> dict[str, Any]:
    """Return all that decides a reward."""
    kept = {"max_tokens": config.max_tokens, "dtype": config.dtype}
    return {"procedure": PROCEDURE, "reward_model": config.model.identity, **kept}


class RewardRater:
    """A reward model that rates single cases, each in a pass of its own, and remembers them."""

    def __init__(self, load: Callable[[], Loaded], cache: JudgementCache) -> None:
        self._load = load
        self._loaded: Loaded | None = None
        self._cache = cache
        self.num_answered = 0
        self.num_from_cache = 0

    def rate(self, cases: Sequence[Case]) -> list[Judgement]:
        """Return one judgement per case, in their order."""
        self._cache.refresh()
        keys = [key_of([*case.prompt, *assistant_message(case.completion)]) for case in cases]
        found = self._cache.get(keys)
        known: dict[bytes, Values] = {k: hit for k, hit in zip(keys, found, strict=True) if hit}
        self.num_from_cache += len(known)
        for key, case in zip(keys, cases, strict=True):
            if key not in known:
                known[key] = (self._reward(case), 0.0, 0.0, 0.0, 0.0)
                self._cache.put({key: known[key]})
                self.num_answered += 1
        scores = [known[key][0] for key in keys]
        return [Judgement({"reward": score}, score) for score in scores]

    def facts(self) -> dict[str, int]:
        """Return what judging cost."""
        return {"judge_calls": self.num_answered, "judgements_from_cache": self.num_from_cache}

    def _reward(self, case: Case) -> float:
        self._loaded = self._loaded or self._load()
        tokenizer, model, limit = self._loaded
        (ids,) = tokenizer.encode([[*case.prompt, *assistant_message(case.completion)]])
        scores = rewards(model, [ids[:limit]])
        return _rows([case], scores)[0]["overall_score"]


def rewards(model: Any, token_ids: Sequence[Sequence[int]]) -> list[float]:
    """Return the rewards of a batch.

    The model finds a row's end by its pad token, so padding is done with an id that no row
    contains: with the end token as padding, the reward would be read one token too early.
    """
    used = {token for row in token_ids for token in row}
    pad_id = next(token for token in range(len(used) + 1) if token not in used)
    model.config.get_text_config().pad_token_id = pad_id
    ids_BT, mask_BT = pretrained.pad(token_ids, pad_id, "right")
    with torch.inference_mode():
        logits_B1 = model(input_ids=ids_BT, attention_mask=mask_BT).logits
    return logits_B1[:, 0].float().tolist()


def _rows(cases: Sequence[Case], scores: Sequence[float]) -> list[dict[str, Any]]:
    wrong = [
        case.prompt_id
        for case, score in zip(cases, scores, strict=True)
        if not math.isfinite(score)
    ]
    if wrong:
        raise DataError(
            f"the reward model gives no finite reward for {cases[0].model!r} on the prompts "
            f"{wrong[:5]}. Its weights are damaged, or dtype is too narrow for it: try dtype: "
            "float32."
        )
    return [
        {
            "prompt_id": case.prompt_id,
            "model": case.model,
            "ratings": to_text({"reward": score}),
            "overall_score": score,
        }
        for case, score in zip(cases, scores, strict=True)
    ]
