"""The benchmarks of one model on a real cluster: one job, and each with its own fate."""

from __future__ import annotations

import pytest

from tests.slurm.rig import Rig, completed, failures

pytestmark = pytest.mark.slurm
SCORES = [(f"{name}_score", "exp-a") for name in ("gsm8k", "ifeval", "minerva_math", "truthfulqa")]
MODEL = ("dpo_model", "exp-a")


def test_one_fails_and_is_made_alone_the_next_time(rig: Rig) -> None:
    rig.tell("fails", SCORES[1])
    first = rig.run(("preference_dataset", "exp-a"), MODEL, *SCORES)
    assert set(failures(first)) == {SCORES[1]}
    assert completed(first) >= {MODEL, SCORES[0], *SCORES[2:]}
    assert len({worker.slurm_job_id for node in SCORES for worker in rig.workers(node)}) == 1
    rig.tell("works", SCORES[1])
    rig.run(("preference_dataset", "exp-a"), MODEL, *SCORES)
    assert rig.is_complete(SCORES[1])
    assert [len(rig.workers(node)) for node in SCORES] == [1, 2, 1, 1]
