"""Which prompts are kept: pure functions, each of which returns the kept rows and how many it
dropped.

In and out: lists of PROMPT rows; order is kept. No randomness but the seed that is passed in.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from activeuf_core.errors import DataError
from activeuf_core.seeding import derive_seed

Row = Mapping[str, Any]
Kept = tuple[list[Row], int]


def drop_blank(rows: Sequence[Row]) -> Kept:
    """Drop prompts whose last turn has no visible character."""
    return _keep(rows, [bool(row["prompt"][-1]["content"].strip()) for row in rows])


def drop_duplicates(rows: Sequence[Row]) -> Kept:
    """Drop every prompt whose normalised text stood earlier."""
    seen: set[str] = set()
    is_new = []
    for row in rows:
        text = normalised_text(row)
        is_new.append(text not in seen)
        seen.add(text)
    return _keep(rows, is_new)


def drop_long(rows: Sequence[Row], max_characters: int) -> Kept:
    """Drop prompts whose turns have more than `max_characters` characters together."""
    return _keep(rows, [num_characters(row) <= max_characters for row in rows])


def sample(rows: Sequence[Row], limit: int | None, seed: int) -> Kept:
    """Keep `limit` prompts, chosen by the seed and each prompt's id alone.

    So the choice does not depend on the order of the rows, and a larger limit keeps what a smaller
    one kept.
    """
    if limit is None or len(rows) <= limit:
        return list(rows), 0
    ranks = [derive_seed(seed, "prompts", "sample", row["prompt_id"]) for row in rows]
    last = sorted(ranks)[limit - 1]
    return _keep(rows, [rank <= last for rank in ranks])


def require_unique_ids(rows: Sequence[Row]) -> None:
    """Check that no id stands twice.

    Raises: DataError, naming the id and both texts.
    """
    first: dict[str, Row] = {}
    for row in rows:
        known = first.setdefault(row["prompt_id"], row)
        if known is not row:
            raise DataError(
                f"prompt_id {row['prompt_id']!r} belongs to two prompts: {_start(known)} and "
                f"{_start(row)}. Give every prompt its own id, set id_column to a column with "
                "unique ids, or set it to null to have the ids made from the texts."
            )


def normalised_text(row: Row) -> str:
    """Return what two prompts have in common when a reader takes them for the same."""
    turns = (f"{turn['role']}: {turn['content']}" for turn in row["prompt"])
    return " ".join(unicodedata.normalize("NFKC", "\n".join(turns)).casefold().split())


def num_characters(row: Row) -> int:
    """Return the number of characters in all turns of a prompt."""
    return sum(len(turn["content"]) for turn in row["prompt"])


def _keep(rows: Sequence[Row], is_kept: Sequence[bool]) -> Kept:
    kept = [row for row, keep in zip(rows, is_kept, strict=True) if keep]
    return kept, len(rows) - len(kept)


def _start(row: Row) -> str:
    text = " ".join(row["prompt"][-1]["content"].split())
    return repr(text if len(text) <= 60 else text[:59] + "…")
