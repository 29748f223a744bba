"""Figures: readable pictures that stay small."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from activeuf_core.figures import histogram

MAX_BYTES = 25_000


@pytest.mark.parametrize("values", [[], [3.0], [1.0, 10.0, 100.0, 0.0]])
def test_histogram_of_any_number_of_values(tmp_path: Path, values: list[float]) -> None:
    path = histogram(tmp_path / "h.png", values, "title", "unit", log_scale=True)
    with Image.open(path) as image:
        assert image.width > image.height > 100
    assert path.stat().st_size < MAX_BYTES
