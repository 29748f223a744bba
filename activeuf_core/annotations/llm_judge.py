"""A language model as judge: asked for one digit per aspect, it rates by its expectation over the
digits.

In: cases; a chat model. Out: judgements in [1, 5], and `digit_probabilities.parquet` with what the
model gave to each digit, so that ratings can be computed again without it. The rating is the mean
of the digits under the probabilities of the first reply token, renormalised over the digits; a
model that can think is told not to. A reply with too little on digits is a missing rating. A
completion that does not fit into max_tokens is shortened for the judge, and counted; a prompt that
does not fit leaves its completion unrated.
Batches of questions are dealt out to the processes of the stage.
Cost: one forward pass per (completion, aspect) that the cache does not know. Heavy: imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any, NamedTuple

import torch

from activeuf_core import paths, pretrained, processes
from activeuf_core.annotations import rubric
from activeuf_core.annotations.cases import Case
from activeuf_core.annotations.config import LlmJudge
from activeuf_core.annotations.judgement_cache import JudgementCache, key_of
from activeuf_core.annotations.llm_rater import PROBABILITIES
from activeuf_core.annotations.scoring import DIGITS, Judgement, expected_rating, judgement
from activeuf_core.errors import DataError
from activeuf_core.schemas import write_rows
from activeuf_core.shards import Worklist
from activeuf_core.stage import StageContext

CASES_AT_ONCE = 1024
"""Cases that are tokenized and sorted by length together: memory stays flat."""
SPARE_TOKENS = 8
"""A cut text can have a few tokens more than the cut said, where it meets what follows."""


class Question(NamedTuple):
    """One aspect of one case, as token ids."""

    case: Case
    aspect: str
    token_ids: list[int]


def judge(
    context: StageContext, config: LlmJudge, cases: Sequence[Case], cache: JudgementCache
) -> list[Judgement]:
    """Return one judgement per case, in their order; what is in the cache is not asked again."""
    rubric.aspects_of(config.aspects)
    asker = Asker(config, context.locate(config.model))
    answerer = Answerer(asker, cache)
    total = len(cases) * len(config.aspects)
    with Worklist(context, PROBABILITIES, ("prompt_id", "aspect"), total, "ratings") as worklist:
        for start in range(0, len(cases), CASES_AT_ONCE):
            some = cases[start : start + CASES_AT_ONCE]
            questions = asker.questions(some)
            cache.refresh()
            worklist.work(
                [_key(question) for question in questions],
                pretrained.batches_by_length(
                    [len(question.token_ids) for question in questions], config.batch_size
                ),
                lambda batch, questions=questions: answerer.rows([questions[i] for i in batch]),
            )
    rows = [
        worklist.done[key] for case in cases for key in _keys(case, config) if key in worklist.done
    ]
    write_rows(context.output / paths.DIGIT_PROBABILITIES, PROBABILITIES, rows)
    _report(context, asker, rows)
    from_cache = processes.add_up(judgements_from_cache=answerer.num_from_cache)
    context.add_metadata(**{name: int(count) for name, count in from_cache.items()})
    return [rate(case, config, worklist.done) for case in cases]


def rate(
    case: Case, config: LlmJudge, found: Mapping[tuple[str, ...], Mapping[str, Any]]
) -> Judgement:
    """Return the judgement of a case from the probabilities of its digits."""
    ratings: dict[str, float] = {}
    for prompt_id, aspect in _keys(case, config):
        row = found.get((prompt_id, aspect))
        rating = expected_rating(_digits(row), config.min_digit_mass)[0] if row else None
        if rating is not None:
            ratings[aspect] = rating
    return judgement(ratings)


class Asker:
    """A loaded judge."""

    def __init__(self, config: LlmJudge, location: str) -> None:
        """Load the model. Raises: DataError when it is broken or has no token for a digit."""
        self._config = config
        self._tokenizer = pretrained.load_tokenizer(location)
        self._model = pretrained.load_model("AutoModelForCausalLM", location, config.dtype)
        self._digit_ids = digit_token_ids(self._tokenizer, location)
        self._limit = min(config.max_tokens, pretrained.context_length(self._model))
        self.is_plain = self._tokenizer.is_plain
        self.num_shortened = 0
        self.num_too_long = 0

    def questions(self, cases: Sequence[Case]) -> list[Question]:
        """Return the questions about cases that fit; all aspects of a case see the same text."""
        found: list[Question] = []
        for case in cases:
            encoded = self._encode(case)
            excess = max(map(len, encoded)) - self._limit
            if excess > 0:
                encoded = self._encode(self._shortened(case, excess))
                fits = max(map(len, encoded)) <= self._limit
                self.num_shortened += fits
                self.num_too_long += not fits
                if not fits:
                    continue
            aspects = zip(self._config.aspects, encoded, strict=True)
            found += [Question(case, name, token_ids) for name, token_ids in aspects]
        return found

    def ask(self, questions: Sequence[Question]) -> list[dict[str, Any]]:
        """Return the probabilities of the digits for a batch of questions.

        Raises: DataError when they are NaN.
        """
        token_ids = [question.token_ids for question in questions]
        ids_BT, mask_BT = pretrained.pad(token_ids, self._tokenizer.pad_id, "left")
        positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
        with torch.inference_mode():
            logits_BV = self._model(
                input_ids=ids_BT,
                attention_mask=mask_BT,
                position_ids=positions_BT,
                logits_to_keep=1,
            ).logits[:, -1]
        mass_BV = torch.softmax(logits_BV.double(), dim=-1)
        mass_B5 = torch.stack([mass_BV[:, ids].sum(-1) for ids in self._digit_ids], dim=-1)
        if not torch.isfinite(mass_B5).all():
            raise DataError(
                f"the judge gives NaN for prompt {questions[0].case.prompt_id!r}. Its weights are "
                "damaged, or dtype is too narrow for it: try dtype: float32."
            )
        return [_row(q, mass) for q, mass in zip(questions, mass_B5.tolist(), strict=True)]

    def _encode(self, case: Case) -> list[list[int]]:
        aspects = rubric.aspects_of(self._config.aspects)
        conversations = [rubric.ask(case.prompt, case.completion, aspect) for aspect in aspects]
        return self._tokenizer.encode(conversations, ask=True, at_once=True)

    def _shortened(self, case: Case, excess: int) -> Case:
        """Cut the end of the completion off, by at least `excess` tokens."""
        tokenizer = self._tokenizer.tokenizer
        ids = tokenizer(case.completion, add_special_tokens=False, split_special_tokens=True)[
            "input_ids"
        ]
        kept = ids[: max(len(ids) - excess - SPARE_TOKENS, 0)]
        return replace(case, completion=tokenizer.decode(kept))


class Answerer:
    """A judge that asks what the cache does not know, and tells it the answers."""

    def __init__(self, asker: Asker, cache: JudgementCache) -> None:
        self._asker = asker
        self._cache = cache
        self.num_from_cache = 0

    def rows(self, questions: Sequence[Question]) -> list[dict[str, Any]]:
        """Return the probabilities of the digits for a batch of questions."""
        keys = [key_of(_conversation(question)) for question in questions]
        known = self._cache.get(keys)
        new = [place for place, hit in enumerate(known) if hit is None]
        asked = self._asker.ask([questions[place] for place in new]) if new else []
        self._cache.put({keys[i]: _digits(row) for i, row in zip(new, asked, strict=True)})
        self.num_from_cache += len(known) - len(new)
        answers = iter(asked)
        return [
            next(answers) if hit is None else _row(question, hit)
            for question, hit in zip(questions, known, strict=True)
        ]


def digit_token_ids(tokenizer: pretrained.ChatTokenizer, location: str) -> list[list[int]]:
    """Return, per digit from 1 to 5, the tokens that say it, alone or with a space in front.

    Raises: DataError when a digit has none.
    """
    vocabulary = tokenizer.tokenizer.get_vocab()
    found: list[list[int]] = []
    for digit in map(str, DIGITS):
        candidates = sorted(
            token_id for token, token_id in vocabulary.items() if token.endswith(digit)
        )
        said = [i for i in candidates if tokenizer.tokenizer.decode([i]).strip() == digit]
        if not said:
            raise DataError(
                f"{location}: no token says {digit!r}, so it cannot judge. Name another model."
            )
        found.append(said)
    return found


def _key(question: Question) -> tuple[str, str]:
    return (question.case.prompt_id, question.aspect)


def _conversation(question: Question) -> list[dict[str, str]]:
    """Return a question as it was before anything was shortened: its content in the cache."""
    (aspect,) = rubric.aspects_of([question.aspect])
    return rubric.ask(question.case.prompt, question.case.completion, aspect)


def _keys(case: Case, config: LlmJudge) -> list[tuple[str, str]]:
    return [(case.prompt_id, aspect) for aspect in config.aspects]


def _digits(row: Mapping[str, Any]) -> list[float]:
    return [row[f"p{digit}"] for digit in DIGITS]


def _row(question: Question, mass_by_digit: Sequence[float]) -> dict[str, Any]:
    named = {f"p{digit}": mass for digit, mass in zip(DIGITS, mass_by_digit, strict=True)}
    case = question.case
    return {"prompt_id": case.prompt_id, "model": case.model, "aspect": question.aspect, **named}


def _report(context: StageContext, asker: Asker, rows: Sequence[Mapping[str, Any]]) -> None:
    masses = [sum(_digits(row)) for row in rows]
    context.add_metadata(
        mean_digit_mass=round(fmean(masses), 4) if masses else 0.0,
        lowest_digit_mass=round(min(masses), 4) if masses else 0.0,
        completions_shortened=asker.num_shortened,
        prompts_too_long=asker.num_too_long,
        plain_chat_template=asker.is_plain,
    )
