"""A training over two nodes of a cluster: introduced to each other, and published once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.artifacts import ArtifactStore, read_json
from activeuf_core.config import parse
from activeuf_core.digests import DigestCache
from activeuf_core.jobs import Job, Unit
from activeuf_core.launchers.slurm import SlurmLauncher
from activeuf_core.paths import METRICS, PREFERENCES, PROJECT, Layout
from activeuf_core.schemas import PREFERENCE, write_rows
from activeuf_core.slurm.cluster import SlurmCluster
from activeuf_core.training.checkpoints import MARK
from tests.core.training.conftest import FAST, preference_row
from tests.fakes import tiny_models
from tests.slurm.sandbox import SandboxCluster

pytestmark = pytest.mark.slurm
PRINT = "8" * 32
PATIENCE_S = 240
STEPS = 5000
"""More than a test waits for."""
HOW = {
    "accelerate": {"accelerate": "configs/accelerate/ddp.yaml"},
    "srun": {},
}
"""Who starts the process on each node."""


def job_of(folder: Path, layout: Layout, **changes: Any) -> Job:
    """Return a job that trains a tiny model for four steps."""
    model = tiny_models.build(folder / "tiny")
    identity = DigestCache(layout.digests).digest(model)
    rows = [preference_row(index) for index in range(16)]
    write_rows(folder / "data" / PREFERENCES, PREFERENCE, rows)
    unit = Unit(
        asset="dpo_model",
        partition="two-nodes",
        fingerprint=PRINT,
        version="1",
        generation=0,
        config={**FAST, "base_model": {"name": "tiny", "identity": identity}, **changes},
        inputs={"preference_dataset": {"test": str(folder / "data")}},
        input_fingerprints={},
        locations={"tiny": str(model)},
        checkpoints=str(layout.checkpoints("dpo_model", PRINT)),
    )
    return Job("two-nodes", "activeuf_core.training", (unit,), str(layout.home))


@pytest.fixture
def launcher_of(
    tmp_path: Path, cluster: SandboxCluster, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], SlurmLauncher]:
    """Return a maker of launchers whose trainings have two nodes."""
    cluster.use(monkeypatch)
    (tmp_path / "data").mkdir()

    def make(how: str) -> SlurmLauncher:
        settings = {
            "launcher": "slurm",
            "slurm_partition": "normal",
            "stages": {"dpo_model": {"nodes": 2, "memory": "3G", "time": "00:10:00", **HOW[how]}},
            "setup": [f"export PYTHONPATH={PROJECT}"],
            "poll_s": 0.2,
            "poll_max_s": 1.0,
        }
        layout = Layout(tmp_path / "home")
        return SlurmLauncher(layout, parse(SlurmCluster, settings, "t"), "t")

    return make


@pytest.mark.parametrize("how", HOW)
def test_two_nodes_train_one_model(
    how: str, launcher_of: Callable[[str], SlurmLauncher], tmp_path: Path, cluster: SandboxCluster
) -> None:
    launcher = launcher_of(how)
    launcher.submit([job_of(tmp_path, launcher.layout)])
    cluster.wait_until(lambda: launcher.poll()["two-nodes"].phase == "ended", timeout_s=PATIENCE_S)
    manifest = ArtifactStore(launcher.layout).inspect("dpo_model", PRINT).manifest
    assert manifest is not None, launcher.tail("two-nodes", 80)
    found = manifest.metadata
    assert (found["processes"], found["nodes"], found["steps"]) == (2, 2, 4)
    assert (found["per_device_batch_size"], found["gradient_accumulation_steps"]) == (2, 1)
    assert (manifest.provenance["launcher"], manifest.provenance["attempt"]) == ("slurm", 1)


@pytest.mark.parametrize("how", HOW)
def test_a_warning_before_the_time_limit_reaches_both_nodes(
    how: str, launcher_of: Callable[[str], SlurmLauncher], tmp_path: Path, cluster: SandboxCluster
) -> None:
    launcher = launcher_of(how)
    launcher.submit([job_of(tmp_path, launcher.layout, max_steps=STEPS, save_every=STEPS - 1)])
    metrics = f"**/{METRICS}"
    cluster.wait_until(
        lambda: launcher.poll() and any(launcher.layout.runs.glob(metrics)), timeout_s=PATIENCE_S
    )
    [job_id] = cluster.squeue("--format=%i")
    cluster.run("scancel", "--signal=USR1", "--batch", job_id, check=True)
    kept = launcher.layout.checkpoints("dpo_model", PRINT)
    cluster.wait_until(lambda: any(kept.glob(f"checkpoint-*/{MARK}")), timeout_s=60)
    [mark] = kept.glob(f"checkpoint-*/{MARK}")
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= read_json(mark)["files"].keys()
    cluster.wait_until(lambda: launcher.poll()["two-nodes"].phase == "queued", timeout_s=60)
    launcher.cancel(["two-nodes"])
