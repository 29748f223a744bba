"""Why a job waits, in words."""

from __future__ import annotations

import pytest

from activeuf_core.slurm.reasons import in_words


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("", ""),
        ("Resources", "waits for nodes, CPUs, memory or GPUs to become free (Resources)"),
        ("QOSMaxJobsPerUserLimit", "a limit of the QOS is reached (QOSMaxJobsPerUserLimit)"),
        ("AssocGrpGRES", "a limit of your account is reached (AssocGrpGRES)"),
        ("SomethingNew", "SomethingNew"),
    ],
)
def test_a_reason_in_words(reason: str, words: str) -> None:
    assert in_words(reason) == words


def test_a_reason_with_details_keeps_them() -> None:
    reason = "ReqNodeNotAvail, UnavailableNodes:node7"
    assert in_words(reason).endswith(f"down, drained or reserved ({reason})")
