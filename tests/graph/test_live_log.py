"""News of running jobs in the run's log: seldom, and every job in its turn."""

from __future__ import annotations

from pathlib import Path

from activeuf_dagster.events import Progressed
from activeuf_dagster.live_log import LINE_CHARACTERS, LiveLog


def told(jobs: int, seconds: int, every_s: int = 5) -> list[tuple[int, str]]:
    """Return what is told, and when, while jobs report every few seconds."""
    now = [0.0]
    live = LiveLog(lambda: now[0])
    found = []
    for second in range(0, seconds, every_s):
        now[0] = float(second)
        found += [(second, f"job{n}") for n in range(jobs) if live.is_due(f"job{n}")]
    return found


def test_one_job_is_told_of_once_a_minute() -> None:
    assert told(1, 180) == [(0, "job0"), (60, "job0"), (120, "job0")]


def test_a_hundred_jobs_share_one_entry_per_ten_seconds_and_all_have_their_turn() -> None:
    found = told(100, 1000)
    assert [second for second, _ in found] == list(range(0, 1000, 10))
    assert len({job for _, job in found}) == 100


def test_the_newest_lines_are_cut_to_readable_length(tmp_path: Path) -> None:
    path = tmp_path / "stage.log"
    path.write_text("".join(f"line {n}\n" for n in range(9)) + "x" * 1000 + "\n")
    lines = LiveLog().newest_lines(Progressed(("a", "b"), 0, 0, "", None, "j", str(path)))
    assert lines.splitlines()[0] == "  | line 5"
    assert len(lines.splitlines()[-1]) == LINE_CHARACTERS + 4


def test_no_log_yet(tmp_path: Path) -> None:
    event = Progressed(("a", "b"), 0, 0, "", None, "j", str(tmp_path / "none"))
    assert LiveLog().newest_lines(event) == ""
