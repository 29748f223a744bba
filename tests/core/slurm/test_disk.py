from __future__ import annotations

import errno
import logging

import pytest

from activeuf_core.slurm.disk import FullDisk


def test_a_full_disk_is_survived_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    disk = FullDisk()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with disk.survived():
                raise OSError(errno.ENOSPC, "No space left on device")
    assert [record.message.count("until there is space") for record in caplog.records] == [1]


def test_any_other_trouble_with_files_is_not_hidden() -> None:
    with pytest.raises(PermissionError), FullDisk().survived():
        raise PermissionError(errno.EACCES, "Permission denied")
