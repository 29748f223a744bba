"""The judge of two outputs behind a server that speaks OpenAI's protocol.

In: comparisons. Out: the probabilities of the two labels among the first tokens that the server
lists; of a server that lists none, 1 for the label that the reply says. A reply with too little on
labels is asked for again with a reminder; then the judgement is missing, counted and told. What the
client repeats, refuses and gives up is `annotations/server.py`'s. Heavy: imports aiohttp.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from activeuf_core.annotations.config import JudgeServer
from activeuf_core.annotations.server import (
    Endpoint,
    JudgeClient,
    Reply,
    TooLongError,
    word_masses,
    work_on_all,
)
from activeuf_core.errors import DataError
from activeuf_core.evals.alpaca_config import PairJudge
from activeuf_core.evals.alpaca_judge import Told, Verdict, preference
from activeuf_core.evals.alpaca_prompt import Comparison, Prompt

log = logging.getLogger("activeuf")

HALVINGS = 12
NONE_AT_FIRST = 24
"""So many first replies without a label: the judge is set up wrongly."""
NAMED = 5
"""Replies without a label that are told one by one."""


class ServerBackend:
    """Asks a server; the first process does, for all."""

    def __init__(
        self, config: PairJudge, server: JudgeServer, prompt: Prompt, where: Endpoint
    ) -> None:
        self._config = config
        self._server = server
        self._prompt = prompt
        self._where = where
        self._num_labelled = 0
        self._num_repeated = 0
        self._num_reminded = 0
        self._num_without_label = 0
        self._num_too_long = 0

    def batches(self, pairs: Sequence[Comparison]) -> list[list[int]]:
        """Return all pairs as one batch: they are on their way at the same time."""
        return [list(range(len(pairs)))]

    def ask(self, pairs: Sequence[Comparison], told: Told) -> list[Verdict | None]:
        """Ask about all pairs, some at a time.

        Raises: ServerError, ConfigError of `JudgeClient.ask`; DataError when no reply has a label.
        """
        return asyncio.run(self._ask_all(pairs, told))

    def facts(self) -> dict[str, int]:
        """Return counts of what was out of the ordinary."""
        return {
            "requests_repeated": self._num_repeated,
            "reminders": self._num_reminded,
            "replies_without_label": self._num_without_label,
            "comparisons_too_long": self._num_too_long,
        }

    async def _ask_all(self, pairs: Sequence[Comparison], told: Told) -> list[Verdict | None]:
        verdicts: list[Verdict | None] = [None] * len(pairs)
        async with JudgeClient(self._server, self._where) as client:

            async def work(item: tuple[int, Comparison]) -> None:
                place, pair = item
                found = await self._ask_what_fits(client, pair)
                if found is not None:
                    verdicts[place] = found
                    told(place, found)

            try:
                await work_on_all(enumerate(pairs), work, self._server.concurrency)
            finally:
                self._num_repeated += client.num_repeated
        return verdicts

    async def _ask_what_fits(self, client: JudgeClient, pair: Comparison) -> Verdict | None:
        """Return the verdict, None when not even short outputs fit."""
        for halvings in range(HALVINGS + 1):
            try:
                first, second = await self._ask(client, pair)
            except TooLongError:
                pair = pair.shortened()
                continue
            return Verdict(first, second, halvings > 0)
        self._num_too_long += 1
        return None

    async def _ask(self, client: JudgeClient, pair: Comparison) -> tuple[float, float]:
        question = self._prompt.ask(pair)
        reply = await client.ask(question)
        for _ in range(self._server.reminders):
            if self._has_label(reply):
                break
            self._num_reminded += 1
            reply = await client.ask(self._prompt.remind(question))
        if self._has_label(reply):
            self._num_labelled += 1
        else:
            self._note_no_label(pair, reply)
        return label_masses(reply, self._prompt.labels)

    def _has_label(self, reply: Reply) -> bool:
        verdict = Verdict(*label_masses(reply, self._prompt.labels))
        return preference(verdict, True, self._config.min_label_mass) is not None

    def _note_no_label(self, pair: Comparison, reply: Reply) -> None:
        """Count and tell. Raises: DataError when this happens from the start."""
        self._num_without_label += 1
        told = (
            f"the judge's reply about {pair.instruction[:80]!r} has no label "
            f"({' or '.join(self._prompt.labels)}): {reply.text[:80]!r}, first tokens "
            f"{(reply.first_token or ())[:5]}"
        )
        if self._num_without_label <= NAMED:
            log.warning("%s; the judgement is missing.", told)
        if not self._num_labelled and self._num_without_label >= NONE_AT_FIRST:
            raise DataError(
                f"none of the first {self._num_without_label} replies names a label; {told}. Does "
                f"the server run {self._where.model!r} as a chat model that answers at once? A "
                "thinking one needs judge.server.extra: {chat_template_kwargs: {enable_thinking: "
                "false}}."
            )


def label_masses(reply: Reply, labels: tuple[str, str]) -> tuple[float, float]:
    """Return the probabilities of the two labels as the reply's first token; of a reply without
    probabilities, 1 for the label that it says.
    """
    first, second = word_masses(reply, labels)
    return first, second
