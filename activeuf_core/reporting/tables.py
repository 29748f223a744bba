"""The leaderboard as text for a terminal and as Markdown.

In: the content of leaderboard.json. Out: texts. Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NO_VALUE = "–"
BASELINE_MARK = " (baseline)"


def render_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a plain table for a terminal. Args: rows: the `rows` of leaderboard.json."""
    if not rows:
        return "No experiments.\n"
    head = ["experiment", *(cell["title"] for cell in rows[0]["cells"].values())]
    body = [[row_name(row), *(_plain(cell) for cell in row["cells"].values())] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    lines = [head, ["-" * width for width in widths], *body]
    return "".join(_line(line, widths) + "\n" for line in lines)


def render_markdown(board: Mapping[str, Any]) -> str:
    """Return the leaderboard as a Markdown table with its notes."""
    head = ["experiment", *(column["title"] for column in board["columns"])]
    lines = [_piped(head), _piped(["---", *["---:"] * len(board["columns"])])]
    for row in board["rows"]:
        name = f"**{row['name']}**{BASELINE_MARK}" if row["is_baseline"] else row["name"]
        lines.append(_piped([name, *(_plain(cell) for cell in row["cells"].values())]))
    return "\n".join([*lines, "", *(f"- {note}" for note in all_notes(board))]) + "\n"


def all_notes(board: Mapping[str, Any]) -> list[str]:
    """Return what stands below the table: the baseline, the signs, and the board's own notes."""
    named = board["baseline"]
    deltas = (
        [f"Deltas are to {named}."] if named else ["No baseline is named, so there are no deltas."]
    )
    return [*deltas, f"{NO_VALUE}: no score.", *board["notes"]]


def row_name(row: Mapping[str, Any]) -> str:
    """Return the name of a row, the baseline marked."""
    return row["name"] + (BASELINE_MARK if row["is_baseline"] else "")


def _plain(cell: Mapping[str, Any]) -> str:
    """Return a cell on one line: value, spread, delta."""
    if cell["value"] is None:
        return NO_VALUE
    spread = f" ± {cell['spread']:.3f}" if cell["spread_kind"] else ""
    delta = f" ({cell['delta']:+.3f})" if cell["delta"] is not None else ""
    return f"{cell['value']:.3f}{spread}{delta}"


def _line(cells: Iterable[str], widths: Sequence[int]) -> str:
    """Align a line: the first cell left, numbers right."""
    first, *rest = cells
    numbers = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
    return "  ".join([first.ljust(widths[0]), *numbers]).rstrip()


def _piped(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
