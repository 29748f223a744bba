"""A language model behind a server as reward.

In: prompts, completions, their rubrics or references. Out: (expected digit - 1) / 4, so 0 … 1.
A completion that the judge could not rate has no reward (None). It is never a 0: a judge that
stumbles over a completion would otherwise teach that it is bad.
Cost: see `judge_asker.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from activeuf_core.annotations.scoring import HIGHEST, LOWEST, expected_rating
from activeuf_core.rewards import judge_question
from activeuf_core.rewards.base import rows_of, text_of, version_of
from activeuf_core.rewards.config import JudgeReward
from activeuf_core.rewards.judge_asker import JudgeAsker, Masses, identity_in_cache

if TYPE_CHECKING:
    from activeuf_core.annotations.judgement_cache import JudgementCache
    from activeuf_core.annotations.server import Endpoint

CODE = (
    "activeuf_core.rewards.judge_reward.LlmJudgeReward",
    "activeuf_core.annotations.server_judge.digit_masses",
)
"""What the version covers; the asker and the question follow from the first."""


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
        self.asker = JudgeAsker(config, where, cache, lambda found: self._reward(found) is not None)

    @property
    def version(self) -> str:
        """A digest of code, question and settings."""
        about = {**identity_in_cache(self._config), "rubric": self._config.rubric}
        return version_of(self.name, CODE, about)

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Any] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """See `RewardFunction`. Raises: what `JudgeAsker.answers` raises."""
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
        rewards = [self._reward(masses) for masses in self.asker.answers(questions)]
        log_metric = columns.get("log_metric")
        if log_metric is not None and rewards:
            log_metric(f"{self.name}/unrated", rewards.count(None) / len(rewards))
        return rewards

    def _reward(self, masses: Masses | None) -> float | None:
        if masses is None:
            return None
        rating, _ = expected_rating(masses, self._config.min_digit_mass)
        return None if rating is None else (rating - LOWEST) / (HIGHEST - LOWEST)
