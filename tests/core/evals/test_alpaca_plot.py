"""The picture of preference against length: for many points, and for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from activeuf_core.evals.alpaca_plot import plot_lengths


@pytest.mark.parametrize("count", [1, 8, 805])
def test_any_number_of_points_is_a_small_picture(tmp_path: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    lengths = rng.normal(1000.0, 300.0, count)
    path = plot_lengths(tmp_path / "l.png", lengths, np.full(count, 900.0), rng.uniform(size=count))
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert path.stat().st_size < 25_000
