"""What a job on a cluster leaves in the artifact's provenance, and what is shown of it."""

from __future__ import annotations

import pytest

from activeuf_dagster.metadata import of_manifest
from tests.slurm.rig import Rig

pytestmark = pytest.mark.slurm


def test_job_price_and_earlier_attempts_are_shown_with_the_artifact(rig: Rig) -> None:
    rig.tell("stumbles once 0.3")
    rig.run()
    manifest = rig.manifest()
    assert manifest is not None
    found = of_manifest(manifest, rig.layout, is_adopted=False)
    shown = {name: value.value for name, value in found.items()}
    assert shown["slurm_job_id"] == rig.workers()[-1].slurm_job_id
    assert (shown["launcher"], shown["slurm_cluster"], shown["attempt"]) == ("slurm", "sandbox", 2)
    assert 0.3 <= shown["run_time_s"] < 60 and shown["queue_wait_s"] >= 0
    assert shown["cpu_hours"] == round(shown["run_time_s"] / 3600 * shown["cpus"], 4)
    assert "StageError: SLURM job" in shown["earlier_attempts"]
