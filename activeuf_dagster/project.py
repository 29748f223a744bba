"""The project as the graph sees it: the config folder, the store, and the launcher that was
chosen.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from activeuf_core.artifacts import ArtifactStore
from activeuf_core.catalog import Catalog
from activeuf_core.config import StrictModel, parse, read_yaml
from activeuf_core.errors import ConfigError, choose_from
from activeuf_core.launchers.local import LocalLauncher
from activeuf_core.paths import PROJECT, Layout
from activeuf_core.recipes import RecipeBook

TRACKING_MODES = ("none", "offline", "online")


class LocalCluster(StrictModel):
    """Content of `configs/clusters/local.yaml`: how this machine runs jobs."""

    slots: int | None = Field(default=None, ge=1)
    """Heavy stages that run at a time; null: one per core."""


@dataclass(frozen=True)
class Project:
    """Everything that a run needs besides Dagster."""

    configs: Path
    layout: Layout
    catalog: Catalog

    @classmethod
    def load(cls) -> Project:
        """Load the project from `$ACTIVEUF_CONFIGS` (default: `configs/`) and `$ACTIVEUF_HOME`.

        Raises: ConfigError, for the first wrong file.
        """
        configs = Path(os.environ.get("ACTIVEUF_CONFIGS") or PROJECT / "configs").absolute()
        layout = Layout.default()
        return cls(configs, layout, Catalog.load(configs, layout))

    def book(self) -> RecipeBook:
        """Return a fresh book of recipes over the store."""
        return RecipeBook(self.catalog, ArtifactStore(self.layout))

    def launcher(self) -> LocalLauncher:
        """Return a launcher for this machine."""
        path = self.configs / "clusters" / "local.yaml"
        cluster = parse(LocalCluster, read_yaml(path), path) if path.exists() else LocalCluster()
        return LocalLauncher(self.layout, cluster.slots)

    def runtime(self) -> dict[str, Any]:
        """Return what stages are told that is no part of a recipe."""
        folder = str(self.layout.tracking)
        return {"tracking": {"mode": tracking_mode(), "folder": folder, **_tracking_names()}}


def tracking_mode() -> str:
    """Return how W&B is used: `$ACTIVEUF_TRACKING`, else online when a key is in the environment,
    else offline.

    Raises: ConfigError for another value.
    """
    default = "online" if os.environ.get("WANDB_API_KEY") else "offline"
    mode = os.environ.get("ACTIVEUF_TRACKING", default)
    if mode not in TRACKING_MODES:
        raise ConfigError(f"ACTIVEUF_TRACKING is {mode!r}; {choose_from(mode, TRACKING_MODES)}.")
    return mode


def _tracking_names() -> dict[str, str]:
    return {
        "project": os.environ.get("WANDB_PROJECT", "activeuf"),
        "entity": os.environ.get("WANDB_ENTITY", ""),
    }
