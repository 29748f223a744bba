"""What the pairs of a candidate pool look like: who wins how often, how many are tied, how much is
length.

In: per prompt, models, overall scores and lengths. Out: running sums, so that a pool of any size
can be counted. A completion wins a pair when its overall score is higher; a tie counts half for
both. Pure. Shapes: C candidates of one prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class ModelTally:
    """Sums over one model's rated candidates."""

    candidates: int = 0
    score: float = 0.0
    characters: int = 0
    wins: float = 0.0
    pairs: int = 0

    @property
    def mean_score(self) -> float:
        """Mean overall score."""
        return self.score / self.candidates if self.candidates else float("nan")

    @property
    def mean_characters(self) -> float:
        """Mean length of its completions."""
        return self.characters / self.candidates if self.candidates else float("nan")

    @property
    def win_rate(self) -> float:
        """Share of its pairs that it wins, ties counted half."""
        return self.wins / self.pairs if self.pairs else float("nan")


@dataclass
class Comparisons:
    """Sums over all pairs of rated candidates of the same prompt."""

    models: dict[str, ModelTally] = field(default_factory=dict)
    pairs: int = 0
    ties: int = 0
    decided_by_length: int = 0
    """Pairs whose scores differ and whose lengths differ."""
    longer_wins: int = 0

    @property
    def tied_share(self) -> float:
        """Share of pairs with equal scores."""
        return self.ties / self.pairs if self.pairs else 0.0

    @property
    def longer_wins_share(self) -> float:
        """Share that the longer completion wins, of the pairs that differ in score and length."""
        return self.longer_wins / self.decided_by_length if self.decided_by_length else 0.5

    def add(self, models: Sequence[str], scores: Sequence[float], lengths: Sequence[int]) -> None:
        """Count one prompt's candidates, each of another model."""
        scores_C, lengths_C = np.asarray(scores, dtype=np.float64), np.asarray(lengths)
        gap_CC = scores_C[:, None] - scores_C[None, :]
        is_longer_CC = lengths_C[:, None] > lengths_C[None, :]
        wins_C = (gap_CC > 0).sum(1) + 0.5 * ((gap_CC == 0).sum(1) - 1)
        count = len(models)
        self.pairs += count * (count - 1) // 2
        self.ties += (int((gap_CC == 0).sum()) - count) // 2
        self.decided_by_length += int((is_longer_CC & (gap_CC != 0)).sum())
        self.longer_wins += int((is_longer_CC & (gap_CC > 0)).sum())
        for index, model in enumerate(models):
            tally = self.models.setdefault(model, ModelTally())
            tally.candidates += 1
            tally.score += scores[index]
            tally.characters += lengths[index]
            tally.wins += float(wins_C[index])
            tally.pairs += count - 1

    def ranking(self) -> list[tuple[str, ModelTally]]:
        """Return the models, the highest win rate first."""
        return sorted(self.models.items(), key=lambda item: (-item[1].win_rate, item[0]))
