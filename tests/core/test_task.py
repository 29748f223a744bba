"""The task wrapper and the local launcher, with real processes and a stage made for the purpose."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from activeuf_core.artifacts import ArtifactStore, read_json
from activeuf_core.jobs import Job, Unit
from activeuf_core.launchers.local import LocalLauncher, tail_of
from activeuf_core.paths import PROJECT, Layout, RunFolder

STAGE = """
import os, subprocess, sys, time
from activeuf_core.stage import main

def run(context):
    how = context.unit.config["how"]
    print("says", how, flush=True)
    if how == "fails":
        from activeuf_core.errors import DataError
        raise DataError("row 3 is bad")
    if how == "dies":
        os.kill(os.getpid(), 9)
    if how == "silent":
        os._exit(0)
    if how == "exits":
        os._exit(7)
    if how.startswith("again"):
        note = context.checkpoints / "note"
        if how == "again-always" or not note.exists():
            note.write_text("")
            context.start_again("says so")
    if how == "slow":
        time.sleep(1.5)
    if how == "hangs":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (context.checkpoints / "child").write_text(str(child.pid))
        time.sleep(600)
    (context.output / "value").write_text(how)
    context.progress(1, 1)
    context.add_metadata(rows=1)

if __name__ == "__main__":
    sys.exit(main({"thing": "toy_stage:run"}))
"""


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalLauncher]:
    """A launcher with two slots, which finds the toy stage."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "toy_stage.py").write_text(STAGE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    found = LocalLauncher(Layout(tmp_path / "home"), slots=2)
    yield found
    found.cancel(list(found.poll()))


def job(launcher: LocalLauncher, name: str, *hows: str) -> Job:
    """Return a job with one unit per behaviour."""
    units = []
    for how in hows:
        print_ = f"{name}{how}".ljust(32, "0")
        checkpoints = str(launcher.layout.checkpoints("thing", print_))
        units.append(
            Unit("thing", how, print_, "1", 0, {"how": how}, {}, {}, checkpoints=checkpoints)
        )
    return Job(name, "toy_stage", tuple(units), str(launcher.layout.home))


def wait(launcher: LocalLauncher, *job_ids: str, timeout_s: float = 60) -> None:
    """Poll until jobs have ended."""
    deadline = time.monotonic() + timeout_s
    while any(launcher.poll()[job_id].phase != "ended" for job_id in job_ids):
        assert time.monotonic() < deadline, launcher.poll()
        time.sleep(0.05)


def is_complete(launcher: LocalLauncher, unit: Unit) -> bool:
    return ArtifactStore(launcher.layout).inspect(unit.asset, unit.fingerprint).is_complete


def test_units_are_published_one_by_one_and_a_failed_one_spares_the_rest(
    launcher: LocalLauncher,
) -> None:
    mixed = job(launcher, "mixed", "works", "fails", "works2")
    launcher.submit([mixed])
    wait(launcher, "mixed")
    assert [is_complete(launcher, unit) for unit in mixed.units] == [True, False, True]
    failure = read_json(RunFolder(launcher.layout.run("mixed")).unit(mixed.units[1].name).failure)
    assert (failure["kind"], failure["message"]) == ("DataError", "row 3 is bad")
    assert launcher.poll()["mixed"].detail == "exit code 1"
    assert "says works2" in launcher.tail("mixed", 10)


def test_a_stage_may_ask_to_be_started_afresh_once(launcher: LocalLauncher) -> None:
    once, always = job(launcher, "once", "again"), job(launcher, "always", "again-always")
    launcher.submit([once, always])
    wait(launcher, "once", "always")
    assert is_complete(launcher, once.units[0]) and not is_complete(launcher, always.units[0])
    log = RunFolder(launcher.layout.run("always")).latest_start().log.read_text()
    assert log.count("started again: says so") == 2


def test_a_killed_stage_says_so(launcher: LocalLauncher) -> None:
    killed = job(launcher, "killed", "dies")
    launcher.submit([killed])
    wait(launcher, "killed")
    failure = read_json(RunFolder(launcher.layout.run("killed")).unit(killed.units[0].name).failure)
    assert "SIGKILL" in failure["message"]
    assert failure["retryable"] is True


def test_cancelling_ends_the_whole_process_tree(launcher: LocalLauncher) -> None:
    hanging = job(launcher, "hanging", "hangs")
    launcher.submit([hanging])
    child = Path(hanging.units[0].checkpoints) / "child"
    deadline = time.monotonic() + 60
    while not child.exists() or not child.read_text():
        launcher.poll()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    launcher.cancel(["hanging"])
    assert not _is_alive(int(child.read_text()))
    assert launcher.poll()["hanging"].phase == "ended"


def test_slots_bound_what_runs(launcher: LocalLauncher) -> None:
    jobs = [job(launcher, f"slot{n}", "works") for n in range(4)]
    launcher.submit(jobs)
    phases = [state.phase for state in launcher.poll().values()]
    assert phases.count("queued") >= 2
    wait(launcher, *(one.job_id for one in jobs))
    assert all(is_complete(launcher, one.units[0]) for one in jobs)


def test_orchestrators_of_one_home_share_the_slots(launcher: LocalLauncher) -> None:
    other = LocalLauncher(launcher.layout, slots=2)
    launcher.submit([job(launcher, "slow1", "slow"), job(launcher, "slow2", "slow")])
    other.submit([job(launcher, "third", "works")])
    assert [one.phase for one in other.poll().values()] == ["queued"]
    wait(launcher, "slow1", "slow2")
    wait(other, "third")
    assert other.poll()["third"].detail == "exit code 0"


def test_a_job_alone_gets_all_cores_and_one_among_many_its_share(
    launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "cores", 8)
    started: list[int] = []
    monkeypatch.setattr(launcher, "_start", lambda job, threads, slots: started.append(threads))
    launcher.submit([job(launcher, "alone", "works")])
    launcher.submit([job(launcher, "first", "works"), job(launcher, "second", "works")])
    assert started == [8, 4, 8]


def test_two_tasks_of_one_artifact_make_it_once(launcher: LocalLauncher) -> None:
    first, second = job(launcher, "twin", "works"), job(launcher, "twin", "works")
    second = Job("twin-2", second.module, second.units, second.home)
    launcher.submit([first, second])
    wait(launcher, "twin", "twin-2")
    ran = [tail_of(RunFolder(launcher.layout.run(name)).log, 5) for name in ("twin", "twin-2")]
    assert sum("says works" in text for text in ran) == 1


def test_a_run_folder_can_be_run_again(launcher: LocalLauncher, tmp_path: Path) -> None:
    once = job(launcher, "again", "works")
    launcher.submit([once])
    wait(launcher, "again")
    shutil.rmtree(launcher.layout.artifacts)
    folder = launcher.layout.run("again")
    command = [sys.executable, "-m", "activeuf_core.task", str(folder)]
    subprocess.run(command, cwd=PROJECT, check=True, timeout=60)
    assert is_complete(launcher, once.units[0])


def test_a_source_that_changed_since_planning_is_refused(
    launcher: LocalLauncher, tmp_path: Path
) -> None:
    (tmp_path / "pool.jsonl").write_text("new")
    config = {"how": "works", "source": {"name": "pool.jsonl", "identity": "of the old"}}
    unit = dataclasses.replace(
        job(launcher, "changed", "works").units[0],
        config=config,
        locations={"pool.jsonl": str(tmp_path / "pool.jsonl")},
    )
    launcher.submit([Job("changed", "toy_stage", (unit,), str(launcher.layout.home))])
    wait(launcher, "changed")
    failure = read_json(RunFolder(launcher.layout.run("changed")).unit(unit.name).failure)
    assert failure["kind"] == "SourceChanged"
    assert not is_complete(launcher, unit)


def test_a_job_outlives_a_killed_orchestrator_and_publishes(launcher: LocalLauncher) -> None:
    slow = job(launcher, "orphan", "slow")
    launcher.submit([slow])
    code = (
        "import sys, time; from pathlib import Path; from activeuf_core.jobs import load_job;"
        "from activeuf_core.launchers.local import LocalLauncher; from activeuf_core.paths import"
        " Layout; found = load_job(Path(sys.argv[1]));"
        "LocalLauncher(Layout(Path(found.home))).submit([found]); print('up', flush=True);"
        "time.sleep(600)"
    )
    wait(launcher, "orphan")
    shutil.rmtree(launcher.layout.artifacts)
    path = launcher.layout.run("orphan") / "job.json"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE) as orchestrator:
        assert orchestrator.stdout is not None and orchestrator.stdout.readline() == b"up\n"
        orchestrator.kill()
    deadline = time.monotonic() + 60
    while not is_complete(launcher, slow.units[0]):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_unknown_stage_module_leaves_a_log(launcher: LocalLauncher) -> None:
    broken = job(launcher, "broken", "works")
    launcher.submit([Job("broken", "no_such_module", broken.units, broken.home)])
    wait(launcher, "broken")
    assert "no_such_module" in launcher.tail("broken", 5)


def _is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has reaped yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z" and bool(os.kill(pid, 0) is None)


def test_a_stage_that_dies_takes_only_the_unit_with_it_that_it_worked_on(
    launcher: LocalLauncher,
) -> None:
    shared = job(launcher, "shared", "works", "exits", "works2")
    launcher.submit([shared])
    wait(launcher, "shared")
    assert [is_complete(launcher, unit) for unit in shared.units] == [True, False, True]
    failure = read_json(RunFolder(launcher.layout.run("shared")).unit(shared.units[1].name).failure)
    assert failure["kind"] == "StageDied"


def test_a_stage_that_ends_well_and_makes_nothing_is_a_failure(launcher: LocalLauncher) -> None:
    silent = job(launcher, "silent", "silent")
    launcher.submit([silent])
    wait(launcher, "silent")
    failure = read_json(RunFolder(launcher.layout.run("silent")).unit(silent.units[0].name).failure)
    assert (failure["kind"], failure["retryable"]) == ("CompletedWithoutArtifact", False)
