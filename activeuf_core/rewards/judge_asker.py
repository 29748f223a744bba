"""Asks a judge behind a server many questions at once, and none twice.

In: questions that one digit answers. Out: per question the probabilities of the digits 1 to 5, or
None. A reply that is no answer is asked for again with a reminder; a question that still has none,
or does not fit the model's context, stays None and is asked again next time. When no reply at all
is an answer, that is an error: the judge is set up wrongly.
Answers go into the cache of judgements, five numbers each, and are exact from there.
Cost: the server's time, divided by `judge.server.concurrency`; from the cache 25 µs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from activeuf_core.annotations import rubric as reminder
from activeuf_core.errors import DataError
from activeuf_core.rewards.config import JudgeReward

if TYPE_CHECKING:  # aiohttp and numpy are needed when a judge is asked, not to list rewards
    from activeuf_core.annotations.judgement_cache import JudgementCache
    from activeuf_core.annotations.server import Endpoint, JudgeClient, Reply

NONE_AT_FIRST = 24
"""So many first replies without an answer: the judge is set up wrongly."""
Question = list[dict[str, str]]
Masses = Sequence[float]


def identity_in_cache(config: JudgeReward) -> dict[str, object]:
    """Return all that decides what the judge answers to a question."""
    server = config.server.model_dump(mode="json", exclude=set(config.server.not_in_recipe))
    return {
        "procedure": "reward-1",
        "model": config.model.identity,
        "min_digit_mass": config.min_digit_mass,
        "server": server,
    }


class JudgeAsker:
    """A judge with its cache and its counts."""

    def __init__(
        self,
        config: JudgeReward,
        where: Endpoint,
        cache: JudgementCache | None,
        is_answer: Callable[[Masses], bool],
    ) -> None:
        """Args: cache: made with `identity_in_cache(config)`. is_answer: whether the digits'
        probabilities answer the question.
        """
        self._config = config
        self._where = where
        self._cache = cache
        self._is_answer = is_answer
        self._has_answered = False
        self.num_asked = self.num_from_cache = self.num_unparseable = self.num_too_long = 0
        self.seconds = 0.0

    def facts(self) -> dict[str, float]:
        """Return what judging cost and what was out of the ordinary, over all calls."""
        return {
            "judge_calls": self.num_asked,
            "judgements_from_cache": self.num_from_cache,
            "judge_unparseable": self.num_unparseable,
            "judge_too_long": self.num_too_long,
            "judge_seconds": round(self.seconds, 3),
        }

    def answers(self, questions: Sequence[Question]) -> list[Masses | None]:
        """Answer from the cache what it knows, from the server the rest.

        Raises: ServerError, ConfigError of the client; DataError when no reply is an answer.
        """
        from activeuf_core.annotations.judgement_cache import key_of

        keys = [key_of(question) for question in questions]
        masses: dict[bytes, Masses] = {}
        if self._cache is not None:
            self._cache.refresh()
            found = zip(keys, self._cache.get(keys), strict=True)
            masses.update({key: values for key, values in found if values is not None})
            self.num_from_cache += len(masses)
        wanted = {k: q for k, q in zip(keys, questions, strict=True) if k not in masses}
        if wanted:
            started = time.monotonic()
            with ThreadPoolExecutor(1) as outside:  # the caller may run an event loop of its own
                outside.submit(asyncio.run, self._ask_all(wanted, masses)).result()
            self.seconds += time.monotonic() - started
        return [masses.get(key) for key in keys]

    async def _ask_all(self, wanted: dict[bytes, Question], masses: dict[bytes, Masses]) -> None:
        """Fill in `masses`, as many questions at a time as the settings say."""
        from activeuf_core.annotations.server import JudgeClient, work_on_all

        async with JudgeClient(self._config.server, self._where) as client:

            async def work(item: tuple[bytes, Question]) -> None:
                key, question = item
                found = await self._ask(client, question)
                if found is not None:
                    masses[key] = found
                    if self._cache is not None:
                        self._cache.put({key: found})

            await work_on_all(wanted.items(), work, self._config.server.concurrency)

    async def _ask(self, client: JudgeClient, question: Question) -> Masses | None:
        """Return the digits' probabilities, None when the reply is no answer or does not fit."""
        from activeuf_core.annotations.server import TooLongError
        from activeuf_core.annotations.server_judge import digit_masses

        self.num_asked += 1
        try:
            reply = await client.ask(question)
            for _ in range(self._config.server.reminders):
                if self._is_answer(digit_masses(reply)):
                    break
                reply = await client.ask(reminder.remind(question))
        except TooLongError:
            self.num_too_long += 1
            return None
        found = digit_masses(reply)
        if self._is_answer(found):
            self._has_answered = True
            return found
        self._note_unparseable(reply)
        return None

    def _note_unparseable(self, reply: Reply) -> None:
        """Count. Raises: DataError when this happens from the start."""
        self.num_unparseable += 1
        has_answered = self._has_answered or self.num_from_cache > 0
        if self.num_unparseable >= NONE_AT_FIRST and not has_answered:
            raise DataError(
                f"judge: none of the first {self.num_unparseable} replies of "
                f"{self._where.model!r} is an answer; the last: {reply.text[:80]!r}. Does the "
                "server run a chat model that answers at once? A thinking one needs "
                "judge.server.extra: {chat_template_kwargs: {enable_thinking: false}}."
            )
