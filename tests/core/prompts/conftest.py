"""A stage context on a temporary folder."""

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
    """Return a maker of contexts; `inputs` maps asset → partition → folder."""

    def make(
        asset: str,
        config: Mapping[str, Any],
        inputs: Mapping[str, Mapping[str, Path]] | None = None,
        locations: Mapping[str, Path] | None = None,
    ) -> StageContext:
        folders = {
            name: {k: str(v) for k, v in parts.items()} for name, parts in (inputs or {}).items()
        }
        places = {name: str(place) for name, place in (locations or {}).items()}
        unit = Unit(asset, "test", "", "", 0, config, folders, {}, places)
        folder = UnitFolder(tmp_path / f"{asset}-run")
        folder.output.mkdir(parents=True, exist_ok=True)
        checkpoints = tmp_path / f"{asset}-checkpoints"
        checkpoints.mkdir(exist_ok=True)
        return StageContext(unit, folder, checkpoints)

    return make
