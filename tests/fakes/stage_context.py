"""A stage context on a temporary folder, as a fixture for the rooms' tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.jobs import Unit
from activeuf_core.paths import UnitFolder
from activeuf_core.stage import StageContext

MakeContext = Callable[..., StageContext]


@pytest.fixture
def make_context(tmp_path: Path) -> MakeContext:
    """Return a maker of contexts; `inputs` maps asset → partition → folder.

    Two contexts of one asset share their checkpoints, as two attempts at one artifact do.
    """

    def make(
        asset: str,
        config: Mapping[str, Any],
        inputs: Mapping[str, Mapping[str, Path]] | None = None,
        locations: Mapping[str, Path] | None = None,
    ) -> StageContext:
        folders = {
            name: {key: str(folder) for key, folder in parts.items()}
            for name, parts in (inputs or {}).items()
        }
        places = {name: str(place) for name, place in (locations or {}).items()}
        unit = Unit(asset, "test", "", "", 0, config, folders, {}, places)
        folder = UnitFolder(tmp_path / f"{asset}-run")
        folder.output.mkdir(parents=True, exist_ok=True)
        checkpoints = tmp_path / f"{asset}-checkpoints"
        checkpoints.mkdir(exist_ok=True)
        return StageContext(unit, folder, checkpoints)

    return make


def passed(context: StageContext) -> dict[str, bool]:
    """Return which check of a stage passed."""
    return {check["name"]: check["passed"] for check in context.checks}
