"""A private SLURM cluster: one for the session, or one of its own for a test that breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.rig import Rig
from tests.slurm.sandbox import SandboxCluster, require_slurm, wipe_leftovers


@pytest.fixture(scope="session")
def slurm_installed() -> None:
    """Skip where SLURM cannot be had, and end clusters that a killed session left."""
    require_slurm()
    wipe_leftovers()


@pytest.fixture(scope="session")
def cluster(slurm_installed: None) -> Iterator[SandboxCluster]:
    """The session's cluster, 3 nodes of 8 CPUs and 4 GPUs; use it, do not break it."""
    cluster = SandboxCluster(nodes=3)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def own_cluster(slurm_installed: None) -> Iterator[SandboxCluster]:
    """A cluster of 2 nodes for one test, which may kill its daemons."""
    cluster = SandboxCluster(nodes=2)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def rig(tmp_path: Path, cluster: SandboxCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A small project on the session's cluster."""
    yield from _rig(tmp_path, cluster, monkeypatch)


@pytest.fixture
def own_rig(
    tmp_path: Path, own_cluster: SandboxCluster, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rig]:
    """A small project on a cluster that the test may break."""
    yield from _rig(tmp_path, own_cluster, monkeypatch)


def _rig(folder: Path, cluster: SandboxCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    rig = Rig(folder, cluster)
    cluster.use(monkeypatch)
    for name, value in rig.variables.items():
        monkeypatch.setenv(name, value)
    yield rig
    rig.close()
