"""A judge that compares two completions, and how far it can be trusted: labels, order, ties.

In: pairs of completions, perhaps with a known winner. Out: a `Verdict` per pair, an `Agreement`.
A judge sees each pair twice, either completion first once, because many judges prefer a place. The
verdict is the mean of both: what only the order decides comes out as a tie.
Cost: two questions per pair; see `judge_asker.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from activeuf_core.errors import DataError
from activeuf_core.rewards import judge_question
from activeuf_core.rewards.config import JudgeReward
from activeuf_core.rewards.judge_asker import JudgeAsker, Masses
from activeuf_core.rewards.proportions import Proportion, share_of

if TYPE_CHECKING:
    from activeuf_core.annotations.judgement_cache import JudgementCache
    from activeuf_core.annotations.server import Endpoint

Winner = Literal["a", "b", "tie"]
TIE_MARGIN = 0.1
"""Of the probability that a wins, around one half."""


class Compared(NamedTuple):
    """What is compared: two completions of a prompt, by a rubric where there is one."""

    prompt: Any
    a: str
    b: str
    rubric: str | None = None


@dataclass(frozen=True)
class Verdict:
    """Probability that a wins: with a shown first, and with a shown second."""

    a_first: float
    a_second: float

    @property
    def a_wins(self) -> float:
        """The mean over both orders."""
        return (self.a_first + self.a_second) / 2

    def winner(self, margin: float = TIE_MARGIN) -> Winner:
        """Return who wins; a tie within the margin."""
        if abs(self.a_wins - 0.5) <= margin:
            return "tie"
        return "a" if self.a_wins > 0.5 else "b"

    @property
    def is_decided_by_order(self) -> bool:
        """Whether the place, and not the completion, wins."""
        return (self.a_first > 0.5) != (self.a_second > 0.5)


@dataclass(frozen=True)
class Agreement:
    """A judge beside labels. `accuracy` is over pairs without a tie of the judge; `kappa` over the
    same, corrected for chance, None where one side always says the same; `first_place` is the mean
    probability that what is shown first wins: 0.5 without bias.
    """

    accuracy: Proportion
    kappa: float | None
    ties: Proportion
    decided_by_order: Proportion
    first_place: float | None
    num_unrated: int


class PairJudge:
    """A judge of pairs."""

    def __init__(
        self, config: JudgeReward, where: Endpoint, cache: JudgementCache | None = None
    ) -> None:
        """See `LlmJudgeReward`."""
        self._config = config
        self.asker = JudgeAsker(config, where, cache, lambda found: self._first(found) is not None)

    def compare(self, pairs: Sequence[Compared]) -> list[Verdict | None]:
        """Return a verdict per pair, None where a reply in either order is no answer."""
        questions = [
            judge_question.compare(pair.prompt, *order, pair.rubric or self._config.rubric)
            for pair in pairs
            for order in ((pair.a, pair.b), (pair.b, pair.a))
        ]
        found = [self._first(masses) for masses in self.asker.answers(questions)]
        return [
            None if first is None or second is None else Verdict(first, 1.0 - second)
            for first, second in zip(found[::2], found[1::2], strict=True)
        ]

    def _first(self, masses: Masses | None) -> float | None:
        """Return the probability that the completion shown first wins."""
        if masses is None:
            return None
        total = masses[0] + masses[1]
        if total <= 0.0 or total < self._config.min_digit_mass:
            return None
        return masses[0] / total


def agreement(verdicts: Sequence[Verdict | None], labels: Sequence[Winner]) -> Agreement:
    """Return how a judge agrees with known winners. Raises: DataError for unequal lengths."""
    if len(verdicts) != len(labels):
        raise DataError(f"{len(verdicts)} verdicts and {len(labels)} labels; expected one each.")
    rated = [
        (verdict, label)
        for verdict, label in zip(verdicts, labels, strict=True)
        if verdict is not None
    ]
    said = [(verdict.winner(), label) for verdict, label in rated]
    decided = [pair for pair in said if "tie" not in pair]
    places = [(verdict.a_first + 1.0 - verdict.a_second) / 2 for verdict, _ in rated]
    return Agreement(
        accuracy=share_of(winner == label for winner, label in decided),
        kappa=cohens_kappa(decided),
        ties=share_of(winner == "tie" for winner, _ in said),
        decided_by_order=share_of(verdict.is_decided_by_order for verdict, _ in rated),
        first_place=fmean(places) if places else None,
        num_unrated=len(verdicts) - len(rated),
    )


def cohens_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Return Cohen's kappa of two raters, None where chance alone would agree throughout."""
    if not pairs:
        return None
    n = len(pairs)
    observed = sum(one == other for one, other in pairs) / n
    names = {name for pair in pairs for name in pair}
    chance = sum(
        sum(one == name for one, _ in pairs) * sum(other == name for _, other in pairs)
        for name in names
    ) / (n * n)
    return None if chance >= 1.0 else (observed - chance) / (1.0 - chance)
