"""The study's pictures.

In: runs by function. Out: PNGs in the look of the project's other pictures.
Shapes: G grid points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from activeuf_core import figures
from studies.acquisition_functions.runs import Run
from studies.acquisition_functions.statistics import curve, curve_above_length, grid

PICTURES = {
    "curves_fresh.png": "Accuracy of a freshly fitted model against annotations",
    "curves_enn.png": "Accuracy of the loop's ensemble against annotations",
    "judge_calls.png": "Accuracy of a freshly fitted model against judge calls",
    "quality.png": "Mean score of chosen and rejected",
}
PANELS = (
    ("random", "ultrafeedback", "maxmin", "deltaqwen"),
    ("random", "dts", "infogain", "infomax"),
    ("random", "rucb", "maxminlcb", "ids"),
    ("random", "drts", "deltaucb", "deltaquantile"),
)
"""A panel each; `random`, in black, is in all."""
STYLES = (
    ("black", "-"),
    (figures.BLUE, "-"),
    (figures.ORANGE, (0, (5, 1))),
    ("#c2188f", (0, (3, 1, 1, 1))),
)
"""Colour and dashes of a panel's functions, far apart, as a picture's palette is small."""

LEVEL = "#707070"
"""Levels to compare with."""
CALLS_SHOWN = {
    "random": "black",
    "ultrafeedback": figures.BLUE,
    "maxmin": figures.ORANGE,
    "deltaqwen": "#4f9a57",
    "drts": "#a04f8c",
    "deltaucb": "#3aa0a0",
    "infomax": figures.GREY,
}
LOWEST_SHOWN = 0.08
"""Accuracy below that of the longer completion at which a curve leaves the picture."""

ROOM_FOR_LEGEND = 0.25
"""Of a panel's height, above the curves."""

Groups = Mapping[str, Sequence[Run]]


def draw_all(folder: Path, groups: Groups, ceiling: float) -> None:
    """Draw all pictures of `PICTURES`."""
    length = float(np.mean([run.length_accuracy for runs in groups.values() for run in runs]))
    for kind in ("fresh", "enn"):
        figures.draw(
            folder / f"curves_{kind}.png",
            lambda figure, kind=kind: _curves(figure, groups, f"{kind}_accuracy", length, ceiling),
            width=9.0,
            height=6.0,
        )
    figures.draw(
        folder / "judge_calls.png", lambda figure: _calls(figure, groups, length), 7.0, 4.0
    )
    figures.draw(folder / "quality.png", lambda figure: _quality(figure, groups), 7.0, 4.0)


def _curves(figure: Any, groups: Groups, name: str, length: float, ceiling: float) -> None:
    panels = figure.subplots(2, 2, sharex=True, sharey=True).ravel()
    for axes, functions in zip(panels, PANELS, strict=True):
        for function, style in zip(functions, STYLES, strict=True):
            if function in groups:
                _band(axes, groups[function], name, style, function, length)
        axes.axhline(length, color=LEVEL, linestyle="--", linewidth=1.0, label="longer wins")
        if np.isfinite(ceiling) and name == "fresh_accuracy":
            axes.axhline(ceiling, color=LEVEL, linestyle=":", linewidth=1.0, label="ceiling")
        _plain(axes)
        axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=3)
    low, high = _range(groups, name, length, ceiling)
    panels[0].set_ylim(low, high + ROOM_FOR_LEGEND * (high - low))
    for axes in panels[2:]:
        axes.set_xlabel("annotations", fontsize=9)
    for axes in panels[::2]:
        axes.set_ylabel("pair accuracy on held-out prompts", fontsize=9)


def _band(axes: Any, runs: Sequence[Run], name: str, style: Any, label: str, length: float) -> None:
    """Draw a curve with its interval, from which the splits' own difficulty is taken out."""
    at_G = grid(runs)
    above = curve_above_length(runs, name, at_G)
    mean_G = length + above.mean_G
    colour, dashes = style
    axes.plot(at_G, mean_G, color=colour, linestyle=dashes, label=label, linewidth=1.5)
    # Without soft edges, or mixed colours crowd the lines' own out of the picture's palette.
    axes.fill_between(
        at_G,
        mean_G - above.half_G,
        mean_G + above.half_G,
        color=colour,
        alpha=0.12,
        linewidth=0,
        antialiased=False,
    )


def _range(groups: Groups, name: str, length: float, ceiling: float) -> tuple[float, float]:
    """Return limits that hold the upper curves: one that fails would press the others flat."""
    levels = [curve(runs, name, grid(runs)).mean_G for runs in groups.values()]
    upper = [level_G for level_G in levels if level_G[-1] > length - LOWEST_SHOWN]
    shown = np.concatenate([*upper, [length], [ceiling] if np.isfinite(ceiling) else []])
    return max(float(shown.min()), length - LOWEST_SHOWN) - 0.005, float(shown.max()) + 0.01


def _calls(figure: Any, groups: Groups, length: float) -> None:
    axes = figure.add_subplot()
    for function, colour in CALLS_SHOWN.items():
        if function in groups:
            at_G = grid(groups[function])
            calls_G = curve(groups[function], "judgements", at_G).mean_G
            level_G = curve(groups[function], "fresh_accuracy", at_G).mean_G
            axes.plot(calls_G, level_G, "o-", markersize=2.5, color=colour, label=function)
    axes.axhline(length, color=LEVEL, linestyle="--", linewidth=1.0, label="longer wins")
    axes.set_ylim(*_range(groups, "fresh_accuracy", length, np.nan))
    axes.set_xscale("log")
    axes.set_xlabel("judge calls; functions not shown cost what random does", fontsize=9)
    axes.set_ylabel("pair accuracy on held-out prompts", fontsize=9)
    _plain(axes)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _quality(figure: Any, groups: Groups) -> None:
    axes = figure.add_subplot()
    gap = {
        name: np.mean([r.mean_chosen - r.mean_rejected for r in rs]) for name, rs in groups.items()
    }
    names = sorted(groups, key=lambda name: gap[name])
    for place, name in enumerate(names):
        chosen = float(np.mean([run.mean_chosen for run in groups[name]]))
        rejected = float(np.mean([run.mean_rejected for run in groups[name]]))
        axes.plot([rejected, chosen], [place, place], color=figures.GREY, linewidth=1.2)
        axes.plot([chosen], [place], "o", color=figures.BLUE, label="" if place else "chosen")
        axes.plot([rejected], [place], "o", color=figures.ORANGE, label="" if place else "rejected")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("mean score (log-odds over the reference)", fontsize=9)
    _plain(axes)
    axes.legend(frameon=False, fontsize=8)


def _plain(axes: Any) -> None:
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
