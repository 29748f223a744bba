"""A picture of how much of a preference is length: one point per instruction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from activeuf_core.evals.alpaca_winrate import Floats
from activeuf_core.figures import BLUE, GREY, ORANGE, draw

BINS = 8


def plot_lengths(
    path: Path, lengths: Floats, reference_lengths: Floats, preferences: Floats
) -> Path:
    """Draw preferences over length differences, with the mean of every eighth of the points."""

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        difference = lengths - reference_lengths
        axes.scatter(difference, preferences, s=6, color=BLUE, alpha=0.5, linewidths=0)
        parts = [part for part in np.array_split(np.argsort(difference), BINS) if len(part)]
        axes.plot(
            [difference[part].mean() for part in parts],
            [preferences[part].mean() for part in parts],
            color=ORANGE,
            label="mean",
        )
        axes.axvline(0.0, color=GREY, linewidth=0.8)
        axes.axhline(0.5, color=GREY, linewidth=0.8)
        axes.set_ylim(-0.03, 1.03)
        axes.set_title("Preference for the policy, by length", fontsize=10)
        axes.set_xlabel("characters more than the reference", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)

    return draw(path, paint)
