"""Differences from the baseline's row, and why there is none where numbers do not compare.

In: the rows of a leaderboard. Out: every cell's `delta`, whether that `is_better`, and notes. Two
scores compare when they bear the same name and are of the same rows (published scores do not tell
their rows: the name decides). Two means compare when they are over the same benchmarks, and those
compare. Pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from activeuf_core.evals.benchmarks import BENCHMARKS

LOWER_IS_BETTER = frozenset(row.name for row in BENCHMARKS if not row.higher_is_better)
Row = dict[str, Any]
Cell = Mapping[str, Any]


def add_deltas(rows: Sequence[Row], baseline: str | None) -> list[str]:
    """Give every cell its difference from the row that the baseline is in, None without one.

    Returns: which differences are not given although both numbers are there, as notes.
    """
    base = next((row for row in rows if baseline in row["experiments"]), None)
    kept_back: dict[str, list[str]] = {}
    for row in rows:
        row["is_baseline"] = row is base
        for name, cell in row["cells"].items():
            cell["delta"] = cell["is_better"] = None
            if base is None or row is base or None in (cell["value"], base["cells"][name]["value"]):
                continue
            if compares(row["cells"], base["cells"], name):
                delta = cell["delta"] = cell["value"] - base["cells"][name]["value"]
                cell["is_better"] = (delta < 0) == (name in LOWER_IS_BETTER) if delta else None
            else:
                kept_back.setdefault(row["name"], []).append(cell["title"])
    return [
        f"{name}: no delta of {', '.join(titles)}, which the baseline has on other rows or "
        "benchmarks."
        for name, titles in kept_back.items()
    ]


def compares(cells: Mapping[str, Cell], base: Mapping[str, Cell], name: str) -> bool:
    """Whether a cell of one row can be compared with the same one of another."""
    ours, theirs = cells[name], base[name]
    if ours["over"] != theirs["over"]:
        return False
    if ours["over"]:
        return all(compares(cells, base, part) for part in ours["over"] if part in cells)
    is_told = bool(ours["data"] and theirs["data"])
    return ours["called"] == theirs["called"] and (not is_told or ours["data"] == theirs["data"])
