"""Attempts: one owner per number, whoever is quicker."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from activeuf_core import attempts as module
from activeuf_core.attempts import Attempts
from activeuf_core.paths import Layout

ARTIFACT = ("prompts", "f" * 32)


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    """The attempts of an empty home."""
    return Attempts(Layout(tmp_path))


def open_one(attempts: Attempts, after: int, job_id: str = "job") -> bool:
    return attempts.open(*ARTIFACT, after, job_id=job_id, wave="wave")


def test_there_is_none_at_first(attempts: Attempts) -> None:
    assert attempts.latest(*ARTIFACT) is None
    assert attempts.latest_number(*ARTIFACT) == 0


def test_the_latest_owns(attempts: Attempts) -> None:
    assert open_one(attempts, 0, "first")
    assert open_one(attempts, 1, "second")
    latest = attempts.latest(*ARTIFACT)
    assert latest is not None
    assert (latest.number, latest.job_id, latest.wave) == (2, "second", "wave")


@pytest.mark.parametrize("after", [0, 2])
def test_whoever_knows_another_latest_is_refused(attempts: Attempts, after: int) -> None:
    open_one(attempts, 0)
    assert not open_one(attempts, after)
    assert attempts.latest_number(*ARTIFACT) == 1


def test_one_of_many_at_once_wins(attempts: Attempts) -> None:
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: open_one(attempts, 0, f"job-{n}"), range(8)))
    assert won.count(True) == 1
    latest = attempts.latest(*ARTIFACT)
    assert latest is not None
    assert latest.job_id == f"job-{won.index(True)}"


def test_one_wins_where_locks_do_not_work(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.fcntl, "flock", lambda handle, how: None)
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: open_one(attempts, 0, f"job-{n}"), range(8)))
    assert won.count(True) == 1


def test_a_fence_that_a_frozen_machine_holds_is_passed(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FENCE_PATIENCE_S", 0.05)
    with attempts.fence(*ARTIFACT):
        assert open_one(attempts, 0)


def test_a_half_written_attempt_is_none(attempts: Attempts) -> None:
    folder = attempts.layout.attempts(*ARTIFACT)
    folder.mkdir(parents=True)
    (folder / ".001.json.ab12").write_text("{")
    assert attempts.latest_number(*ARTIFACT) == 0
