"""Slots: as many as there are, whoever takes them, for as long as the job lives."""

from __future__ import annotations

import subprocess
from pathlib import Path

from activeuf_core.slots import Slots


def test_slots_are_taken_all_or_none(tmp_path: Path) -> None:
    one, other = Slots(tmp_path, 3), Slots(tmp_path, 3)
    with one.taken(2) as mine:
        assert mine is not None and len(mine) == 2
        with other.taken(2) as theirs:
            assert theirs is None
        with other.taken(1) as theirs:
            assert theirs is not None
    with other.taken(3) as theirs:
        assert theirs is not None


def test_none_is_always_free(tmp_path: Path) -> None:
    with Slots(tmp_path / "absent", 1).taken(0) as files:
        assert files == []


def test_a_job_keeps_its_slot_until_it_ends(tmp_path: Path) -> None:
    slots = Slots(tmp_path, 1)
    with slots.taken(1) as files:
        assert files is not None
        job = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=files)
    with slots.taken(1) as files:
        assert files is None
    job.communicate()
    with slots.taken(1) as files:
        assert files is not None
