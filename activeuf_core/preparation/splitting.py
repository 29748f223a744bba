"""Which row is for training, which for choosing, which for the last word: by the question alone.

In: examples by official split. Out: examples by split. A question's place is a hash of its
normalised text: no seed, no order, no neighbour counts. So two rows with one question always stand
in one split, a data set that grows moves no row, and two copies of a data set are divided alike.
Official splits are kept; a question that also stands in an official split leaves the other one.
Cost: 5 µs per question of 250 characters.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from activeuf_core.preparation.config import SPLITS, Fractions, Split

Example = dict[str, Any]
BySplit = dict[Split, list[Example]]


@dataclass(frozen=True)
class Divided:
    """Rows by split, and the rows that left because another split has their question."""

    splits: BySplit
    leaked: int


def normalised_question(text: str) -> str:
    """Return what two questions have in common when a reader takes them for the same."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def place(text: str, salt: str = "split") -> float:
    """Return a question's place in [0, 1). Args: salt: another one gives an unrelated place."""
    told = f"{salt}\0{normalised_question(text)}".encode()
    return int.from_bytes(hashlib.sha256(told).digest()[:8]) / 2.0**64


def expected_fractions(fractions: Fractions, official: Iterable[Split]) -> dict[Split, float]:
    """Return which share of the rows that are divided each split gets; official ones get none."""
    kept = set(official) - {"train"}
    shares: dict[Split, float] = {
        split: getattr(fractions, split) for split in SPLITS if split not in kept
    }
    whole = sum(shares.values())
    return {split: share / whole for split, share in shares.items()}


def divide(
    rows: Mapping[Split, Sequence[Example]], fractions: Fractions, limit: int | None = None
) -> Divided:
    """Divide the rows of `train` among the splits that the source does not have.

    Args: limit: keep this many rows of `train`, those with the lowest hashes; a larger limit keeps
    what a smaller one kept.
    """
    cleared, leaked = _without_leaks(rows)
    shares = expected_fractions(fractions, rows)
    splits: BySplit = {split: list(cleared.get(split, [])) for split in SPLITS}
    splits["train"] = []
    for row in _limited(cleared["train"], limit):
        splits[_split_at(place(row["question"]), shares)].append(row)
    return Divided(splits, leaked)


def drop_repeated(
    rows: Sequence[Example], key: Callable[[Example], str]
) -> tuple[list[Example], int]:
    """Return the first row of every key, in their order, and how many rows that leaves out."""
    first: dict[str, Example] = {}
    for row in rows:
        first.setdefault(key(row), row)
    return list(first.values()), len(rows) - len(first)


def _without_leaks(rows: Mapping[Split, Sequence[Example]]) -> tuple[BySplit, int]:
    """Take from train, and from val, what a later split has: test comes first, as its rows are the
    denominator of every published score.
    """
    seen: set[str] = set()
    kept: BySplit = {}
    leaked = 0
    for split in reversed(SPLITS):
        given = rows.get(split)
        if given is None:
            continue
        keys = [normalised_question(row["question"]) for row in given]
        kept[split] = [row for row, key in zip(given, keys, strict=True) if key not in seen]
        leaked += len(given) - len(kept[split])
        seen |= set(keys)
    return kept, leaked


def _limited(rows: Sequence[Example], limit: int | None) -> list[Example]:
    if limit is None or len(rows) <= limit:
        return list(rows)
    order = sorted(range(len(rows)), key=lambda at: (place(rows[at]["question"], "limit"), at))
    return [rows[at] for at in sorted(order[:limit])]


def _split_at(where: float, shares: Mapping[Split, float]) -> Split:
    upper = 0.0
    for split, share in shares.items():
        upper += share
        if where < upper:
            return split
    return "train"  # the shares add up to a hair less than 1
