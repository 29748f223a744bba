"""Judges for whoever wants a few completions rated now: the loop, under `judging: lazy`.

In: a judge's settings and the stage's context. Out: a `Rater`, which judges cases when it is asked
and remembers every answer in the cache that all stages share. A rating depends on its case alone,
not on the cases beside it, so that an interrupted loop goes on with the same ratings.
Cost: see `llm_rater.py` and `reward_judge.py`; a model is loaded when it is first needed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from activeuf_core.annotations.cases import Case
from activeuf_core.annotations.config import Judge, LlmJudge, RewardModelJudge
from activeuf_core.annotations.judgement_cache import JudgementCache
from activeuf_core.annotations.llm_rater import InProcess, LlmRater, identity_in_cache
from activeuf_core.annotations.scoring import Judgement
from activeuf_core.errors import ConfigError
from activeuf_core.stage import StageContext


class Rater(Protocol):
    """A judge."""

    def rate(self, cases: Sequence[Case]) -> list[Judgement]:
        """Return one judgement per case, in their order."""
        ...

    def facts(self) -> dict[str, int]:
        """Return what judging cost and what was out of the ordinary."""
        ...


@contextlib.contextmanager
def open_rater(context: StageContext, judge: Judge) -> Iterator[Rater]:
    """Open a judge for as long as it is needed.

    Raises: ConfigError for a judge that needs no model: its ratings exist or cost nothing.
    """
    if not isinstance(judge, LlmJudge | RewardModelJudge):
        raise ConfigError(
            f"judging: lazy saves nothing with judge.mode {judge.mode!r}, whose ratings cost "
            "nothing. Allowed: llm, reward_model. Set judging: eager."
        )
    if isinstance(judge, LlmJudge):
        with open_cache(context, identity_in_cache(judge)) as cache:
            yield llm_rater(context, judge, cache)
        return
    from activeuf_core.annotations import reward_judge

    with open_cache(context, reward_judge.identity_in_cache(judge)) as cache:
        yield reward_judge.RewardRater(lambda: reward_judge.load(context, judge), cache)


def llm_rater(context: StageContext, judge: LlmJudge, cache: JudgementCache) -> LlmRater:
    """Return a language model as judge, loaded here or behind its server."""
    location = context.locate(judge.model)
    if judge.server is None:

        def load() -> Any:
            from activeuf_core.annotations.llm_judge import Asker

            return Asker(judge, location)

        return LlmRater(judge, InProcess(load), cache)
    from activeuf_core.annotations.server import endpoint
    from activeuf_core.annotations.server_judge import ServerBackend

    where = endpoint(judge.server, judge.model, location)
    return LlmRater(judge, ServerBackend(judge, judge.server, where), cache)


def open_cache(context: StageContext, judge: dict[str, Any]) -> JudgementCache:
    """Open the cache of a judge: in the home, of a stage that was started by hand in its folder."""
    folder = context.runtime.get("judgements") or context.checkpoints / "judgements"
    return JudgementCache(Path(folder), judge)
