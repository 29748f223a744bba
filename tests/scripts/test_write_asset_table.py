"""docs/assets.md says what the table of stages says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def test_the_page_is_current() -> None:
    command = [sys.executable, "scripts/write_asset_table.py", "--check"]
    done = subprocess.run(command, cwd=PROJECT, check=False)
    assert done.returncode == 0, "docs/assets.md is not current: scripts/write_asset_table.py"
