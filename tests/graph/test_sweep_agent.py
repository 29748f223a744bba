"""A real `wandb agent` drives the project, with a server on this machine in W&B's place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.artifacts import read_json
from activeuf_core.catalog import Catalog
from activeuf_core.errors import ConfigError
from activeuf_core.paths import PROJECT, Layout
from activeuf_dagster.sweep_agent import parsed, placed
from tests.fakes.wandb_server import ENTITY, SWEEP, WandbServer
from tests.fakes.wandb_server import PROJECT as WANDB_PROJECT
from tests.graph.conftest import write_yaml

RATE = "dpo_model.learning_rate"
CONSTANT = {
    "dataset": "tiny",
    "loop.acquisition.method": "random",
    "dpo_model.base_model": "base",
    "reward_model.base_model": "base",
}
PATIENCE_S = 240


class Agents:
    """A small project with a sweep of three points, and ways to set agents on it."""

    def __init__(self, folder: Path, server: WandbServer) -> None:
        self.folder = folder
        self.server = server
        self.layout = Layout(folder / "home")
        self.behaviour = folder / "behaviour"
        self.behaviour.mkdir()

    @property
    def environment(self) -> dict[str, str]:
        """What an agent needs."""
        return {
            **os.environ,
            **self.server.variables,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ACTIVEUF_STAGE_PYTHON": str(PROJECT / "tests" / "fakes" / "scored_payload.py"),
            "ACTIVEUF_BEHAVIOUR": str(self.behaviour),
            "ACTIVEUF_TRACKING": "none",
            "WANDB_AGENT_DISABLE_FLAPPING": "true",
        }

    def run(self, *command: str) -> str:
        """Run a command to its end; return what it printed."""
        done = subprocess.run(
            command,
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return done.stdout

    def take_points(self, count: int) -> str:
        """Have one agent take so many points."""
        path = f"{ENTITY}/{WANDB_PROJECT}/{SWEEP}"
        return self.run("wandb", "agent", f"--count={count}", path)

    def stages(self, asset: str) -> list[str]:
        """Return the partitions that stages of an asset really worked on, in order."""
        lines = (self.behaviour / "log").read_text().splitlines()
        return [line.split()[1] for line in lines if line.split()[0] == asset]

    def manifests(self, asset: str) -> set[str]:
        """Return the partitions under which artifacts of an asset were made."""
        found = (self.layout.artifacts / asset).glob("*/manifest.json")
        return {read_json(path)["partition"] for path in found}


@pytest.fixture
def agents(folder: Path) -> Iterator[Agents]:
    """Agents on a sweep that was uploaded by our command."""
    parameters: dict[str, Any] = {name: {"value": value} for name, value in CONSTANT.items()}
    body = {
        "method": "grid",
        "metric": {"name": "DPO/Mean", "goal": "maximize"},
        "parameters": {**parameters, RATE: {"values": [1e-05, 2e-05, 3e-05]}},
    }
    write_yaml(folder / "configs" / "sweeps" / "s.yaml", body)
    with WandbServer() as server:
        found = Agents(folder, server)
        create = (sys.executable, "-m", "activeuf_dagster.cli", "sweep", "create", "s")
        said = found.run(*create, "--entity", ENTITY, "--project", WANDB_PROJECT)
        assert "sbatch --array=1-3%8 slurm/sweep_agent.sbatch" in said, said
        yield found


def test_an_agent_takes_the_points_of_a_grid_as_partitions(agents: Agents) -> None:
    said = agents.take_points(3)
    runs = agents.server.in_the_sweep
    assert [run.exit_code for run in runs] == [0, 0, 0], said
    names = [f"s-learning_rate={rate}" for rate in ("1e-05", "2e-05", "3e-05")]
    assert [run.display_name for run in runs] == names
    assert agents.manifests("dpo_model") == set(names)
    assert len(agents.stages("preference_dataset")) == 1  # the loop is shared
    for run in runs:
        assert run.summary["DPO/Mean"] == 0.25
        assert run.values_of("DPO/Mean") == [0.25]
        assert run.values_of("loss") == run.values_of("dpo_model/loss") == [1.0, 0.75, 0.5]
    assert not list((agents.layout.home / "sweeps" / "s").glob("*"))  # all are the file's own


def test_what_is_known_runs_once_what_is_wrong_is_refused_and_what_is_bad_stopped(
    agents: Agents,
) -> None:
    slow = "s-learning_rate=2e-05"
    (agents.behaviour / f"dpo_model@{slow}").write_text("hangs")
    agents.server.stop_when = lambda run: len(run.values_of("dpo_model/loss")) == 3
    points = [1e-05, 1e-05, -1.0, 2e-05, 7e-05]
    agents.server.points = [{**CONSTANT, RATE: rate} for rate in points]
    said = agents.take_points(5)
    first, again, wrong, stopped, own = agents.server.in_the_sweep

    assert first.exit_code == again.exit_code == 0, said
    assert agents.stages("dpo_model").count("s-learning_rate=1e-05") == 1
    assert again.summary["DPO/Mean"] == first.summary["DPO/Mean"]
    assert again.values_of("loss") == first.values_of("loss")

    assert wrong.exit_code == 1
    assert wrong.summary["activeuf/outcome"] == "refused"
    assert "'learning_rate' has the value -1" in wrong.summary["activeuf/reason"]

    assert stopped.exit_code == 128 + signal.SIGTERM
    assert stopped.summary["activeuf/outcome"] == "stopped"
    assert slow not in agents.manifests("dpo_model")
    assert slow not in agents.stages("gsm8k_score")

    assert own.exit_code == 0
    catalog = Catalog.load(agents.folder / "configs", agents.layout)
    assert list(catalog.sweeps["s"].suggested) == ["s-learning_rate=7e-05"]


def test_two_agents_with_one_point_make_it_once(agents: Agents) -> None:
    (agents.behaviour / "default").write_text("0.5")
    agents.server.points = [{**CONSTANT, RATE: 1e-05}] * 2
    path = f"{ENTITY}/{WANDB_PROJECT}/{SWEEP}"
    command = ["wandb", "agent", "--count=1", path]
    both = [subprocess.Popen(command, env=agents.environment, cwd=agents.folder) for _ in range(2)]
    assert [one.wait(PATIENCE_S) for one in both] == [0, 0]
    assert [run.summary["activeuf/outcome"] for run in agents.server.in_the_sweep] == [
        "complete",
        "complete",
    ]
    made = (agents.behaviour / "log").read_text().splitlines()
    nodes = [tuple(line.split()[:2]) for line in made]
    assert len(nodes) == len(set(nodes))


def test_stopping_the_run_in_wandb_stops_the_point(agents: Agents) -> None:
    (agents.behaviour / "default").write_text("hangs")
    agents.server.stopped = {"mine"}
    point = json.dumps({**CONSTANT, RATE: 1e-05})
    command = [sys.executable, "-m", "activeuf_dagster.sweep_agent", "s", point]
    one = subprocess.Popen(
        command, env={**agents.environment, "WANDB_RUN_ID": "mine"}, cwd=agents.folder
    )
    assert one.wait(PATIENCE_S) == -signal.SIGTERM
    assert agents.server.runs["mine"].summary["activeuf/outcome"] == "stopped"


def test_a_point_that_is_left_goes_back_to_the_queue(agents: Agents) -> None:
    (agents.behaviour / "default").write_text("hangs")
    point = json.dumps({**CONSTANT, RATE: 1e-05})
    command = [sys.executable, "-m", "activeuf_dagster.sweep_agent", "s", point]
    one = subprocess.Popen(
        command, env={**agents.environment, "WANDB_RUN_ID": "mine"}, cwd=agents.folder
    )
    end = time.monotonic() + PATIENCE_S
    while not (agents.behaviour / "log").exists() and time.monotonic() < end:
        time.sleep(0.2)
    one.send_signal(signal.SIGUSR1)
    assert one.wait(PATIENCE_S) == 1
    assert agents.server.runs["mine"].summary["activeuf/outcome"] == "left"
    assert agents.server.runs["mine"].is_preempting


@pytest.mark.parametrize(
    "words",
    [
        ["s", '{"a.b": 1, "c": "x"}'],
        ["s", "--a.b=1", "--c=x"],
    ],
)
def test_a_point_is_given_as_json_or_as_flags(words: list[str]) -> None:
    assert parsed(words) == ("s", {"a.b": 1, "c": "x"})


@pytest.mark.parametrize("words", [[], ["s", "{"], ["s", "--a", "1"], ["s", "a=1"]])
def test_other_arguments_are_refused(words: list[str]) -> None:
    with pytest.raises(ConfigError):
        parsed(words)


def test_an_unknown_sweep_is_named(folder: Path) -> None:
    parameters = {name: {"value": value} for name, value in CONSTANT.items()}
    body = {"method": "random", "parameters": parameters}
    write_yaml(folder / "configs" / "sweeps" / "right.yaml", body)
    with pytest.raises(ConfigError, match="did you mean 'right'"):
        placed("rigth", {})


def test_stages_do_not_know_of_the_agent_s_run(folder: Path) -> None:
    program = (
        "import os; from activeuf_dagster import sweep_agent as agent; run = agent._open_run();"
        "print(run.id, [name for name in agent.OF_THE_AGENT if name in os.environ])"
    )
    given = {"WANDB_RUN_ID": "mine", "WANDB_SWEEP_ID": "sweep1", "WANDB_MODE": "offline"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **given},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.splitlines()[0] == "mine []"


def test_without_an_account_the_error_says_what_to_set(folder: Path) -> None:
    environment = {**os.environ, "WANDB_MODE": "online", "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "activeuf_dagster.sweep_agent", "s", "{}"],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "Set WANDB_API_KEY" in done.stderr
