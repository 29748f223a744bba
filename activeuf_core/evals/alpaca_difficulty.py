"""What is known of AlpacaEval's instructions beforehand: how hard each is, what length is worth.

In: a table of rows with `instruction_difficulty`, and `index` (the place in the benchmark, from 0)
or `instruction`. Rows that also have `preference` (in [0, 1]) and `std_delta_len` are the reference
model's own, told to be longer or shorter. AlpacaEval publishes such a file, `df_gamed.csv`.
Out: difficulties in the order of the benchmark's rows, and the second kind of rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activeuf_core.errors import DataError
from activeuf_core.evals.alpaca_winrate import Gamed
from activeuf_core.sources import SourceRow, iterate_source

DIFFICULTY, PREFERENCE, LENGTH = "instruction_difficulty", "preference", "std_delta_len"

Floats = NDArray[np.float64]


def read_difficulty(
    location: str, instructions: Sequence[str], gamed_weight: float
) -> tuple[Floats, Gamed | None]:
    """Return each instruction's difficulty, and the rows of the gamed reference if there are any.

    Args: gamed_weight: of all gamed rows of one instruction together.
    Raises: DataError when a column is missing or wrong, or an instruction has no difficulty.
    """
    places = {text: place for place, text in enumerate(instructions)}
    difficulty = np.full(len(instructions), np.nan)
    gamed: list[tuple[float, float, float]] = []
    for row in iterate_source(location):
        place = _place(row, places)
        if place is None or place >= len(instructions):
            continue  # of an instruction that is not scored
        difficulty[place] = _number(row, DIFFICULTY)
        if row.values.get(PREFERENCE) not in (None, "") and row.values.get(LENGTH) not in (
            None,
            "",
        ):
            gamed.append((_number(row, LENGTH), difficulty[place], _share(row)))
    _require_all(difficulty, instructions, location)
    if not gamed:
        return difficulty, None
    length, own, preference = np.array(gamed).T
    weight = gamed_weight * len(instructions) / len(gamed)
    return difficulty, Gamed(np.tanh(length), own, preference, weight)


def _place(row: SourceRow, places: Mapping[str, int]) -> int | None:
    values = row.values
    if values.get("instruction"):
        return places.get(str(values["instruction"]))
    if "index" not in values:
        raise DataError(
            f"{row.where}: has neither 'index' nor 'instruction'; it has "
            f"{', '.join(sorted(values)) or 'no columns'}."
        )
    number = _number(row, "index")
    if number < 0 or number != int(number):
        raise DataError(f"{row.where}: index is {number!r}; expected a whole number from 0 on.")
    return int(number)


def _number(row: SourceRow, column: str) -> float:
    value: Any = row.values.get(column)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{row.where}: column {column!r} holds {value!r}; expected a number.")
    return number


def _share(row: SourceRow) -> float:
    value = _number(row, PREFERENCE)
    if not 0.0 <= value <= 1.0:
        raise DataError(
            f"{row.where}: column {PREFERENCE!r} holds {value!r}; expected a probability. A "
            "preference from 1 to 2 less 1 is one."
        )
    return value


def _require_all(difficulty: Floats, instructions: Sequence[str], location: str) -> None:
    missing = np.flatnonzero(np.isnan(difficulty))
    if len(missing):
        raise DataError(
            f"{location}: {len(missing)} of {len(instructions)} instructions have no difficulty, "
            f"first number {missing[0]} ({instructions[missing[0]][:60]!r}). Name a table of these "
            "instructions, or none."
        )
