"""From the columns of a data set to one form.

In: rows as a source has them. Out: examples: question, answer, gold, rubric, reference,
target_score, chosen, rejected, source, and the source's id where it has one. A value that is not
there is None; a question or answer that must be there is '', which a check then finds. Line ends
and outer white space are made equal, so that a data set is the same from all of its sources. What
cannot be read is a DataError that names the place.
OpenRubrics (arXiv 2510.07743) has two forms: `instruction, rubric`, and in its second version also
`response_a, response_b, winner`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from activeuf_core.errors import DataError
from activeuf_core.preparation.config import CustomFormat, Format, Gsm8kFormat
from activeuf_core.rewards.answers import gold_of
from activeuf_core.sources import SourceRow, identifier

Example = dict[str, Any]
Normalise = Callable[[SourceRow], Example]

GSM8K_KNOWN = frozenset({"annotation", "short_answer"})
"""What TFDS adds; the hub and Kaggle do not have them."""
OPENRUBRICS_NEEDED = ("instruction", "rubric")
OPENRUBRICS_PAIR = ("response_a", "response_b", "winner")
OPENRUBRICS_KNOWN = frozenset({"source", "model_a", "model_b"})
WINNERS = {
    **dict.fromkeys(("a", "response_a", "model_a"), "a"),
    **dict.fromkeys(("b", "response_b", "model_b"), "b"),
}
ABSENT: Example = dict.fromkeys(
    (
        *("answer", "gold", "rubric", "reference", "target_score"),
        *("chosen", "rejected", "source", "given_id"),
    )
)


@dataclass(frozen=True)
class ColumnFaults:
    """What is wrong with a data set's columns."""

    missing: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether all is well."""
        return not (self.missing or self.unknown)


def column_faults(columns: Collection[str], form: Format) -> ColumnFaults:
    """Return the columns that a form needs and does not find, and those that it does not know.

    A custom form names what it reads, so there further columns are no fault.
    """
    needed = needed_columns(columns, form)
    missing = tuple(name for name in needed if name not in columns)
    if isinstance(form, CustomFormat):
        return ColumnFaults(missing, ())
    known = GSM8K_KNOWN if isinstance(form, Gsm8kFormat) else OPENRUBRICS_KNOWN
    allowed = {*needed, *known, *form.ignore_columns}
    return ColumnFaults(missing, tuple(sorted(set(columns) - allowed)))


def needed_columns(columns: Collection[str], form: Format) -> tuple[str, ...]:
    """Return the columns that rows are made of; a pair of OpenRubrics is whole or not at all."""
    if isinstance(form, Gsm8kFormat):
        return ("question", "answer")
    if isinstance(form, CustomFormat):
        return tuple(name for name in form.columns.model_dump().values() if name is not None)
    has_pair = any(name in columns for name in OPENRUBRICS_PAIR)
    return (*OPENRUBRICS_NEEDED, *(OPENRUBRICS_PAIR if has_pair else ()))


def normaliser(form: Format) -> Normalise:
    """Return what turns rows of a form into examples."""
    if isinstance(form, Gsm8kFormat):
        return _gsm8k
    if isinstance(form, CustomFormat):
        return lambda row: _custom(row, form)
    return _openrubrics


def _gsm8k(row: SourceRow) -> Example:
    answer = _required(row, "answer")
    question = _required(row, "question")
    gold = gold_of(answer) if "####" in answer else ""
    return {**ABSENT, "question": question, "answer": answer, "gold": gold}


def _openrubrics(row: SourceRow) -> Example:
    example = {
        **ABSENT,
        "question": _required(row, "instruction"),
        "rubric": _required(row, "rubric"),
        "source": _optional(row, "source"),
    }
    if not any(name in row.values for name in OPENRUBRICS_PAIR):
        return example
    responses = {side: _completion(row, f"response_{side}") for side in ("a", "b")}
    said = str(_value(row, "winner")).strip()
    winner = WINNERS.get(said.casefold())
    if winner is None:
        raise DataError(
            f"{row.where}: winner is {said!r}, expected A or B. Remove rows without a winner, or "
            "map the columns yourself (format.kind: custom)."
        )
    loser = "b" if winner == "a" else "a"
    return {**example, "chosen": responses[winner], "rejected": responses[loser]}


def _custom(row: SourceRow, form: CustomFormat) -> Example:
    named = form.columns
    texts = {
        field: read(row, column)
        for field, read in CUSTOM_READERS.items()
        if (column := getattr(named, field)) is not None
    }
    example = {**ABSENT, **texts}
    for field in ("reference", "source"):
        column = getattr(named, field)
        example[field] = _optional(row, column) if column is not None else None
    if "answer" in texts:
        example["gold"] = gold_of(texts["answer"])
    if named.target_score is not None:
        example["target_score"] = _number(row, named.target_score)
    if named.id is not None:
        example["given_id"] = identifier(_value(row, named.id), row.where, named.id)
    return example


def _value(row: SourceRow, column: str) -> Any:
    if column not in row.values:
        known = ", ".join(sorted(row.values))
        raise DataError(
            f"{row.where}: no column {column!r}; the row has: {known}. Correct the format, or name "
            "the columns yourself (format.kind: custom)."
        )
    return _present(row.values[column])


def _present(value: Any) -> Any:
    """Return a value, None for the NaN that tables hold where there is none."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _required(row: SourceRow, column: str) -> str:
    """Return a text, '' where there is none: a check finds it and shows where it stands."""
    value = _value(row, column)
    return "" if value is None else _text(value, row.where, column).strip()


def _completion(row: SourceRow, column: str) -> str:
    value = _value(row, column)
    return "" if value is None else _text(value, row.where, column)


def _optional(row: SourceRow, column: str) -> str | None:
    value = _present(row.values.get(column))
    return None if value is None else _text(value, row.where, column).strip() or None


def _text(value: Any, where: str, column: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise DataError(
            f"{where}: {column} is {value!r:.200}, expected a text or a number. Flatten the column."
        )
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).replace("\r\n", "\n")


def _number(row: SourceRow, column: str) -> float | None:
    value = _value(row, column)
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise DataError(f"{row.where}: {column} is {value!r:.200}, expected a number or nothing.")
    return number


CUSTOM_READERS: Mapping[str, Callable[[SourceRow, str], str]] = {
    "question": _required,
    "answer": _required,
    "rubric": _required,
    "chosen": _completion,
    "rejected": _completion,
}
"""How the columns are read that must have something in every row."""
