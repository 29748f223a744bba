"""Sample efficiency as a picture: scores against the annotations that were bought.

In: the content of leaderboard.json. Out: a PNG with one panel per mean; a line per acquisition
function (dataset, loss and all other settings being equal but the budget), a band where a point has
several seeds. A baseline, which bought nothing, is a dashed line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from activeuf_core.evals.benchmarks import BENCHMARKS
from activeuf_core.figures import GREY, draw
from activeuf_core.reporting.scores import MEAN_NAMES

COLOURS = (
    *("#3b6ea5", "#d98032", "#4c956c", "#a4508b", "#b3261e"),
    *("#6c5b7b", "#8d6e34", "#2a9d8f", "#5c5c5c", "#c06c84"),
)
MARKERS = "os^Dv*PX<>"
"""As many as there are colours: so many curves are drawn. Nobody has to tell them by colour."""
DASHES = ((0, (5, 3)), (0, (1, 2)), (0, (5, 2, 1, 2)), (0, (8, 3)))
Row = Mapping[str, Any]
Point = tuple[float, float, float]
"""Annotations, score, half the interval over the seeds (0 for one seed)."""


def plot_efficiency(path: Path, board: Mapping[str, Any]) -> None:
    """Draw the picture; of no points, one that says so."""
    found = curves(board["rows"])
    panels = panels_of(board)

    def paint(figure: Any) -> None:
        for number, column in enumerate(panels, start=1):
            axes = figure.add_subplot(1, len(panels), number)
            _paint_panel(axes, column, found, board["rows"])
        handles, labels = figure.axes[0].get_legend_handles_labels()
        for axes in figure.axes[1:]:
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
                if label not in labels:
                    handles, labels = [*handles, handle], [*labels, label]
        if labels:
            figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8)

    draw(path, paint, width=3.4 * max(len(panels), 1.6), height=3.6)


def panels_of(board: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the columns to draw: per kind of model its mean, or its only benchmark."""
    known = {column["name"]: column for column in board["columns"]}
    drawn: list[Mapping[str, Any]] = []
    for model, mean in MEAN_NAMES.items():
        counted = [row.name for row in BENCHMARKS if row.model == model and row.in_mean]
        names = [mean] if mean in known else [name for name in counted if name in known]
        drawn += [known[name] for name in names[:1]]
    return drawn or board["columns"][-1:]


def curves(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows of each curve by what it is called, the fewest annotations first."""
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        if row["annotations"] is not None and not row["baseline"]:
            grouped.setdefault(row["curve"], []).append(row)
    named: dict[str, list[Row]] = {}
    for members in grouped.values():
        label = members[0]["method"]
        label = f"{label}: {members[0]['name']}" if label in named else label
        named[label] = sorted(members, key=lambda row: row["annotations"])
    return named


def points(rows: Sequence[Row], column: str) -> list[Point]:
    """Return the points of a curve in one column; a row without that score has none."""
    return [
        (row["annotations"], cell["value"], cell["spread"] if cell["spread_kind"] == "t95" else 0.0)
        for row in rows
        if (cell := row["cells"][column])["value"] is not None
    ]


def _paint_panel(
    axes: Any, column: Mapping[str, Any], found: Mapping[str, list[Row]], rows: Sequence[Row]
) -> None:
    is_empty = True
    looks = zip(found.items(), COLOURS, MARKERS, strict=False)
    for (label, members), colour, marker in looks:
        drawn = points(members, column["name"])
        if not drawn:
            continue
        is_empty = False
        x, y, half = zip(*drawn, strict=True)
        axes.plot(x, y, marker=marker, markersize=5, linewidth=1.4, color=colour, label=label)
        low, high = ([v + sign * h for v, h in zip(y, half, strict=True)] for sign in (-1, 1))
        if len(drawn) > 1:
            axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        elif half[0]:
            axes.errorbar(x, y, yerr=half, color=colour, capsize=3)
    baselines = [row for row in rows if row["baseline"]]
    for row, dashes in zip(baselines, DASHES, strict=False):
        value = row["cells"][column["name"]]["value"]
        if value is not None:
            axes.axhline(value, color=GREY, linestyle=dashes, linewidth=1.2, label=row["name"])
    axes.set_title(column["title"], fontsize=10)
    axes.set_xlabel("annotations bought", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    if is_empty:
        axes.text(0.5, 0.5, "no points yet", ha="center", transform=axes.transAxes, fontsize=9)
