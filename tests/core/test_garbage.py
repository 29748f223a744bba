"""What goes, what stays, and that a removal at any moment leaves nothing half visible."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from activeuf_core.activity import Activity
from activeuf_core.artifacts import ArtifactStore, Manifest, write_json
from activeuf_core.attempts import Attempts
from activeuf_core.garbage import Collector, Garbage, Kind, Rules, drop_dead_links
from activeuf_core.launchers.base import Target
from activeuf_core.paths import Layout, RunFolder
from activeuf_core.references import Orphan, Why
from activeuf_core.slurm.waves import Ledger
from tests.core.test_activity import MADE, READ, age, write_job, write_wave

LOOSE: Target = ("dpo_model", "f" * 32)
DAY_S = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    """An empty store."""
    return ArtifactStore(Layout(tmp_path / "home"))


def publish(store: ArtifactStore, target: Target, job_id: str = "job") -> Path:
    output = store.layout.home / "output"
    output.mkdir(parents=True)
    (output / "weights").write_bytes(b"12345")
    manifest = Manifest(target[0], "exp", target[1], "1", 0, {}, {}, provenance={"job_id": job_id})
    store.publish(manifest, output)
    return store.layout.artifact(*target)


def orphan(target: Target = LOOSE, why: Why = "changed", days: float = 0.0) -> Orphan:
    return Orphan(*target, 5, time.time() - days * DAY_S, "exp", why)


def collector(
    store: ArtifactStore, *wanted: Target, rules: Rules | None = None, hold: str = ""
) -> Collector:
    chosen = rules or Rules()
    return Collector(store, Activity(store), wanted, (), chosen, lambda target: hold)


def found(one: Collector, kind: Kind, *orphans: Orphan) -> list[Garbage]:
    return one.find(orphans, ["artifacts", kind] if orphans else [kind])


def clean(one: Collector, *orphans: Orphan) -> dict[str, str]:
    """Remove all garbage; return the names of what was tried, with why it stayed."""
    return {item.name: reason for item, reason in one.remove(one.find(orphans))}


def test_an_orphan_goes_with_all_that_belongs_to_it(store: ArtifactStore) -> None:
    folder = publish(store, LOOSE)
    store.note_failure(*LOOSE, "kind", "message")
    Attempts(store.layout).open(*LOOSE, 0, job_id="gone", wave="gone")
    age(store.layout.attempts(*LOOSE), 0)
    path = store.layout.attempts(*LOOSE) / "001.json"
    write_json(path, {"number": 1, "job_id": "gone", "wave": "gone", "opened": 0.0})
    assert set(clean(collector(store), orphan()).values()) == {""}
    assert not folder.exists() and store.failure(*LOOSE) is None
    assert not list(store.layout.trash.iterdir())
    assert not list((store.layout.home / "claims" / LOOSE[0]).iterdir())


def test_what_is_wanted_stays_with_its_records(store: ArtifactStore) -> None:
    folder = publish(store, LOOSE)
    store.note_failure(*LOOSE, "kind", "message")
    assert clean(collector(store, LOOSE)) == {}
    assert folder.exists() and store.failure(*LOOSE)


@pytest.mark.parametrize(
    ("why", "rules", "goes"),
    [
        ("changed", Rules(), True),
        ("changed", Rules(older_than_days=2.0), False),
        ("changed", Rules(older_than_days=0.5), True),
        ("unknown partition", Rules(), False),
        ("unknown partition", Rules(older_than_days=0.5), True),
        ("unknown partition", Rules(all_configs=True), True),
        ("source absent", Rules(older_than_days=0.0, all_configs=True), False),
    ],
)
def test_which_orphans_go(store: ArtifactStore, why: Why, rules: Rules, goes: bool) -> None:
    publish(store, LOOSE)
    (one,) = collector(store, rules=rules).find([orphan(why=why, days=1.0)], ["artifacts"])
    assert (not one.kept) is goes


def test_what_a_job_reads_stays(store: ArtifactStore) -> None:
    write_job(store)
    publish(store, READ)
    (one,) = found(collector(store), "artifacts", orphan(READ))
    assert one.kept == "job job reads it"


def test_a_job_that_comes_between_the_look_and_the_removal_keeps_what_it_reads(
    store: ArtifactStore,
) -> None:
    folder = publish(store, READ)
    one = collector(store)
    listed = one.find([orphan(READ)])
    write_job(store)
    assert [reason for _, reason in one.remove(listed)] == ["job job reads it"]
    assert folder.exists()


def test_a_reason_from_outside_keeps_everything(store: ArtifactStore) -> None:
    publish(store, LOOSE)
    assert clean(collector(store, hold="a run goes on"), orphan()) == {}


def test_a_process_that_holds_the_lock_keeps_its_artifact(store: ArtifactStore) -> None:
    folder = publish(store, LOOSE)
    code = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2); print(); input()"
    claim = store.layout.claim(*LOOSE)
    claim.parent.mkdir(parents=True)
    command = [sys.executable, "-c", code, str(claim)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        reasons = clean(collector(store), orphan())
        writer.kill()
    assert set(reasons.values()) == {"a process works on it"} and folder.exists()


def test_killed_between_renaming_and_deleting_it_leaves_trash_and_nothing_broken(
    store: ArtifactStore,
) -> None:
    publish(store, LOOSE)
    code = (
        "import sys; from pathlib import Path; from activeuf_core.artifacts import ArtifactStore\n"
        "from activeuf_core.paths import Layout; from tests.core.test_garbage import *\n"
        "clean(collector(ArtifactStore(Layout(Path(sys.argv[1])))), orphan())"
    )
    environment = {**os.environ, "ACTIVEUF_CRASH_AT": "after-aside"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(store.layout.home)], env=environment, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert store.inspect(*LOOSE).reason == "missing"
    assert sum(one.size for one in found(collector(store), "trash")) > 5
    clean(collector(store))
    assert not list(store.layout.trash.iterdir())


def test_the_checkpoint_of_an_unfinished_wanted_artifact_stays(store: ArtifactStore) -> None:
    for target in (MADE, READ, LOOSE):
        folder = store.layout.checkpoints(*target)
        folder.mkdir(parents=True)
        (folder / "state").write_bytes(b"123")
    publish(store, READ)
    going = found(collector(store, MADE, READ), "checkpoints")
    whys = {one.target: one.why for one in going}
    assert whys == {READ: "its artifact is complete", LOOSE: "nobody wants its artifact"}


def test_the_log_of_an_artifact_that_stays_stays(store: ArtifactStore) -> None:
    for job_id in ("good", "bad"):
        run = write_job(store, job_id)
        write_json(run.status, {"state": "failed"})
        age(run.path, 15 * DAY_S)
    publish(store, MADE, job_id="good")
    assert [one.name for one in found(collector(store, MADE), "runs")] == ["bad"]
    both = collector(store).find([orphan(MADE)], ["artifacts", "runs"])
    assert {one.name for one in both if one.kind == "runs"} == {"good", "bad"}


def test_a_recent_failure_can_still_be_read(store: ArtifactStore) -> None:
    write_json(write_job(store).status, {"state": "failed"})
    (one,) = found(collector(store), "runs")
    assert one.kept == "younger than 14 days"
    (now,) = found(collector(store, rules=Rules(older_than_days=0.0)), "runs")
    assert not now.kept


def test_the_folder_of_a_job_at_work_is_no_garbage(store: ArtifactStore) -> None:
    write_job(store)
    assert found(collector(store, rules=Rules(older_than_days=0.0)), "runs") == []


def test_a_submission_goes_with_the_last_attempt_that_names_it(store: ArtifactStore) -> None:
    Attempts(store.layout).open(*MADE, 0, job_id="job", wave="wave")
    write_job(store)
    ledger = write_wave(store)
    rules = Rules(older_than_days=0.0)
    assert found(collector(store, rules=rules), "waves") == []
    ledger.close("wave", "done")
    assert found(collector(store, MADE, rules=rules), "waves") == []
    clean(collector(store, rules=rules))
    assert not list(store.layout.slurm.iterdir()) and not list(store.layout.runs.iterdir())
    assert Attempts(store.layout).latest(*MADE) is None


def test_a_submission_whose_end_is_uncertain_stays(store: ArtifactStore) -> None:
    ledger: Ledger = write_wave(store)
    ledger.mark_submitting("wave")
    ledger.close("wave", "done")
    assert found(collector(store, rules=Rules(older_than_days=0.0)), "waves") == []


def test_counts_of_re_runs_stay_while_an_artifact_of_one_is_kept(store: ArtifactStore) -> None:
    store.next_generation(LOOSE[0], "base")
    assert [one.name for one in found(collector(store), "records")] == ["dpo_model/base.json"]
    output = store.layout.home / "output"
    output.mkdir()
    (output / "weights").write_bytes(b"1")
    store.publish(Manifest(LOOSE[0], "exp", LOOSE[1], "1", 1, {}, {}), output)
    assert found(collector(store, hold="a run goes on"), "records", orphan())[1:] == []


def test_a_link_is_removed_and_what_it_points_to_stays(
    store: ArtifactStore, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"1")
    folder = publish(store, LOOSE)
    (folder / "link").symlink_to(outside)
    store.layout.trash.mkdir(parents=True)
    (store.layout.trash / "link").symlink_to(outside)
    clean(collector(store), orphan())
    assert (outside / "file").exists() and not list(store.layout.trash.iterdir())


def test_views_lose_the_links_of_what_is_gone_and_nothing_else(
    store: ArtifactStore, tmp_path: Path
) -> None:
    folder = publish(store, LOOSE)
    view = store.layout.experiment("exp") / "models"
    view.mkdir(parents=True)
    (view / "weights").symlink_to(os.path.relpath(folder / "weights", view))
    (view / "mine").symlink_to(tmp_path / "absent")
    assert drop_dead_links(store.layout) == 0
    clean(collector(store), orphan())
    assert drop_dead_links(store.layout) == 1
    assert [path.name for path in view.iterdir()] == ["mine"]


def test_an_adoption_at_work_keeps_its_copy(store: ArtifactStore) -> None:
    folder = store.layout.imports / "one"
    folder.mkdir(parents=True)
    with folder.with_suffix(".lock").open("a") as handle:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX)
        assert [one.kept for one in found(collector(store), "trash")] == ["an adoption is at work"]
    clean(collector(store))
    assert not list(store.layout.imports.iterdir())


def test_runs_of_jobs_nobody_can_read_are_left_alone(store: ArtifactStore) -> None:
    run = RunFolder(store.layout.run("odd"))
    run.path.mkdir(parents=True)
    assert found(collector(store, rules=Rules(older_than_days=0.0)), "runs") == []
