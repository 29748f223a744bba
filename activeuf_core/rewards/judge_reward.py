"""A language model behind a server as reward: many questions at once, none asked twice.

In: prompts, completions, their rubrics or references. Out: (expected digit - 1) / 4, so 0 … 1.
A reply that is no rating is asked for again with a reminder; when that does not help, the
completion has no reward (None). It is never a 0: a judge that stumbles over a completion would
otherwise teach that it is bad. When no reply at all is a rating, that is an error.
Answers go into the cache of judgements, five numbers each, and are exact from there.
Cost: the server's time, divided by `judge.server.concurrency`; from the cache 40 µs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from activeuf_core.annotations import rubric as reminder
from activeuf_core.annotations.scoring import HIGHEST, LOWEST, expected_rating
from activeuf_core.errors import DataError
from activeuf_core.rewards import judge_question
from activeuf_core.rewards.base import rows_of, text_of, version_of
from activeuf_core.rewards.config import JudgeReward

if TYPE_CHECKING:  # aiohttp and numpy are needed when a judge is asked, not to list rewards
    from activeuf_core.annotations.judgement_cache import JudgementCache
    from activeuf_core.annotations.server import Endpoint, JudgeClient, Reply

NONE_AT_FIRST = 24
"""So many first replies without a rating: the judge is set up wrongly."""
CODE = (
    "activeuf_core.rewards.judge_reward.LlmJudgeReward",
    "activeuf_core.rewards.judge_question.ask",
    "activeuf_core.annotations.scoring.expected_rating",
    "activeuf_core.annotations.server_judge.digit_masses",
)
Question = list[dict[str, str]]


def identity_in_cache(config: JudgeReward) -> dict[str, object]:
    """Return all that decides what the judge answers to a question."""
    server = config.server.model_dump(mode="json", exclude=set(config.server.not_in_recipe))
    return {
        "procedure": "reward-1",
        "model": config.model.identity,
        "min_digit_mass": config.min_digit_mass,
        "server": server,
    }


class LlmJudgeReward:
    """A judge as reward function; see `RewardFunction` for how it is called.

    Reads the columns `rubric` and `reference`, where the dataset has them.
    """

    def __init__(
        self,
        config: JudgeReward,
        where: Endpoint,
        cache: JudgementCache | None = None,
        name: str = "llm_judge",
    ) -> None:
        """Args: where: the server's address. cache: made with `identity_in_cache(config)`."""
        self.name = self.__name__ = name
        self._config = config
        self._where = where
        self._cache = cache
        self.num_asked = self.num_from_cache = self.num_unparseable = self.num_too_long = 0
        self._has_rated = False
        self.seconds = 0.0

    @property
    def version(self) -> str:
        """A digest of code, question and settings."""
        return version_of(
            self.name, CODE, {**identity_in_cache(self._config), "rubric": self._config.rubric}
        )

    def facts(self) -> dict[str, float]:
        """Return what judging cost and what was out of the ordinary, over all calls."""
        return {
            "judge_calls": self.num_asked,
            "judgements_from_cache": self.num_from_cache,
            "judge_unparseable": self.num_unparseable,
            "judge_too_long": self.num_too_long,
            "judge_seconds": round(self.seconds, 3),
        }

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Any] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """See `RewardFunction`.

        Raises: ServerError, ConfigError of the client; DataError when no reply is a rating.
        """
        del completion_ids
        known = [name for name in ("rubric", "reference") if name in columns]
        rows = rows_of(self.name, known, columns, len(completions))
        questions = [
            judge_question.ask(
                prompt,
                text_of(completion),
                row.get("rubric") or self._config.rubric,
                row.get("reference"),
            )
            for prompt, completion, row in zip(prompts, completions, rows, strict=True)
        ]
        rewards = self._rewards(questions)
        log_metric = columns.get("log_metric")
        if log_metric is not None and rewards:
            log_metric(f"{self.name}/unrated", rewards.count(None) / len(rewards))
        return rewards

    def _rewards(self, questions: Sequence[Question]) -> list[float | None]:
        """Answer from the cache what it knows, from the server the rest, each question once."""
        from activeuf_core.annotations.judgement_cache import key_of

        keys = [key_of(question) for question in questions]
        masses: dict[bytes, Sequence[float]] = {}
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
        return [self._reward_of(masses.get(key)) for key in keys]

    def _reward_of(self, masses: Sequence[float] | None) -> float | None:
        if masses is None:
            return None
        rating, _ = expected_rating(masses, self._config.min_digit_mass)
        return None if rating is None else (rating - LOWEST) / (HIGHEST - LOWEST)

    async def _ask_all(
        self, wanted: dict[bytes, Question], masses: dict[bytes, Sequence[float]]
    ) -> None:
        """Fill in `masses`, as many questions at a time as the settings say."""
        from activeuf_core.annotations.server import JudgeClient

        left: Iterator[tuple[bytes, Question]] = iter(wanted.items())
        async with JudgeClient(self._config.server, self._where) as client:

            async def work() -> None:
                for key, question in left:  # one iterator for all: whoever is free takes the next
                    found = await self._ask(client, question)
                    if found is not None:
                        masses[key] = found
                        if self._cache is not None:
                            self._cache.put({key: found})

            size = min(self._config.server.concurrency, len(wanted))
            workers = [asyncio.create_task(work()) for _ in range(size)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _ask(self, client: JudgeClient, question: Question) -> list[float] | None:
        """Return the digits' probabilities, None when the reply is no rating or does not fit."""
        from activeuf_core.annotations.server import TooLongError
        from activeuf_core.annotations.server_judge import digit_masses

        self.num_asked += 1
        try:
            reply = await client.ask(question)
            for _ in range(self._config.server.reminders):
                if self._reward_of(digit_masses(reply)) is not None:
                    break
                reply = await client.ask(reminder.remind(question))
        except TooLongError:
            self.num_too_long += 1
            return None
        found = digit_masses(reply)
        if self._reward_of(found) is not None:
            self._has_rated = True
            return found
        self._note_unparseable(reply)
        return None

    def _note_unparseable(self, reply: Reply) -> None:
        """Count. Raises: DataError when this happens from the start."""
        self.num_unparseable += 1
        has_rated = self._has_rated or self.num_from_cache > 0
        if self.num_unparseable >= NONE_AT_FIRST and not has_rated:
            raise DataError(
                f"reward {self.name!r}: none of the first {self.num_unparseable} replies of "
                f"{self._where.model!r} is a rating; the last: {reply.text[:80]!r}. Does the "
                "server run a chat model that answers at once? A thinking one needs "
                "judge.server.extra: {chat_template_kwargs: {enable_thinking: false}}."
            )
