"""`activeuf cluster check` on a private cluster: what works, what does not, and nothing is left."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner, Result

from activeuf_core.errors import ConfigError
from activeuf_dagster.cli import app
from tests.slurm.rig import Rig

pytestmark = pytest.mark.slurm
ONE_SHAPE = {"light": {"memory": "200M"}}


def check(rig: Rig, *options: str, **settings: Any) -> Result:
    """Run the check of a cluster file with some settings; nothing of it may be left."""
    rig.configure(**{"setup": [], **settings})
    done = CliRunner().invoke(app, ["cluster", "check", "private", *options])
    assert not (rig.layout.home / "checks").exists()
    left = [job.state for job in rig.cluster.jobs_seen() if job.name.startswith("activeuf-check")]
    assert not {"PENDING", "RUNNING"} & set(left)
    return done


def test_a_file_that_works_is_said_to_work(rig: Rig) -> None:
    done = check(rig, scratch=str(rig.folder / "scratch"), environment={"GREETING": "hello"})
    assert done.exit_code == 0, done.output
    assert "arrays of up to" in done.output
    assert "light jobs (1 node, 1 CPUs, 200M, 00:30:00, partition normal)" in done.output
    for fact in ("imports activeuf_core.task", "there and back in", "locks: hold", "/scratch is"):
        assert fact in done.output
    assert "2 ok" in done.output


@pytest.mark.parametrize(
    "started", [{"tasks_per_node": 2}, {"processes_per_node": 2, "memory": "1G"}]
)
def test_gpus_and_nodes_are_counted(rig: Rig, started: dict[str, object]) -> None:
    shape = {"gpus": 2, "memory": "200M", "nodes": 2, **started}
    done = check(rig, stages={"dpo_model": shape}, **ONE_SHAPE)
    assert "gpus: 2 visible" in done.output, done.output
    assert f"stage: 4 processes on {rig.cluster.nodes[0]}, {rig.cluster.nodes[1]}" in done.output


def test_more_gpus_than_any_node_has(rig: Rig) -> None:
    done = check(rig, stages={"dpo_model": {"gpus": 99}}, **ONE_SHAPE)
    assert done.exit_code == 1
    assert "dpo_model (1 node, 1 CPUs, 99 GPUs, 200M" in done.output, done.output
    assert "Next: no node has that much; `sinfo" in done.output
    assert "1 failed" in done.output and "1 ok" in done.output


def test_a_partition_that_is_not_there(rig: Rig) -> None:
    done = check(rig, slurm_partition="nowhere", **ONE_SHAPE)
    assert done.exit_code == 1
    assert "Invalid partition name specified" in done.output
    assert "Next: name a partition that `sinfo -s` lists" in done.output


def test_an_interpreter_that_is_not_on_the_nodes(rig: Rig) -> None:
    done = check(rig, python="/nowhere/bin/python", **ONE_SHAPE)
    assert done.exit_code == 1
    assert "NonZeroExit: FAILED" in done.output
    assert "Next: make `python` and `project` name what is there" in done.output


def test_a_line_of_setup_that_fails(rig: Rig) -> None:
    done = check(rig, setup=["module load nothing"], **ONE_SHAPE)
    assert done.exit_code == 1
    assert "module: command not found" in done.output
    assert "Next: mend the lines of `setup`" in done.output


def test_more_nodes_than_there_are_never_start(rig: Rig) -> None:
    done = check(rig, defaults={"memory": "200M", "nodes": 9}, light={"memory": "200M"})
    assert done.exit_code == 1
    assert "NeverStarts: asks for more nodes than the partition grants" in done.output, done.output
    assert "Next: `sinfo -s` shows how many nodes a partition has" in done.output


def test_a_job_that_waits_is_no_failure_and_is_cancelled(rig: Rig) -> None:
    blocker = rig.cluster.submit("--exclusive", "-N3", "--wrap", "sleep 600")
    rig.cluster.wait_for_state(blocker, "RUNNING")
    done = check(rig, "--wait", "1", **ONE_SHAPE)
    rig.cluster.run("scancel", blocker)
    assert done.exit_code == 0
    assert "still waiting after" in done.output
    assert "(Resources)" in done.output or "(Priority)" in done.output


def test_a_dry_run_prints_what_would_be_submitted(rig: Rig) -> None:
    seen = len(rig.cluster.submissions())
    done = check(rig, "--dry-run")
    assert "sbatch --parsable --hold" in done.output
    assert "-m activeuf_core.slurm.probe --wave" in done.output
    assert len(rig.cluster.submissions()) == seen


def test_a_wrong_file_is_refused_with_every_wrong_key(rig: Rig) -> None:
    rig.configure(memory="4G", defaults={"cpus": 0})
    done = CliRunner().invoke(app, ["cluster", "check", "private"])
    assert isinstance(done.exception, ConfigError)
    assert "cpus" in str(done.exception) and "memory" in str(done.exception)


def test_show_and_list(rig: Rig) -> None:
    rig.configure(stages={"dpo_model": {"gpus": 4, "gpu_type": "h100"}})
    shown = CliRunner().invoke(app, ["cluster", "show", "private"]).output
    assert "1 node, 1 CPUs, 4 h100 GPUs, 200M, 01:00:00, partition normal" in shown
    assert "SLURM from this login node" in CliRunner().invoke(app, ["cluster", "list"]).output


def test_this_machine_needs_no_check(rig: Rig) -> None:
    done = CliRunner().invoke(app, ["cluster", "check", "local"])
    assert (done.exit_code, "nothing to submit" in done.output) == (0, True)
