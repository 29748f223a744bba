"""One member's completions and annotations, read in step with the prompts.

In: `completions.parquet` and `annotations.parquet` of one member, both in the order of the prompts,
as their stages write them. Out: one prompt's candidate at a time. Every member is read through a
cursor that holds 512 rows, so memory depends on the number of members and not on that of prompts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from activeuf_core import paths
from activeuf_core.errors import DataError

Row = Mapping[str, Any]
ROWS_AT_ONCE = 512
"""Rows that a cursor holds: 30 members then take 0.5 GB, with whole row groups 1.1 GB."""

UNRATED: Row = {"ratings": "{}", "overall_score": None}
"""Stands for the annotation of a completion that is judged later, if at all."""


class Member:
    """A cursor over one member's rows; `model` is its name."""

    def __init__(self, completions: Path, annotations: Path | None) -> None:
        """Open the files; without annotations every completion is unrated.

        Raises: DataError when there are no rows.
        """
        self._folder = completions.parent
        self._rows = _in_step(completions, annotations) if annotations else _unrated(completions)
        self._next = next(self._rows, None)
        if self._next is None:
            raise DataError(f"{completions}: has no rows. Materialize completions again.")
        self.model: str = self._next[0]["model"]

    def take(self, prompt_id: str) -> tuple[Row, Row] | None:
        """Return completion and annotation of a prompt, None when the member has none.

        Prompts have to be asked for in their order.
        Raises: DataError when the member has two completions of the prompt.
        """
        found = self._next
        if found is None or found[0]["prompt_id"] != prompt_id:
            return None
        self._next = next(self._rows, None)
        if self._next is not None and self._next[0]["prompt_id"] == prompt_id:
            raise DataError(
                f"{self._folder}: {self.model!r} has two completions of prompt {prompt_id!r}, one "
                "after the other; allowed is one. Materialize completions again."
            )
        return found

    def require_end(self) -> None:
        """Check that every row was taken.

        Raises: DataError when rows are left: their prompts do not exist, or stand in another order.
        """
        if self._next is not None:
            raise DataError(
                f"{self._folder}: the completion of prompt {self._next[0]['prompt_id']!r} fits no "
                "prompt, or stands in another order than the prompts. Materialize completions "
                "again for these prompts."
            )


def open_members(
    completions: Mapping[str, Path], annotations: Mapping[str, Path] | None
) -> list[Member]:
    """Open all members, in the alphabetical order of their names.

    Args: both map a partition to its artifact's folder; annotations None: nothing is rated yet.
    Raises: DataError when the partitions differ, or two of them hold the same member.
    """
    rated = completions if annotations is None else annotations
    for missing, has, lacks in (
        (completions.keys() - rated.keys(), "completions", "annotations"),
        (rated.keys() - completions.keys(), "annotations", "completions"),
    ):
        if missing:
            raise DataError(
                f"{sorted(missing)} have {has} and no {lacks}. Materialize {lacks} of them first."
            )
    by_model: dict[str, str] = {}
    members = []
    for partition, folder in completions.items():
        ratings = annotations[partition] / paths.ANNOTATIONS if annotations is not None else None
        member = Member(folder / paths.COMPLETIONS, ratings)
        other = by_model.setdefault(member.model, partition)
        if other != partition:
            raise DataError(
                f"{other!r} and {partition!r} both hold {member.model!r}. Rename one member."
            )
        members.append(member)
    return sorted(members, key=lambda member: member.model)


def _in_step(completions: Path, annotations: Path) -> Iterator[tuple[Row, Row]]:
    """Read both files row by row, making sure that they speak of the same completions."""
    rated = _rows(annotations)
    for number, completion in enumerate(_rows(completions)):
        annotation = next(rated, None)
        key = (completion["prompt_id"], completion["model"])
        if annotation is None or (annotation["prompt_id"], annotation["model"]) != key:
            raise DataError(
                f"{annotations}: row {number} does not belong to the completion of {key[1]!r} for "
                f"prompt {key[0]!r}. Materialize annotations again."
            )
        score = annotation["overall_score"]
        if score is not None and not math.isfinite(score):
            raise DataError(
                f"{annotations}: row {number}, of prompt {key[0]!r} and model {key[1]!r}, has the "
                f"overall score {score}; allowed are finite numbers, or none. Materialize "
                "annotations again."
            )
        yield completion, annotation
    if next(rated, None) is not None:
        raise DataError(
            f"{annotations}: has more rows than {completions}. Materialize annotations again."
        )


def _unrated(completions: Path) -> Iterator[tuple[Row, Row]]:
    """Read completions that nobody has judged yet."""
    for completion in _rows(completions):
        yield completion, UNRATED


def _rows(path: Path) -> Iterator[Row]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({error}). Make it again.") from error
