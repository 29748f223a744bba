"""Agents of a sweep on a cluster: what a stop ends and what it leaves, and the array script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from activeuf_core.paths import PROJECT
from activeuf_core.recipes import Node
from tests.fakes.wandb_server import ENTITY, SWEEP, WandbServer
from tests.fakes.wandb_server import PROJECT as WANDB_PROJECT
from tests.graph.conftest import write_yaml
from tests.slurm.rig import PATIENCE_S, Rig

PAYLOAD = PROJECT / "tests" / "fakes" / "scored_payload.py"
SCRIPT = PROJECT / "slurm" / "sweep_agent.sbatch"
RATE = "dpo_model.learning_rate"
CONSTANT = {
    "dataset": "tiny",
    "loop.acquisition.method": "random",
    "dpo_model.base_model": "base",
    "reward_model.base_model": "base",
}
ONE, OTHER = "s-learning_rate=1e-05", "s-learning_rate=2e-05"


def scored(rig: Rig) -> None:
    """Have the payload give scores."""
    rig.configure(
        setup=[
            f"export ACTIVEUF_STAGE_PYTHON={PAYLOAD}",
            f"export ACTIVEUF_BEHAVIOUR={rig.behaviour}",
        ]
    )


@pytest.fixture
def server(rig: Rig) -> Iterator[WandbServer]:
    """A server with a sweep of two points; the rig's payload gives scores."""
    body = {
        "program": "x",
        "command": [
            *["${env}", "python", "-m", "activeuf_dagster.sweep_agent", "s", "${args_json}"]
        ],
        "method": "grid",
        "metric": {"name": "DPO/Mean", "goal": "maximize"},
        "parameters": {
            **{name: {"value": value} for name, value in CONSTANT.items()},
            RATE: {"values": [1e-05, 2e-05]},
        },
    }
    write_yaml(rig.folder / "configs" / "sweeps" / "s.yaml", body)
    scored(rig)
    with WandbServer() as found:
        found.sweep = body
        yield found


def environment(rig: Rig, server: WandbServer) -> dict[str, str]:
    """What a program of an agent needs."""
    variables = {**rig.cluster.environment, **rig.variables, **server.variables}
    return {**variables, "ACTIVEUF_STAGE_PYTHON": str(PAYLOAD)}


def start(rig: Rig, server: WandbServer, run: str, rate: float) -> subprocess.Popen[bytes]:
    """Start the program of an agent for one point."""
    point = json.dumps({**CONSTANT, RATE: rate})
    return subprocess.Popen(
        [sys.executable, "-m", "activeuf_dagster.sweep_agent", "s", point],
        env={**environment(rig, server), "WANDB_RUN_ID": run},
        cwd=rig.folder,
    )


def at_work(rig: Rig, node: Node) -> bool:
    """Whether a payload works on a node."""
    return bool(rig.workers(node))


def test_a_stop_cancels_the_point_s_jobs(rig: Rig, server: WandbServer) -> None:
    rig.tell("hangs", ("dpo_model", ONE))
    with start(rig, server, "one", 1e-05) as program:
        rig.wait_until(lambda: at_work(rig, ("dpo_model", ONE)))
        program.send_signal(signal.SIGTERM)
        assert program.wait(PATIENCE_S) == -signal.SIGTERM
    rig.wait_until(lambda: not rig.left_over())
    run = server.runs["one"]
    assert run.summary["activeuf/outcome"] == "stopped"
    assert "-dpo_model-" in run.summary["activeuf/reason"]
    assert rig.is_complete(("preference_dataset", ONE))


def test_what_another_agent_waits_for_goes_on(rig: Rig, server: WandbServer) -> None:
    rig.tell("waits", ("preference_dataset", ONE))  # both points share the loop
    with start(rig, server, "one", 1e-05) as first:
        rig.wait_until(lambda: at_work(rig, ("preference_dataset", ONE)))
        with start(rig, server, "two", 2e-05) as second:
            rig.wait_until(lambda: len(list(rig.layout.recoveries.glob("*.json"))) == 2)
            first.send_signal(signal.SIGTERM)
            assert first.wait(PATIENCE_S) == -signal.SIGTERM
            assert server.runs["one"].summary["activeuf/reason"] == ""
            rig.go()
            assert second.wait(PATIENCE_S) == 0
    assert len(rig.workers(("preference_dataset", ONE))) == 1
    assert not rig.workers(("preference_dataset", OTHER))
    assert server.runs["two"].summary["DPO/Mean"] == 0.25


def test_a_point_that_is_left_keeps_its_jobs(rig: Rig, server: WandbServer) -> None:
    rig.tell("waits", ("dpo_model", ONE))
    with start(rig, server, "one", 1e-05) as program:
        rig.wait_until(lambda: at_work(rig, ("dpo_model", ONE)))
        program.send_signal(signal.SIGUSR1)
        assert program.wait(PATIENCE_S) == 1
    assert server.runs["one"].is_preempting
    rig.go()
    with start(rig, server, "two", 1e-05) as again:
        assert again.wait(PATIENCE_S) == 0
    assert len(rig.workers(("dpo_model", ONE))) == 1


def test_an_array_of_agents_takes_the_points(rig: Rig, server: WandbServer) -> None:
    variables = {**rig.variables, **server.variables, "ACTIVEUF_CLUSTER": "local"}
    variables |= {"ACTIVEUF_STAGE_PYTHON": str(PAYLOAD), "ACTIVEUF_PYTHON": sys.executable}
    del variables["DAGSTER_HOME"]
    options = ("--array=1-2%1", "--mem=500M", f"--chdir={PROJECT}")
    done = rig.cluster.run(
        *("sbatch", "--parsable", *options, f"--output={rig.folder}/%a.log", SCRIPT),
        f"{ENTITY}/{WANDB_PROJECT}/{SWEEP}",
        variables=variables,
        check=True,
    )
    rig.cluster.wait_for_end(done.stdout.strip(), timeout_s=PATIENCE_S)
    said = "\n".join(path.read_text() for path in sorted(rig.folder.glob("[12].log")))
    assert [run.exit_code for run in server.in_the_sweep] == [0, 0], said
    assert {run.display_name for run in server.in_the_sweep} == {ONE, OTHER}


@pytest.mark.parametrize(
    ("words", "variables", "message"),
    [
        ([], {}, "which sweep? usage: sbatch --array=1-N%M"),
        (["abc"], {}, "'abc' is no ENTITY/PROJECT/SWEEP_ID"),
        (["a/b/c"], {"ACTIVEUF_PYTHON": "/nowhere"}, "there is no /nowhere"),
        (["a/b/c"], {"WANDB_API_KEY": ""}, "no W&B key: set WANDB_API_KEY"),
    ],
)
def test_what_the_script_lacks_is_said(
    tmp_path: Path, words: list[str], variables: dict[str, str], message: str
) -> None:
    given = {"ACTIVEUF_PYTHON": sys.executable, "HOME": str(tmp_path), **variables}
    done = subprocess.run(
        ["bash", str(SCRIPT), *words],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr
