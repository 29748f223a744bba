"""Ownership: the newest start of the newest attempt publishes, and nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from activeuf_core.artifacts import ArtifactStore, Manifest, read_json
from activeuf_core.attempts import Attempts
from activeuf_core.jobs import Job, Unit
from activeuf_core.ownership import Ownership, SupersededError
from activeuf_core.paths import Layout, RunFolder

ARTIFACT = ("prompts", "f" * 32)


class Home:
    """A home with one artifact in the making."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.attempts = Attempts(layout)

    def open(self, number: int) -> Job:
        """Open the attempt of that number; return its job."""
        job_id = f"job-{number}"
        assert self.attempts.open(*ARTIFACT, number - 1, job_id=job_id, wave="wave")
        unit = Unit(*ARTIFACT[:1], "p", ARTIFACT[1], "1", 0, {}, {}, {}, attempt=number)
        return Job(job_id, "none", (unit,), str(self.layout.home))

    def start(self, job: Job) -> Ownership:
        """Start a job, as SLURM does on a node."""
        owner = Ownership(self.layout, RunFolder(self.layout.run(job.job_id)), job)
        owner.register()
        return owner

    def publish(self, owner: Ownership, text: str) -> None:
        """Publish as the task wrapper does. Raises: SupersededError."""
        output = self.layout.home / text
        output.mkdir()
        (output / "value").write_text(text)
        manifest = Manifest(ARTIFACT[0], "p", ARTIFACT[1], "1", 0, {}, {})
        permit = owner.permit(owner.job.units[0])
        ArtifactStore(self.layout).publish(manifest, output, permit)

    def published(self) -> str:
        """Return what was published."""
        return (self.layout.artifact(*ARTIFACT) / "value").read_text()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home, inside SLURM job 7."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "0")
    return Home(Layout(tmp_path))


def test_the_only_start_publishes(home: Home) -> None:
    owner = home.start(home.open(1))
    assert owner.loss(owner.job.units[0]) == ""
    home.publish(owner, "only")
    assert home.published() == "only"


def test_a_second_start_takes_over_and_works_elsewhere(home: Home) -> None:
    job = home.open(1)
    first, second = home.start(job), home.start(job)
    assert "start 2" in first.loss(job.units[0])
    with pytest.raises(SupersededError):
        home.publish(first, "old")
    home.publish(second, "new")
    assert home.published() == "new"
    assert first.folder.start(1).path != first.folder.start(2).path


def test_a_second_attempt_takes_over(home: Home) -> None:
    first = home.start(home.open(1))
    second = home.start(home.open(2))
    assert "attempt 2" in first.loss(first.job.units[0])
    with pytest.raises(SupersededError):
        home.publish(first, "old")
    home.publish(second, "new")
    assert home.published() == "new"


def test_a_left_over_of_a_lost_node_may_not_even_start(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = home.open(1)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    home.start(job)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "0")
    with pytest.raises(SupersededError, match="started again"):
        home.start(job)


def test_what_stands_there_is_not_overwritten_by_its_successor(home: Home) -> None:
    job = home.open(1)
    first = home.start(job)
    home.publish(first, "first")
    home.publish(home.start(job), "second")
    assert home.published() == "first"


def test_the_fence_holds_where_locks_do_not_work(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activeuf_core.attempts.fcntl.flock", lambda handle, how: None)
    job = home.open(1)
    first, second = home.start(job), home.start(job)
    with pytest.raises(SupersededError):
        home.publish(first, "old")
    home.publish(second, "new")
    assert home.published() == "new"


def test_a_start_says_where_it_is(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURMD_NODENAME", "node3")
    owner = home.start(home.open(1))
    record = read_json(owner.folder.starts / "1.json")
    assert (record["host"], record["slurm_job_id"], record["restart"]) == ("node3", "7", 0)
