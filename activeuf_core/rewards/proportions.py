"""Shares with their uncertainty.

In: counts. Out: `Proportion`s: k of n with the Wilson interval, which keeps within 0 and 1 and has
a width also where k is 0 or n.
Source: Wilson 1927; z = 1.959964 gives 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from activeuf_core.errors import DataError

Z_95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Proportion:
    """`count` of `n`; the share and its ends are None where there is nothing to count."""

    count: int
    n: int
    value: float | None
    low: float | None
    high: float | None

    def as_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))

    def __str__(self) -> str:
        """Write it for people: 75.21 % (992/1319), 95 % interval 72.8 to 77.5 %."""
        if self.value is None or self.low is None or self.high is None:
            return "none to count"
        return (
            f"{self.value:.2%} ({self.count}/{self.n}), 95 % interval "
            f"{self.low:.1%} to {self.high:.1%}"
        )


def proportion(count: int, n: int, z: float = Z_95) -> Proportion:
    """Return a share with its Wilson interval. Raises: DataError unless 0 <= count <= n."""
    if not 0 <= count <= n:
        raise DataError(f"{count} of {n} is no share; expected 0 <= count <= n.")
    if n == 0:
        return Proportion(0, 0, None, None, None)
    share = count / n
    scale = 1.0 + z * z / n
    middle = (share + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(share * (1.0 - share) / n + z * z / (4 * n * n))
    low = 0.0 if count == 0 else max(0.0, middle - half)
    high = 1.0 if count == n else min(1.0, middle + half)
    return Proportion(count, n, share, low, high)


def share_of(flags: Iterable[bool]) -> Proportion:
    """Return the share of what is true."""
    found = list(flags)
    return proportion(sum(found), len(found))
