"""What is known of AlpacaEval's instructions beforehand: how hard each is, what length is worth.

In: a table of rows with `instruction_difficulty`, and `index` (the place in the benchmark, from 0)
or `instruction`. Rows that also have `preference` (in [0, 1]) and `std_delta_len` are the reference
model's own, told to be longer or shorter. AlpacaEval publishes such a file, `df_gamed.csv`.
Out: difficulties in the order of the benchmark's rows, and the second kind of rows.
A table for a judge of one's own is fitted to the scores of several policies, the more the better:
`python -m activeuf_core.evals.alpaca_difficulty FOLDER… --out FILE.jsonl`, each folder an artifact
of `alpaca_eval_score`, all of one judge and one reference; scores that were left out or published
have no preferences, and are passed over. Cost: 0.9 s for 46 policies.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from activeuf_core.artifacts import read_json, write_json
from activeuf_core.errors import ActiveUFError, DataError
from activeuf_core.evals.alpaca_winrate import Gamed, fit_difficulty, tanh_length
from activeuf_core.paths import PREDICTIONS, SCORE
from activeuf_core.sources import SourceRow, iterate_source
from activeuf_core.stand_ins import kind_of_score

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


def write_known(path: Path, known: tuple[Floats, Gamed | None]) -> None:
    """Write what a score knew of its instructions, so that it can be computed again."""
    difficulty, gamed = known
    rows = None if gamed is None else asdict(gamed)
    plain = rows and {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in rows.items()}
    write_json(path, {"difficulty": difficulty.tolist(), "gamed": plain})


def read_known(path: Path) -> tuple[Floats, Gamed | None]:
    """Return what `write_known` wrote, to the bit."""
    found = read_json(path)
    gamed = found["gamed"] and Gamed(
        *(np.array(found["gamed"][name]) for name in ("tanh_length", "difficulty", "preference")),
        weight=found["gamed"]["weight"],
    )
    return np.array(found["difficulty"]), gamed


def fit_table(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the rows of a table of difficulties, fitted to the scores of several policies.

    Raises: DataError for fewer than two, or scores of different judges, references or instructions.
    """
    if len(folders) < 2:
        raise DataError("difficulties are fitted to the scores of at least two policies.")
    told = {json.dumps(_told(folder), sort_keys=True) for folder in folders}
    if len(told) > 1:
        raise DataError(
            f"the {len(folders)} scores are of {len(told)} different judges, references or data. "
            "Name scores that differ in their policy alone."
        )
    scored = [_predictions(folder) for folder in folders]
    prompts = [[one["prompt_sha256"] for one in predictions] for predictions in scored]
    if any(found != prompts[0] for found in prompts):
        raise DataError("the scores are of different instructions. Score the same rows.")
    preference_MN = np.array([[p["correct"] for p in row] for row in scored], dtype=np.float64)
    length_MN = np.stack([_lengths(row) for row in scored])
    difficulty = fit_difficulty(preference_MN, length_MN)
    return [{"index": i, DIFFICULTY: value} for i, value in enumerate(difficulty.tolist())]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table that the command line asks for."""
    parser = argparse.ArgumentParser(description="Fit the difficulty of AlpacaEval's instructions.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--out", required=True, type=Path, help="the table, one row per line")
    given = parser.parse_args(arguments)
    try:
        rows = fit_table([folder for folder in given.folders if not _is_stand_in(folder)])
    except ActiveUFError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    given.out.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return 0


def _is_stand_in(folder: Path) -> bool:
    return (folder / SCORE).is_file() and bool(kind_of_score(read_json(folder / SCORE)))


def _told(folder: Path) -> list[Any]:
    """Return what must be equal between scores. Raises: DataError for a folder without one."""
    missing = [name for name in (SCORE, PREDICTIONS) if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{folder}: no score artifact: {', '.join(missing)} missing. Name folders below "
            "artifacts/alpaca_eval_score."
        )
    record = read_json(folder / SCORE)
    settings = record["settings"]
    return [settings["judge"], settings["reference"], record["data"]["identity"]]


def _predictions(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / PREDICTIONS).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _lengths(predictions: Sequence[Mapping[str, Any]]) -> Floats:
    columns = ([p["extra"][key] for p in predictions] for key in ("length", "reference_length"))
    lengths, reference_lengths = (np.array(column, dtype=np.float64) for column in columns)
    return tanh_length(lengths, reference_lengths)


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


if __name__ == "__main__":
    sys.exit(main())
