from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from activeuf_core.slurm.scheduler import Scheduler, UnreachableError
from activeuf_core.slurm.transport import Done, LoginNode


class Killed(LoginNode):
    """A way to the cluster on which every command is killed."""

    def run(
        self, command: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None
    ) -> Done:
        return Done(-9, "", "")


def test_an_sbatch_that_was_killed_says_nothing_about_its_job() -> None:
    with pytest.raises(UnreachableError, match="sbatch was ended by signal 9"):
        Scheduler(Killed(), 5).submit([])
