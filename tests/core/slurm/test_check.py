"""A cluster file's check: its shapes, its words, and what the probe finds on a node."""

from __future__ import annotations

import fcntl
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.artifacts import read_json, write_json
from activeuf_core.config import parse
from activeuf_core.paths import PROJECT, Layout
from activeuf_core.slurm import probe
from activeuf_core.slurm.check import LIGHT, ClusterCheck, shapes
from activeuf_core.slurm.cluster import ON_CLUSTER, SlurmCluster
from activeuf_core.slurm.transport import Done, LoginNode

EXPECTED = {"shares_files": False, "environment": [], "gpus": 0, "tasks": 1, "nodes": 1}


def cluster(**settings: Any) -> SlurmCluster:
    """Return a cluster file with some settings."""
    return parse(SlurmCluster, {"launcher": "slurm", **settings}, "test")


class Says(LoginNode):
    """A login node whose commands all say the same."""

    def __init__(self, code: int, stdout: str = "", stderr: str = "") -> None:
        self.done = Done(code, stdout, stderr)

    def run(
        self, command: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None
    ) -> Done:
        """Say it."""
        return self.done


def check(folder: Path, said: Says, **settings: Any) -> ClusterCheck:
    """Return a check of a cluster that says something."""
    quick = {"settle_s": 0.01, "call_timeout_s": 1.0, **settings}
    return ClusterCheck(Layout(folder), cluster(**quick), "test", said, wait_s=5.0)


# ------------------------------------------------------------------------------ shapes


def test_stages_that_ask_for_the_same_are_one_shape() -> None:
    found = shapes(cluster(stages={"dpo_model": {"gpus": 4}, "reward_model": {"gpus": 4}}))
    assert [shape.stages for shape in found if shape.resources.gpus] == [
        ("dpo_model", "reward_model")
    ]
    assert sorted(name for shape in found for name in shape.stages) == sorted([*ON_CLUSTER, LIGHT])


def test_a_job_of_the_check_is_the_real_script_with_the_probe(tmp_path: Path) -> None:
    found = check(tmp_path, Says(0), setup=["module load cuda"])
    spec = found.spec(shapes(found.cluster)[0])
    assert spec.module == "activeuf_core.slurm.probe"
    assert spec.setup == ("module load cuda",)
    assert spec.folder.startswith(str(tmp_path / "checks"))


# ------------------------------------------------------------------------------- words


def test_a_controller_that_does_not_answer_ends_the_questions(tmp_path: Path) -> None:
    silent = Says(1, stderr="Unable to contact slurm controller (connect failure)")
    answers = list(check(tmp_path, silent).answers())
    assert [answer.is_good for answer in answers] == [False]
    assert "Is this a login node" in answers[0].text


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("Invalid account or account/partition combination specified", "lists your accounts"),
        ("Invalid qos specification", "account,qos` lists what you may"),
        ("Invalid feature specification", "`sinfo -o '%P %f'` lists"),
        ("Something else", "Something else"),
    ],
)
def test_a_refusal_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, remedy: str
) -> None:
    monkeypatch.setattr("activeuf_core.slurm.check.TIDY_S", 0.0)
    refusing = Says(1, stderr=f"sbatch: unrecognized option: {said}")
    verdicts = list(check(tmp_path, refusing).run())
    assert {verdict.outcome for verdict in verdicts} == {"failed"}
    assert remedy in verdicts[0].problems[0]
    assert not (tmp_path / "checks").exists()


# ------------------------------------------------------------------------------- probe


def findings(folder: Path, *prefix: str, **expected: Any) -> dict[str, dict[str, str]]:
    """Run the probe here; return what it found, by name."""
    write_json(folder / probe.EXPECT, {**EXPECTED, **expected})
    assert probe.main(["--wave", str(folder), *(["--", *prefix] if prefix else [])]) == 0
    return {one["name"]: one for one in read_json(folder / probe.REPORT)["findings"]}


def test_a_node_where_all_is_well(tmp_path: Path) -> None:
    found = findings(tmp_path)
    assert {name for name, one in found.items() if one["remedy"]} == set()
    assert sys.executable in found["python"]["text"]


def test_gpus_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,3")
    assert findings(tmp_path, gpus=3)["gpus"] == {
        "name": "gpus",
        "text": "3 visible",
        "remedy": "",
    }
    assert "4 asked for, 3 visible" in findings(tmp_path, gpus=4)["gpus"]["text"]


def test_a_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    found = findings(tmp_path, environment=["SURELY_NOT_SET"])
    assert found["setup"]["text"] == "not set: SURELY_NOT_SET"


def test_a_scratch_folder_that_is_not_used_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    assert "cannot be written" in findings(tmp_path)["scratch"]["text"]


def test_tasks_are_started_and_counted(tmp_path: Path) -> None:
    assert findings(tmp_path, "env")["stage"]["text"] == "starts"
    found = findings(tmp_path, "env", tasks=3)["stage"]
    assert "3 on 1 nodes asked for, 1 on 1 began" in found["text"]
    assert "see why this does not work: env " in found["remedy"]


def test_libraries_that_stages_need_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert findings(tmp_path)["libraries"]["text"] == "all there"
    bare = tmp_path / "bare-python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setenv("ACTIVEUF_STAGE_PYTHON", str(bare))
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    assert findings(tmp_path)["libraries"]["text"].startswith("missing: datasets, lm_eval")


def test_both_sides_see_each_others_files_and_locks(tmp_path: Path) -> None:
    held = (tmp_path / probe.LOGIN_LOCK).open("a")
    fcntl.flock(held, fcntl.LOCK_EX)
    write_json(tmp_path / probe.ANSWER, {"sees_node_lock": True})
    found = findings(tmp_path, shares_files=True)
    held.close()
    assert found["locks"]["text"] == "hold across machines"
    assert "there and back in" in found["files"]["text"]


def test_locks_that_do_not_reach_the_other_machine(tmp_path: Path) -> None:
    write_json(tmp_path / probe.ANSWER, {"sees_node_lock": True})
    found = findings(tmp_path, shares_files=True)
    assert "not seen by the other machine" in found["locks"]["text"]
    assert "-o flock" in found["locks"]["remedy"]


def test_no_answer_means_that_the_files_are_not_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "ANSWER_PATIENCE_S", 0.01)
    found = findings(tmp_path, shares_files=True)
    assert "one folder, shared" in found["files"]["remedy"]
    assert "locks" not in found


def test_a_lock_is_free_when_its_holder_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not probe.is_free(path)
    assert probe.is_free(path)
