"""A language model as judge, asked only what nobody has asked it yet.

In: cases; the cache of the judge's answers; a back end that answers (a model in this process, or a
server). Out: per question the probabilities of the digits, and judgements made from them. Every
answer is in the cache as soon as it is there, so a stage that stops pays for it only once.
Source of a rating: the expected digit, see `scoring.py`. Of a model in this process the
probabilities are those of the whole vocabulary; a server lists the most probable tokens only, and a
digit that is not among them counts as 0: with 20 listed, each left out has less than 1/20.
A model in this process is asked about one completion at a time, all aspects in one batch, so that
an answer does not depend on which other completions happened to be asked about.
Cost: a forward pass per question that is new, 20 µs per question that is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pyarrow as pa

from activeuf_core.annotations import rubric
from activeuf_core.annotations.cases import Case
from activeuf_core.annotations.config import LlmJudge
from activeuf_core.annotations.judgement_cache import JudgementCache, Values, key_of
from activeuf_core.annotations.scoring import DIGITS, Judgement, expected_rating, judgement

if TYPE_CHECKING:  # the module imports torch, which a server's judge does not need
    from activeuf_core.annotations.llm_judge import Asker

PROCEDURE = "1"
"""Part of a judge's identity in the cache: raise it when the same question would get another answer
because the code changed. A changed rubric changes the questions, and needs no new number."""

PROBABILITIES = pa.schema(
    [
        pa.field("prompt_id", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("aspect", pa.string(), nullable=False),
        *(pa.field(f"p{digit}", pa.float64(), nullable=False) for digit in DIGITS),
    ]
)
"""Probability of each digit as the judge's first token; the rest went to other tokens."""


class Asked(NamedTuple):
    """One question: an aspect of a case. `key` is its content, as the cache knows it."""

    case: Case
    aspect: str
    key: bytes


Done = Callable[[Asked, Sequence[float]], None]


class Backend(Protocol):
    """Answers questions; those that it leaves out cannot be answered."""

    def answer(self, wanted: Sequence[Asked], done: Done) -> None:
        """Call `done` with the probabilities of the digits 1 to 5 as soon as they are known."""
        ...

    def facts(self) -> dict[str, int]:
        """Return counts of what was out of the ordinary."""
        ...


def identity_in_cache(config: LlmJudge) -> dict[str, object]:
    """Return all that decides what a judge answers to a question."""
    about: dict[str, object] = {"procedure": PROCEDURE, "model": config.model.identity}
    if config.server is None:
        kept = {"max_tokens": config.max_tokens, "dtype": config.dtype}
        return {**about, **kept, "thinking": False}
    server = config.server.model_dump(mode="json", exclude=set(config.server.not_in_recipe))
    return {**about, "min_digit_mass": config.min_digit_mass, "server": server}


def questions_about(cases: Sequence[Case], aspects: Sequence[str]) -> Iterator[Asked]:
    """Yield every aspect of every case."""
    known = dict(zip(aspects, rubric.aspects_of(aspects), strict=True))
    for case in cases:
        for name, aspect in known.items():
            yield Asked(case, name, key_of(rubric.ask(case.prompt, case.completion, aspect)))


class LlmRater:
    """A judge with its cache."""

    def __init__(self, config: LlmJudge, backend: Backend, cache: JudgementCache) -> None:
        self._config = config
        self._backend = backend
        self._cache = cache
        self.num_answered = 0
        self.num_from_cache = 0

    def rate(self, cases: Sequence[Case]) -> list[Judgement]:
        """Return one judgement per case, in their order."""
        asked = list(questions_about(cases, self._config.aspects))
        answers = self.answers(asked)
        size = len(self._config.aspects)
        return [self.judgement_of(asked[i : i + size], answers) for i in range(0, len(asked), size)]

    def answers(
        self, asked: Sequence[Asked], told: Callable[[int], None] = lambda count: None
    ) -> dict[bytes, Values]:
        """Return the probabilities of the digits by key; a question without an answer is not there.

        Args: told: called with the number of answers so far.
        """
        self._cache.refresh()
        found = self._cache.get([one.key for one in asked])
        known = {one.key: hit for one, hit in zip(asked, found, strict=True) if hit is not None}
        self.num_from_cache += len(known)
        told(len(known))
        wanted = {one.key: one for one in asked if one.key not in known}

        def done(one: Asked, masses: Sequence[float]) -> None:
            if one.key in wanted and one.key not in known:
                known[one.key] = tuple(masses)
                self.num_answered += 1
                if sum(masses) > 0.0:  # "no digit at all" is asked again next time
                    self._cache.put({one.key: known[one.key]})
                told(len(known))

        if wanted:
            self._backend.answer(list(wanted.values()), done)
        return known

    def judgement_of(self, asked: Sequence[Asked], answers: Mapping[bytes, Values]) -> Judgement:
        """Return the judgement of one case from the answers to its questions."""
        ratings = {}
        for one in asked:
            masses = answers.get(one.key)
            rating = expected_rating(masses, self._config.min_digit_mass)[0] if masses else None
            if rating is not None:
                ratings[one.aspect] = rating
        return judgement(ratings)

    def facts(self) -> dict[str, int]:
        """Return what judging cost and what was out of the ordinary."""
        paid = {"judge_calls": self.num_answered, "judgements_from_cache": self.num_from_cache}
        return {**paid, **self._backend.facts()}


class InProcess:
    """A model that is loaded here, when it is first asked."""

    def __init__(self, load: Callable[[], Asker]) -> None:
        self._load = load
        self._asker: Asker | None = None

    def answer(self, wanted: Sequence[Asked], done: Done) -> None:
        """Ask about one case after the other; a case that does not fit is left out."""
        self._asker = self._asker or self._load()
        for _, group in groupby(wanted, key=lambda one: id(one.case)):
            by_aspect = {one.aspect: one for one in group}
            questions = self._asker.questions([next(iter(by_aspect.values())).case])
            for row in self._asker.ask(questions) if questions else ():
                if row["aspect"] in by_aspect:
                    done(by_aspect[row["aspect"]], [row[f"p{digit}"] for digit in DIGITS])

    def facts(self) -> dict[str, int]:
        """Return how many completions did not fit."""
        if self._asker is None:
            return {}
        return {
            "completions_shortened": self._asker.num_shortened,
            "prompts_too_long": self._asker.num_too_long,
        }
