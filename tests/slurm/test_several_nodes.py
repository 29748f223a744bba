"""A stage of several processes is one job: srun starts it on every node, and one of them is
published.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from activeuf_core.config import parse
from activeuf_core.jobs import Job, Unit
from activeuf_core.launchers.slurm import SlurmLauncher
from activeuf_core.paths import PROJECT, Layout
from activeuf_core.slurm.cluster import SlurmCluster
from tests.slurm.sandbox import SandboxCluster

pytestmark = pytest.mark.slurm
PRINT = "7" * 32
STAGE = """
import json, os, sys, time
from pathlib import Path
from activeuf_core.stage import main

def run(context):
    names = ("SLURM_PROCID", "SLURM_NTASKS", "SLURMD_NODENAME")
    mine = {name: os.environ[name] for name in names}
    seen = context.checkpoints / "seen"
    seen.mkdir(parents=True, exist_ok=True)
    (seen / mine["SLURM_PROCID"]).write_text(mine["SLURMD_NODENAME"])
    while len(list(seen.iterdir())) < int(mine["SLURM_NTASKS"]):
        time.sleep(0.05)
    (context.output / "me.json").write_text(json.dumps(mine))

if __name__ == "__main__":
    sys.exit(main({"features": "wide_stage:run"}))
"""


@pytest.fixture
def launcher(
    tmp_path: Path, cluster: SandboxCluster, monkeypatch: pytest.MonkeyPatch
) -> SlurmLauncher:
    """A launcher whose jobs of the asset `features` have two nodes with two tasks each."""
    cluster.use(monkeypatch)
    (tmp_path / "wide_stage.py").write_text(STAGE)
    settings = {
        "launcher": "slurm",
        "slurm_partition": "normal",
        "stages": {"features": {"nodes": 2, "tasks_per_node": 2, "memory": "300M"}},
        "setup": [f"export PYTHONPATH={PROJECT}:{tmp_path}"],
        "poll_s": 0.2,
        "poll_max_s": 1.0,
    }
    return SlurmLauncher(Layout(tmp_path / "home"), parse(SlurmCluster, settings, "test"), "wide")


def test_four_processes_on_two_nodes_make_one_artifact(
    launcher: SlurmLauncher, cluster: SandboxCluster
) -> None:
    checkpoints = launcher.layout.checkpoints("features", PRINT)
    unit = Unit("features", "wide", PRINT, "1", 0, {}, {}, {}, checkpoints=str(checkpoints))
    launcher.submit([Job("wide-job", "wide_stage", (unit,), str(launcher.layout.home))])
    cluster.wait_until(lambda: launcher.poll()["wide-job"].phase == "ended", timeout_s=90)

    artifact = launcher.layout.artifact("features", PRINT)
    assert (artifact / "me.json").exists(), launcher.tail("wide-job", 40)
    assert json.loads((artifact / "me.json").read_text())["SLURM_PROCID"] == "0"
    nodes = {path.read_text() for path in (checkpoints / "seen").iterdir()}
    assert len(nodes) == 2
    assert len(list((checkpoints / "seen").iterdir())) == 4
