"""Dagster's daemon, looking at backfills every second instead of every thirty.

Command: `python quick_daemon.py run --workspace FILE`, as `dagster-daemon`.
"""

from __future__ import annotations

from dagster._daemon import controller
from dagster._daemon.cli import main

if __name__ == "__main__":
    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1
    main()
