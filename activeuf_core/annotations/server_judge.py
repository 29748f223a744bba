"""A language model behind a server as judge: the back end of `llm_rater.py` that asks one.

In: questions. Out: the probabilities of the digits, as each reply comes. A reply with too little on
digits is asked for again with a reminder; when that does not help, the rating is missing, counted
and told with its prompt and reply, and when no reply at all has a digit, that is an error. A
question that does not fit the server's context is asked with half of its completion, counted.
Heavy: imports aiohttp.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

from activeuf_core import paths
from activeuf_core.annotations import rubric
from activeuf_core.annotations.cases import Case
from activeuf_core.annotations.config import JudgeServer, LlmJudge
from activeuf_core.annotations.judgement_cache import Values
from activeuf_core.annotations.llm_rater import (
    PROBABILITIES,
    Asked,
    Done,
    LlmRater,
    questions_about,
)
from activeuf_core.annotations.scoring import DIGITS, Judgement
from activeuf_core.annotations.server import (
    Endpoint,
    JudgeClient,
    Reply,
    TooLongError,
    word_masses,
    work_on_all,
)
from activeuf_core.errors import DataError
from activeuf_core.schemas import write_rows
from activeuf_core.stage import StageContext

log = logging.getLogger("activeuf")

CASES_AT_ONCE = 4096
"""Cases whose questions are made together: memory stays flat."""
HALVINGS = 5
NONE_AT_FIRST = 24
"""So many first replies without a digit: the judge is set up wrongly."""
NAMED = 5
"""Replies without a digit that are told one by one."""
NOT_IN_A_NUMBER = r"(?!\d|[.,]\d)"
"""Behind a digit that is a rating: 3, and not the 3 of 3.5 or 30."""


class ServerBackend:
    """Asks a server."""

    def __init__(self, config: LlmJudge, server: JudgeServer, where: Endpoint) -> None:
        self._config = config
        self._server = server
        self._where = where
        self._rated = 0
        self.num_repeated = 0
        self.num_reminded = 0
        self.num_without_digit = 0
        self.num_shortened = 0
        self.num_too_long = 0

    def answer(self, wanted: Sequence[Asked], done: Done) -> None:
        """Ask all questions, some at a time.

        Raises: ServerError, ConfigError of `JudgeClient.ask`; DataError when no reply has a digit.
        """
        asyncio.run(self._answer(iter(wanted), done))

    def facts(self) -> dict[str, int]:
        """Return counts of what was out of the ordinary."""
        return {
            "requests_repeated": self.num_repeated,
            "reminders": self.num_reminded,
            "replies_without_digit": self.num_without_digit,
            "questions_shortened": self.num_shortened,
            "questions_too_long": self.num_too_long,
        }

    async def _answer(self, wanted: Iterator[Asked], done: Done) -> None:
        async with JudgeClient(self._server, self._where) as client:

            async def work(one: Asked) -> None:
                masses = await self._ask_what_fits(client, one)
                if masses is not None:
                    done(one, masses)

            try:
                await work_on_all(wanted, work, self._server.concurrency)
            finally:
                self.num_repeated += client.num_repeated

    async def _ask_what_fits(self, client: JudgeClient, one: Asked) -> list[float] | None:
        """Return the masses of the digits, None when not even a short completion fits."""
        (aspect,) = rubric.aspects_of([one.aspect])
        completion = one.case.completion
        for halvings in range(HALVINGS + 1):
            try:
                question = rubric.ask(one.case.prompt, completion, aspect)
                masses = await self._ask(client, one, question)
            except TooLongError:
                completion = completion[: len(completion) // 2]
                continue
            self.num_shortened += halvings > 0
            return masses
        self.num_too_long += 1
        return None

    async def _ask(
        self, client: JudgeClient, one: Asked, question: list[dict[str, str]]
    ) -> list[float]:
        reply = await client.ask(question)
        for _ in range(self._server.reminders):
            if self._has_digit(reply):
                break
            self.num_reminded += 1
            reply = await client.ask(rubric.remind(question))
        if self._has_digit(reply):
            self._rated += 1
        else:
            self._note_no_digit(one, reply)
        return digit_masses(reply)

    def _has_digit(self, reply: Reply) -> bool:
        mass = sum(digit_masses(reply))
        return mass > 0.0 and mass >= self._config.min_digit_mass

    def _note_no_digit(self, one: Asked, reply: Reply) -> None:
        """Count and tell. Raises: DataError when this happens from the start."""
        self.num_without_digit += 1
        told = (
            f"{one.aspect} of the completion of {one.case.model!r} to prompt "
            f"{one.case.prompt_id!r} ({one.case.completion[:80]!r}): the judge's reply has no "
            f"digit from 1 to 5: {reply.text[:80]!r}, first tokens {(reply.first_token or ())[:5]}"
        )
        if self.num_without_digit <= NAMED:
            log.warning("%s; its rating is missing.", told)
        if not self._rated and self.num_without_digit >= NONE_AT_FIRST:
            raise DataError(
                f"none of the first {self.num_without_digit} replies can be read as a rating; "
                f"{told}. Does the server run {self._where.model!r} as a chat model that answers "
                "at once? A thinking one needs judge.server.extra: {chat_template_kwargs: "
                "{enable_thinking: false}}."
            )


def digit_masses(reply: Reply) -> list[float]:
    """Return the probabilities of the digits 1 to 5 as the reply's first token; of a reply without
    probabilities, 1 for the digit that it says.
    """
    return word_masses(reply, list(map(str, DIGITS)), NOT_IN_A_NUMBER)


def judge(
    context: StageContext, rater: LlmRater, config: LlmJudge, cases: Sequence[Case]
) -> list[Judgement]:
    """Judge all cases of a stage: judgements in their order, and the digits' probabilities beside
    them, as `llm_judge.judge` does with a model in this process.
    """
    size, total, before = len(config.aspects), len(cases) * len(config.aspects), 0
    judged: list[Judgement] = []
    rows: list[dict[str, Any]] = []
    for start in range(0, len(cases), CASES_AT_ONCE):
        asked = list(questions_about(cases[start : start + CASES_AT_ONCE], config.aspects))
        answers = rater.answers(
            asked, lambda count, b=before: context.progress(b + count, total, "ratings")
        )
        before += len(asked)
        context.progress(before, total, "ratings")
        judged += [
            rater.judgement_of(asked[i : i + size], answers) for i in range(0, len(asked), size)
        ]
        rows += [_row(one, answers[one.key]) for one in asked if one.key in answers]
    write_rows(context.output / paths.DIGIT_PROBABILITIES, PROBABILITIES, rows)
    masses = [sum(row[f"p{digit}"] for digit in DIGITS) for row in rows]
    context.add_metadata(
        mean_digit_mass=round(fmean(masses), 4) if masses else 0.0,
        lowest_digit_mass=round(min(masses), 4) if masses else 0.0,
        **rater.facts(),
    )
    return judged


def _row(one: Asked, masses: Values) -> dict[str, Any]:
    named = {f"p{digit}": mass for digit, mass in zip(DIGITS, masses, strict=True)}
    about = {"prompt_id": one.case.prompt_id, "model": one.case.model, "aspect": one.aspect}
    return {**about, **named}
