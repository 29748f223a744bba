"""A client of OpenAI's chat protocol: many questions on their way at once, and patience.

In: questions, as conversations. Out: what the first token of each reply could have been, or its
text. A reply that does not come, comes broken, or says "later" (429, 5xx) is asked for again, after
a pause that doubles, varies by half, and is never shorter than the server's Retry-After; when a
question's patience is over, the error says where, what came, and what to do. What the server
refuses for good (wrong key, wrong model) is an error at once. Cost: the server's time; 0.3 ms of
ours per question. Heavy: imports aiohttp.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, TypeVar

import aiohttp

from activeuf_core.annotations.config import JudgeServer
from activeuf_core.config import ModelRef
from activeuf_core.errors import ConfigError, ServerError

log = logging.getLogger("activeuf")

URL, KEY = "ACTIVEUF_JUDGE_URL", "ACTIVEUF_JUDGE_KEY"
AGAIN = frozenset({408, 409, 425, 429})
"""Status codes below 500 after which the same question can succeed."""
NEVER = frozenset({501, 505})
"""Status codes from 500 on that stay: what was asked is not known there."""
TOO_LONG = ("context length", "maximum context", "too long", "too many tokens", "max_model_len")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
BODY_SHOWN = 200
TELL_EVERY_S = 10.0
TEXT_TOKENS = 8
"""Tokens of a reply that is read as text: room for a space or a line in front of the digit."""

BROKEN = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading a body leads to that is no reply."""
SPACES = " \n\t\u0120\u2581\u010a"
"""Around a word in a token's text, the marks that some servers leave there included."""

Messages = Sequence[Mapping[str, str]]
Item = TypeVar("Item")


class TooLongError(Exception):
    """The question does not fit into the model's context."""


class _AgainError(Exception):
    """This attempt failed, another one may not; `after_s`: when the server wants to be asked."""

    def __init__(self, what: str, after_s: float = 0.0) -> None:
        super().__init__(what)
        self.after_s = after_s


@dataclass(frozen=True)
class Endpoint:
    """Where the judge answers, and as whom to ask."""

    url: str
    model: str
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Reply:
    """What a server said: its text, and the probabilities of the tokens that could have come first,
    None when they were not asked for.
    """

    text: str
    first_token: tuple[tuple[str, float], ...] | None


def endpoint(config: JudgeServer, model: ModelRef, location: str) -> Endpoint:
    """Return where to ask. Raises: ConfigError when no address is given, or it holds a secret."""
    url = (config.url or os.environ.get(URL) or "").rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise ConfigError(
            f"judge.server: the address is {url!r}; expected http://host:port/v1. Set ${URL} (a "
            "cluster file's `environment` can), or judge.server.url."
        )
    if "@" in url.split("//", 1)[1].split("/", 1)[0]:
        raise ConfigError(
            f"judge.server: the address holds a user or password. Put the key into ${KEY}."
        )
    hub, _, _ = location.rpartition("@")
    is_hub = bool(hub) and not location.startswith("/")
    name = config.served_as or (hub if is_hub else model.name)
    return Endpoint(url, name, os.environ.get(KEY) or None)


class JudgeClient:
    """A session with a server; an asynchronous context manager."""

    def __init__(self, config: JudgeServer, where: Endpoint) -> None:
        self._config = config
        self._where = where
        self._rng = random.Random()  # pauses alone: no result depends on it
        self._session: aiohttp.ClientSession | None = None
        self.num_repeated = 0
        self._told = -math.inf

    async def __aenter__(self) -> JudgeClient:
        """Open the session."""
        headers = {"Authorization": f"Bearer {self._where.key}"} if self._where.key else {}
        self._session = aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=self._config.timeout_s),
            connector=aiohttp.TCPConnector(limit=self._config.concurrency),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()

    async def ask(self, messages: Messages) -> Reply:
        """Return the reply to one question.

        Raises: TooLongError; ConfigError for what is refused for good; ServerError when the
        patience is over.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._config.patience_s
        pause = FIRST_PAUSE_S
        while True:
            try:
                return await self._attempt(messages)
            except _AgainError as error:
                wait = max(error.after_s, pause * self._rng.uniform(0.5, 1.5))
                if clock() + wait > deadline:
                    raise ServerError(
                        f"{self._url}: no usable reply within {self._config.patience_s:g} s; last: "
                        f"{error}. What was judged is kept: check the server (its log, "
                        f"${URL}, its load), then materialize again, or raise "
                        "judge.server.patience_s."
                    ) from error
                self.num_repeated += 1
                self._tell(error, clock())
                await asyncio.sleep(wait)
                pause = min(2.0 * pause, LONGEST_PAUSE_S)

    def _tell(self, error: _AgainError, now: float) -> None:
        """Say in the log why questions are asked again, now and then."""
        if now - self._told >= TELL_EVERY_S:
            self._told = now
            log.warning("%s: %s; asking again (%d so far)", self._url, error, self.num_repeated)

    @property
    def _url(self) -> str:
        return f"{self._where.url}/chat/completions"

    async def _attempt(self, messages: Messages) -> Reply:
        assert self._session is not None, "ask inside the context manager"
        try:
            async with self._session.post(
                self._url, json=self._body(messages), allow_redirects=False
            ) as response:
                text = await response.text("utf-8", errors="replace")
                status, headers = response.status, response.headers
        except TimeoutError as error:
            raise _AgainError(f"nothing within {self._config.timeout_s:g} s") from error
        except aiohttp.InvalidURL as error:
            raise ConfigError(f"judge.server: {self._url!r} is no address. Set ${URL}.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _AgainError(f"{type(error).__name__}: {error}") from error
        if status != 200:
            raise self._refusal(status, text, headers.get("Retry-After", ""))
        try:
            return _reply(json.loads(text), self._config.top_logprobs > 0)
        except ConfigError:
            raise
        except BROKEN as error:
            raise _AgainError(
                f"status 200, a body that is no reply: {_first_line(text)}"
            ) from error

    def _body(self, messages: Messages) -> dict[str, Any]:
        count = self._config.top_logprobs
        return {
            "model": self._where.model,
            "messages": list(messages),
            "temperature": 0,
            "max_tokens": 1 if count else TEXT_TOKENS,
            **({"logprobs": True, "top_logprobs": count} if count else {}),
            **self._config.extra,
        }

    def _refusal(self, status: int, text: str, retry_after: str) -> Exception:
        """Return what a status other than 200 means."""
        said = f"status {status}: {_first_line(text)}"
        if status in AGAIN or (status >= 500 and status not in NEVER):
            return _AgainError(said, _seconds(retry_after))
        if status in (400, 413, 422) and any(phrase in text.lower() for phrase in TOO_LONG):
            return TooLongError(said)
        return ConfigError(
            f"{self._url} refuses model {self._where.model!r} with {said}. Check ${URL}, ${KEY} "
            "(401, 403), judge.server.served_as (404) and judge.server.top_logprobs (400)."
        )


async def work_on_all(
    items: Iterable[Item], work: Callable[[Item], Awaitable[None]], at_once: int
) -> None:
    """Work on all items, so many at a time; the first that fails stops the others."""
    left = iter(items)

    async def work_on_some() -> None:
        for item in left:  # one iterator for all: whoever is free takes the next
            await work(item)

    workers = [asyncio.create_task(work_on_some()) for _ in range(at_once)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


def word_masses(reply: Reply, words: Sequence[str], ending: str = r"(?!\w)") -> list[float]:
    """Return the probability of each word as the reply's first token; of a reply without
    probabilities, 1 for the word that it begins with. Args: ending: what must follow it there.
    """
    if reply.first_token is None:
        said = re.match(rf"\W*({'|'.join(map(re.escape, words))}){ending}", reply.text)
        return [float(said is not None and said[1] == word) for word in words]
    masses = dict.fromkeys(words, 0.0)
    for token, probability in reply.first_token:
        if token.strip(SPACES) in masses:
            masses[token.strip(SPACES)] += probability
    return list(masses.values())


def _reply(body: Any, has_probabilities: bool) -> Reply:
    """Read a reply. Raises: ConfigError without probabilities; what a wrong body leads to."""
    choice = body["choices"][0]
    text = choice["message"]["content"] or ""
    if not isinstance(text, str):
        raise TypeError(f"content is {text!r}")
    if not has_probabilities:
        return Reply(text, None)
    logprobs = choice.get("logprobs")
    content = logprobs["content"] if logprobs else None
    if logprobs and not content and not text:
        return Reply(text, ())  # an empty reply has no first token
    if not content:
        raise ConfigError(
            "the judge's server gives no log-probabilities. Start it so that it does, or set "
            "judge.server.top_logprobs: 0 to rate by the digit that it says."
        )
    listed = content[0]["top_logprobs"]
    tokens = tuple((str(one["token"]), math.exp(one["logprob"])) for one in listed)
    if not all(0.0 <= p <= 1.001 for _, p in tokens) or sum(p for _, p in tokens) > 1.01:
        raise ValueError(f"probabilities {tokens}")
    return Reply(text, tokens)


def _first_line(text: str) -> str:
    """Return the start of a body for a message."""
    line = next(iter(text.strip().splitlines()), "an empty body")
    return repr(line[:BODY_SHOWN])


def _seconds(retry_after: str) -> float:
    """Return the seconds of a Retry-After header, which may also be a date; 0 without one."""
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return 0.0
