"""The leaderboard as a picture: experiments × benchmarks.

In: the content of leaderboard.json. Out: a PNG. Colours compare within a column only: benchmarks
differ in difficulty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from activeuf_core.figures import draw
from activeuf_core.reporting.tables import no_value, row_name

MOST_ROWS = 30


def plot_heatmap(path: Path, board: Mapping[str, Any]) -> None:
    """Draw the first 30 rows; a cell without a score stays empty."""
    rows, columns = board["rows"][:MOST_ROWS], board["columns"]
    values = [[row["cells"][column["name"]]["value"] for column in columns] for row in rows]
    shades = [shades_of(column) for column in zip(*values, strict=True)]

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        picture = [list(row) for row in zip(*shades, strict=True)] or [[math.nan] * len(columns)]
        axes.imshow(picture, cmap="Blues", vmin=-0.3, vmax=2.4, aspect="auto")
        for y, line in enumerate(values):
            for x, value in enumerate(line):
                cell = rows[y]["cells"][columns[x]["name"]]
                text = no_value(cell) if value is None else f"{value:.3f}"
                size = 8 if len(text) <= len("0.000") else 6
                axes.text(x, y, text, ha="center", va="center", fontsize=size)
        titles = [column["title"].replace("/", "/\n").replace(" ", "\n", 1) for column in columns]
        axes.set_xticks(range(len(columns)), titles, fontsize=7)
        axes.set_yticks(range(len(rows)), [row_name(row) for row in rows], fontsize=8)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    longest = max((len(row_name(row)) for row in rows), default=0)
    width = 0.8 + 0.065 * longest + 0.8 * len(columns)
    draw(path, paint, width=width, height=1.0 + 0.3 * max(len(rows), 1))


def shades_of(column: Sequence[float | None]) -> list[float]:
    """Return a shade in [0, 1] per value, the column's best being 1; NaN where there is none."""
    known = [value for value in column if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    width = (high - low) or 1.0
    return [
        math.nan if value is None else (value - low) / width if high > low else 0.5
        for value in column
    ]
