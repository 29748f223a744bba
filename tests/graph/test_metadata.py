"""What stands beside a materialization: how it was made, and at what price."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from activeuf_core.artifacts import Manifest
from activeuf_core.paths import Layout
from activeuf_dagster.metadata import of_manifest

PLAIN = {"job_id": "j2", "seconds": 1.0, "git_commit": "", "libraries": {}}
ON_SLURM = {
    "launcher": "slurm",
    "slurm_job_id": "23_4",
    "slurm_cluster": "hpc",
    "nodes": "node[1-2]",
    "cpus": 16,
    "gpus": 8,
    "queue_wait_s": 90.5,
    "run_time_s": 1800.0,
    "slurm_restarts": 1,
    "attempt": 2,
    "start": 2,
    "host": "node1",
    "peak_memory_mb": 812.5,
    "history": [{"job_id": "j1", "kind": "NodeFail", "detail": "node7 died", "action": "retry"}],
}


def shown(folder: Path, **provenance: Any) -> dict[str, Any]:
    """Return the metadata of an artifact with some provenance, as plain values."""
    manifest = Manifest(
        *("prompts", "tiny", "f" * 8, "1", 0), {}, {}, provenance={**PLAIN, **provenance}
    )
    found = of_manifest(manifest, Layout(folder), is_adopted=False)
    return {name: value.value for name, value in found.items()}


def test_a_slurm_job_is_shown_with_its_price(tmp_path: Path) -> None:
    found = shown(tmp_path, **ON_SLURM)
    expected = {name: value for name, value in ON_SLURM.items() if name != "history"}
    assert expected.items() <= found.items()
    assert (found["cpu_hours"], found["gpu_hours"]) == (8.0, 4.0)


def test_earlier_attempts_are_a_table_with_why(tmp_path: Path) -> None:
    table = shown(tmp_path, **ON_SLURM)["earlier_attempts"]
    assert "| j1 | node7 died | retry |" in table
    assert "earlier_attempts" not in shown(tmp_path, history=[])


def test_outside_slurm_nothing_is_said_of_slurm(tmp_path: Path) -> None:
    found = shown(tmp_path, launcher="local", host="laptop", run_time_s=1.2, attempt=0, start=1)
    assert found["run_time_s"] == 1.2
    assert not {"slurm_job_id", "nodes", "queue_wait_s", "cpu_hours", "gpu_hours"} & set(found)


def test_what_goes_without_saying_takes_no_place(tmp_path: Path) -> None:
    found = shown(
        tmp_path, **{**ON_SLURM, "gpus": 0, "start": 1, "slurm_restarts": 0, "nodes": "node1"}
    )
    assert not {"nodes", "gpus", "gpu_hours", "start", "slurm_restarts", "libraries"} & set(found)
    assert shown(tmp_path, libraries={"torch": "2"})["libraries"] == {"torch": "2"}
