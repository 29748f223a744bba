"""The project as the graph sees it: the config folder, the store, and the launcher that was
chosen.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from activeuf_core.artifacts import ArtifactStore
from activeuf_core.catalog import Catalog
from activeuf_core.errors import ConfigError, choose_from
from activeuf_core.launchers.base import Launcher
from activeuf_core.launchers.local import LocalLauncher
from activeuf_core.launchers.slurm import SlurmLauncher
from activeuf_core.paths import PROJECT, Layout
from activeuf_core.recipes import RecipeBook
from activeuf_core.slurm.cluster import LocalCluster, SlurmCluster, read_cluster
from activeuf_core.slurm.scheduler import Scheduler
from activeuf_core.slurm.ssh import transport_of
from activeuf_core.slurm.transport import Transport

TRACKING_MODES = ("none", "offline", "online")


LOCAL = "local"


class Launchers(NamedTuple):
    """Where a run's jobs go: those of the cluster, and those beside the orchestrator."""

    cluster: Launcher
    orchestrator: Launcher


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

    def launchers(self, cluster: str = "") -> Launchers:
        """Return where jobs run: `cluster`, or else `$ACTIVEUF_CLUSTER`, or else this machine.

        Args: cluster: name of a file in `configs/clusters/`, or a path. Raises: ConfigError.
        """
        name = cluster or os.environ.get("ACTIVEUF_CLUSTER") or LOCAL
        chosen = self.cluster(name)
        here = chosen if isinstance(chosen, LocalCluster) else self._this_machine()
        local = LocalLauncher(self.layout, here.slots, here.stages)
        if isinstance(chosen, LocalCluster):
            return Launchers(local, local)
        slurm = SlurmLauncher(self.layout, chosen, Path(name).stem, self.transport(chosen))
        return Launchers(slurm, local)

    def transport(self, cluster: SlurmCluster) -> Transport:
        """Return the way to a cluster."""
        return transport_of(self.layout, cluster)

    def scheduler(self, name: str) -> Scheduler:
        """Return the commands of a cluster. Raises: ConfigError."""
        chosen = self.cluster(name)
        if isinstance(chosen, LocalCluster):
            raise ConfigError(f"{name} has no scheduler: its launcher is this machine.")
        return Scheduler(self.transport(chosen), chosen.call_timeout_s)

    def cluster(self, name: str) -> LocalCluster | SlurmCluster:
        """Read a cluster file by its name or path. Raises: ConfigError."""
        folder = self.configs / "clusters"
        path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
        if not path.exists():
            if name == LOCAL:
                return LocalCluster()
            known = choose_from(name, [found.stem for found in folder.glob("*.yaml")])
            raise ConfigError(
                f"{path}: there is no such cluster file; {known}. Docs: docs/slurm.md."
            )
        return read_cluster(path)

    def _this_machine(self) -> LocalCluster:
        found = self.cluster(LOCAL)
        return found if isinstance(found, LocalCluster) else LocalCluster()

    def runtime(self) -> dict[str, Any]:
        """Return what stages are told that is no part of a recipe."""
        folder = str(self.layout.tracking)
        tracking = {"mode": tracking_mode(), "folder": folder, **_tracking_names()}
        return {"tracking": tracking, "judgements": str(self.layout.judgements)}


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
