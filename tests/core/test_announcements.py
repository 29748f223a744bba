"""Recoveries side by side: a lock, and what each announces."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from activeuf_core.announcements import announced, announcements, planning_alone
from activeuf_core.errors import LaunchError
from activeuf_core.paths import Layout

NODE = ("dpo_model", "exp-a")
ANNOUNCE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from activeuf_core.paths import Layout
from activeuf_core.announcements import announced
with announced(Layout(Path(sys.argv[1])), [("dpo_model", "exp-a")]):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_one_plans_at_a_time_and_the_other_is_told_who(tmp_path: Path) -> None:
    layout, told = Layout(tmp_path), []
    with (
        planning_alone(layout),
        pytest.raises(LaunchError, match=f"recovery of pid {os.getpid()} on .* more than 0 s"),
        planning_alone(layout, on_wait=told.append, patience_s=0),
    ):
        pass
    with planning_alone(layout, patience_s=0):
        assert told == []


def test_what_is_announced_is_known_while_it_is_made(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with announced(layout, [NODE]):
        assert f"pid {os.getpid()}" in announcements(layout)[NODE]
    assert announcements(layout) == {}


def test_what_the_dead_announced_is_forgotten(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", ANNOUNCE_AND_DIE, str(tmp_path)], check=False)
    layout = Layout(tmp_path)
    assert len(list(layout.recoveries.glob("*.json"))) == 1
    assert announcements(layout) == {}
    assert list(layout.recoveries.glob("*.json")) == []
