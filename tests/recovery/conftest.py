"""A project that was brought up to date once, by real jobs; every scenario begins with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.recovery.world import World
from tests.slurm.conftest import cluster, slurm_installed  # noqa: F401  (fixtures)
from tests.slurm.rig import Rig
from tests.slurm.sandbox import SandboxCluster


@pytest.fixture(scope="session")
def grown(tmp_path_factory: pytest.TempPathFactory, cluster: SandboxCluster) -> World:  # noqa: F811
    """The project, all of it made and recorded."""
    folder = tmp_path_factory.mktemp("recovery") / "world"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        rig = Rig(folder, cluster)
        use(rig, patch)
        world = World(folder, rig)
        done = world.materialize()
        assert done.exit_code == 0, done.output
        world.remember()
    return world


@pytest.fixture
def world(grown: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The project, up to date, for one test to spoil."""
    grown.restore()
    use(grown.rig, monkeypatch)
    yield grown
    try:
        grown.rig.close()
    finally:
        grown.rig.orchestrators.clear()


def use(rig: Rig, patch: pytest.MonkeyPatch) -> None:
    """Let this process use a project and its cluster."""
    rig.cluster.use(patch)
    for name, value in rig.variables.items():
        patch.setenv(name, value)
