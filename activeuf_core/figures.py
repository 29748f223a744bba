"""The look of every picture that a stage leaves: drawn without a display, small enough for a page.

In: numbers. Out: a PNG of at most about 25 kB. matplotlib is imported inside the functions.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

DPI = 90
COLOURS = 48
"""Colours of the PNG's palette: a plot has few, and a palette makes it a third of the size."""

BLUE = "#3b6ea5"
ORANGE = "#d98032"
GREY = "#8a8a8a"


def draw(path: Path, paint: Callable[[Any], None], width: float = 6.0, height: float = 3.0) -> Path:
    """Write a picture.

    Args: paint: gets an empty matplotlib Figure and draws on it. width, height: in inches, at 90
    dots per inch.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    paint(figure)
    raw = io.BytesIO()
    figure.savefig(raw, format="png")
    with Image.open(raw) as image:
        image.convert("RGB").quantize(COLOURS).save(path, format="png", optimize=True)
    return path


def histogram(
    path: Path, values: Sequence[float], title: str, label: str, *, log_scale: bool = False
) -> Path:
    """Write a histogram with the median marked; of no values, a picture that says so."""
    shown = np.asarray(values, dtype=np.float64)
    shown = np.maximum(shown, 1.0) if log_scale else shown

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(label, fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        if not shown.size:
            axes.text(0.5, 0.5, "nothing to show", ha="center", transform=axes.transAxes)
            return
        axes.hist(shown, bins=_edges(shown, log_scale), color=BLUE)
        axes.axvline(float(np.median(shown)), color=ORANGE, label=f"median {np.median(shown):.4g}")
        axes.set_xscale("log" if log_scale else "linear")
        axes.legend(frameon=False, fontsize=8)

    return draw(path, paint)


def _edges(values: np.ndarray, log_scale: bool, count: int = 40) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if low == high:
        return np.array([low - 0.5, low + 0.5])
    return np.geomspace(low, high, count + 1) if log_scale else np.linspace(low, high, count + 1)
