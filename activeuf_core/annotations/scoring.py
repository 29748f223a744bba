"""The arithmetic of judging: pure functions from what a judge says to ratings and one overall
score.

In: probabilities of digits, given judgements, ratings. Out: ratings, and overall scores. What is
not known is None and stays None; it never becomes a number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from activeuf_core.errors import DataError

DIGITS = (1, 2, 3, 4, 5)
LOWEST, HIGHEST = DIGITS[0], DIGITS[-1]


@dataclass(frozen=True)
class Judgement:
    """Ratings of one completion by aspect, and what they come to; None: could not be rated."""

    ratings: Mapping[str, float] = field(default_factory=dict)
    overall_score: float | None = None


def judgement(ratings: Mapping[str, float]) -> Judgement:
    """Return a judgement whose overall score is the mean of the ratings."""
    mean = math.fsum(ratings.values()) / len(ratings) if ratings else None
    return Judgement(ratings, mean)


def expected_rating(mass_by_digit: Sequence[float], min_mass: float) -> tuple[float | None, float]:
    """Return the expected digit and the probability that the judge gave to digits at all.

    Args: mass_by_digit: probabilities of the replies 1 to 5, which need not sum to 1. min_mass:
    with less than this on digits the reply was something else, and there is no rating.
    """
    mass = math.fsum(mass_by_digit)
    if not mass >= min_mass or mass <= 0.0:
        return None, mass
    weighted = math.fsum(digit * p for digit, p in zip(DIGITS, mass_by_digit, strict=True))
    return min(max(weighted / mass, LOWEST), HIGHEST), mass


def log_odds(probability: float, clip: float) -> float:
    """Return ln(p / (1 - p)), p kept `clip` away from 0 and 1.

    Raises: DataError when it is no probability.
    """
    if not 0.0 <= probability <= 1.0:
        raise DataError(
            f"the given rating {probability!r} is no probability. Allowed: 0 to 1. Set transform: "
            "identity, or another rating_column."
        )
    kept = min(max(probability, clip), 1.0 - clip)
    return math.log(kept) - math.log1p(-kept)


def is_within(judged: Judgement, scale: tuple[float, float]) -> bool:
    """Whether every rating lies between the scale's ends."""
    return all(scale[0] <= rating <= scale[1] for rating in judged.ratings.values())
