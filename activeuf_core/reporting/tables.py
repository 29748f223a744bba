"""The leaderboard as text for a terminal and as Markdown.

In: the content of leaderboard.json. Out: texts. Pure functions.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from activeuf_core.stand_ins import LEFT_OUT

NO_VALUE = "–"
BASELINE_MARK = " (baseline)"
CELL_WIDTH = 12


def render_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a plain table for a terminal: values and deltas; names of columns on several lines.

    Args: rows: the `rows` of leaderboard.json.
    """
    if not rows:
        return "No experiments.\n"
    titles = [_broken(cell["title"]) for cell in rows[0]["cells"].values()]
    depth = max(map(len, titles))
    heads = [
        ["", *(title[line] for title in (_filled(t, depth) for t in titles))]
        for line in range(depth)
    ]
    heads[-1][0] = "experiment"
    body = [[row_name(row), *(_short(cell) for cell in row["cells"].values())] for row in rows]
    widths = [max(map(len, column)) for column in zip(*heads, *body, strict=True)]
    lines = [*heads, ["-" * width for width in widths], *body]
    return "".join(_line(line, widths) + "\n" for line in lines)


def render_markdown(board: Mapping[str, Any]) -> str:
    """Return the leaderboard as a Markdown table with its notes."""
    head = ["experiment", *(column["title"] for column in board["columns"])]
    lines = [_piped(head), _piped(["---", *["---:"] * len(board["columns"])])]
    for row in board["rows"]:
        name = f"**{row['name']}**" if row["is_baseline"] else row["name"]
        name += marks(row)
        lines.append(_piped([name, *(_plain(cell) for cell in row["cells"].values())]))
    return "\n".join([*lines, "", *(f"- {note}" for note in all_notes(board))]) + "\n"


def all_notes(board: Mapping[str, Any]) -> list[str]:
    """Return what stands below the table: the baseline, the signs, and the board's own notes."""
    named = board["baseline"]
    deltas = [f"Deltas are to the row of {named}."] if named else []
    return [*deltas, f"{NO_VALUE}: no score.", *board["notes"]]


def row_name(row: Mapping[str, Any]) -> str:
    """Return the name of a row, with what it is if it is no experiment."""
    return row["name"] + marks(row)


def marks(row: Mapping[str, Any]) -> str:
    """Return what stands behind a row's name: what kind of baseline it is, and whether it is the
    one that deltas are to.
    """
    kind = row["baseline"] and not row["name"].endswith(row["baseline"])
    return (f" ({row['baseline']})" if kind else "") + (BASELINE_MARK if row["is_baseline"] else "")


def no_value(cell: Mapping[str, Any]) -> str:
    """Return what stands where there is no score: that it is missing, or left out."""
    return LEFT_OUT if cell["state"] == LEFT_OUT else NO_VALUE


def _plain(cell: Mapping[str, Any]) -> str:
    """Return a cell on one line: value, spread, delta."""
    if cell["value"] is None:
        return no_value(cell)
    spread = f" ± {cell['spread']:.3f}" if cell["spread_kind"] else ""
    delta = f" ({cell['delta']:+.3f})" if cell["delta"] is not None else ""
    return f"{cell['value']:.3f}{spread}{delta}"


def _short(cell: Mapping[str, Any]) -> str:
    """Return value and delta: what a terminal has room for."""
    if cell["value"] is None:
        return no_value(cell)
    delta = f" {cell['delta']:+.3f}" if cell["delta"] is not None else ""
    return f"{cell['value']:.3f}{delta}"


def _broken(title: str) -> list[str]:
    """Break a column's name into lines of about a cell's width."""
    fits = len(title) <= CELL_WIDTH
    return [title] if fits else textwrap.wrap(title.replace("/", "/ "), CELL_WIDTH)


def _filled(lines: list[str], depth: int) -> list[str]:
    """Put empty lines above, so that all names end on the last line."""
    return [""] * (depth - len(lines)) + lines


def _line(cells: Iterable[str], widths: Sequence[int]) -> str:
    """Align a line: the first cell left, numbers right."""
    first, *rest = cells
    numbers = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
    return "  ".join([first.ljust(widths[0]), *numbers]).rstrip()


def _piped(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
