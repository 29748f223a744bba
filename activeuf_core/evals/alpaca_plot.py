"""A picture of how much of a preference is length: one point per instruction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from activeuf_core.evals.alpaca_winrate import Floats
from activeuf_core.figures import BLUE, GREY, ORANGE, draw

BINS, PER_BIN = 8, 5
"""A mean is drawn of so many points at least."""


def plot_lengths(
    path: Path, lengths: Floats, reference_lengths: Floats, preferences: Floats
) -> Path:
    """Draw preferences over length differences, with the means of up to eight parts of them."""

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        difference = lengths - reference_lengths
        axes.scatter(difference, preferences, s=9, color=BLUE, linewidths=0)
        bins = min(BINS, len(difference) // PER_BIN)
        if bins > 1:
            parts = np.array_split(np.argsort(difference), bins)
            means = [(difference[part].mean(), preferences[part].mean()) for part in parts]
            axes.plot(*np.array(means).T, color=ORANGE, label="mean")
            axes.legend(frameon=False, fontsize=8)
        axes.axvline(0.0, color=GREY, linewidth=0.8)
        axes.axhline(0.5, color=GREY, linewidth=0.8)
        axes.set_ylim(-0.03, 1.03)
        axes.set_title("Preference for the policy, by length", fontsize=10)
        axes.set_ylabel("preference", fontsize=9)
        axes.set_xlabel("characters more than the reference", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)

    return draw(path, paint)
