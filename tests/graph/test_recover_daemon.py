"""`activeuf recover` with a real daemon: exactly what is broken, failed, missing or stale is made,
in one backfill.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from activeuf_core.paths import PROJECT
from activeuf_core.recipes import Node
from activeuf_dagster.backfill import daemon_is_alive, look, open_backfills, recent_backfills
from activeuf_dagster.project import Project
from activeuf_dagster.recovering import BY_TAG
from activeuf_dagster.sensor_switch import LOCATION
from tests.graph.conftest import EXPERIMENT, write_small_project, write_yaml
from tests.graph.services import Services
from tests.graph.test_recover import activeuf

PAYLOAD = PROJECT / "tests" / "fakes" / "payload.py"
QUICK_DAEMON = str(Path(__file__).with_name("quick_daemon.py"))
OF_POLICY = ("gsm8k_score", "minerva_math_score", "ifeval_score", "truthfulqa_score")

pytestmark = pytest.mark.slow


class World:
    """The small project with ten experiments, its services, and a payload for every stage."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = write_small_project(folder)
        self.behaviour = folder / "behaviour"
        self.behaviour.mkdir()
        for number in range(10):
            path = folder / "configs" / "experiments" / f"n-{number}.yaml"
            write_yaml(path, {**EXPERIMENT, "seed": number})
        (folder / "services").mkdir()
        target = ("--module-name", "activeuf_dagster.definitions")
        variables = {
            "ACTIVEUF_CONFIGS": folder / "configs",
            "ACTIVEUF_HOME": folder / "home",
            "ACTIVEUF_TRACKING": "none",
            "ACTIVEUF_STAGE_PYTHON": PAYLOAD,
            "ACTIVEUF_BEHAVIOUR": self.behaviour,
            "DAGSTER_HOME": folder / "services" / "home",
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        self.services = Services(
            folder / "services", target, (sys.executable, QUICK_DAEMON), LOCATION
        )

    def tell(self, words: str, *nodes: Node) -> None:
        """Say what the payload does for some nodes."""
        for node in nodes:
            (self.behaviour / "@".join(node)).write_text(words)

    def made(self) -> set[Node]:
        """Return what was begun since this was asked last."""
        path = self.behaviour / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return {(line.split()[0], line.split()[1]) for line in lines}

    def break_artifact(self, node: Node) -> None:
        """Truncate a file of a node's artifact."""
        project = Project.load()
        recipe = project.book().recipe(*node)
        (project.layout.artifact(recipe.asset, recipe.fingerprint) / "value.json").write_text("")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world in a folder with a short name, as sockets want it."""
    with tempfile.TemporaryDirectory(prefix="activeuf-", dir="/tmp") as folder:
        found = World(Path(folder), monkeypatch)
        try:
            yield found
        finally:
            found.services.close()


def damage(world: World) -> set[Node]:
    """Damage experiments that are no neighbours, each in another way; return what must run."""
    world.break_artifact(("dpo_model", "n-2"))
    changed = world.folder / "configs" / "experiments" / "n-7.yaml"
    body = yaml.safe_load(changed.read_text())
    body["reward_model"]["epochs"] = 9
    write_yaml(changed, body)
    add = world.folder / "configs" / "experiments" / "n-9b.yaml"
    write_yaml(add, {**EXPERIMENT, "seed": 77})
    of_reward = {"reward_model", "rewardbench2_score", "scores", "wandb_summary"}
    everything = of_reward | {"preference_dataset", "dpo_model", *OF_POLICY}
    of_failed = {"gsm8k_score", "scores", "wandb_summary"}
    return (
        {("dpo_model", "n-2"), ("leaderboard", "all")}
        | {(asset, "n-7") for asset in of_reward}
        | {(asset, "n-9b") for asset in everything}
        | {(asset, "n-4") for asset in of_failed}
    )


def test_exactly_what_is_damaged_is_made_in_one_backfill(world: World) -> None:
    world.tell("fails", ("gsm8k_score", "n-4"))
    first = activeuf("recover", "--foreground", "n-*")
    assert first.exit_code == 1, first.output
    assert re.search(r"\b4 of \d+ asset partitions are not fresh", first.output)
    world.made()
    expected = damage(world)
    world.tell("0", ("gsm8k_score", "n-4"))
    world.services.start()
    world.services.wait_until(lambda: daemon_is_alive(world.services.instance))

    done = activeuf("recover", "n-*", "--wait", "--json")
    assert done.exit_code == 0, done.output + done.stderr
    printed = json.loads(done.stdout)
    wanted = expected | {("wandb_summary", "n-2")}  # may read the model, is found complete then
    assert {(row["asset"], row["partition"]) for row in printed["to_run"]} == wanted
    assert world.made() == expected
    backfill = look(world.services.instance, printed["backfill"])
    assert (backfill.status, backfill.targets) == ("COMPLETED_SUCCESS", frozenset(wanted))
    assert printed["left"] == []

    again = activeuf("recover", "n-*")
    assert "Nothing has to run." in again.output
    assert len(recent_backfills(world.services.instance, {BY_TAG: "recover"})) == 1


def test_what_fails_is_told_and_the_rest_is_made(world: World) -> None:
    """Also of what waits in the same backfill, and of an experiment whose file is gone."""
    world.tell("fails", ("dpo_model", "n-4"))
    world.services.start()
    world.services.wait_until(lambda: daemon_is_alive(world.services.instance))
    done = activeuf("recover", "n-4", "n-6", "--wait")
    assert done.exit_code == 1
    assert "COMPLETED_FAILED" in done.output
    assert "dpo_model[n-4]: failed: DataError" in done.output
    made = world.made()
    assert {("rewardbench2_score", "n-4"), ("wandb_summary", "n-6")} <= made
    world.tell("0", ("dpo_model", "n-4"))
    again = activeuf("recover", "n-4", "n-6", "--wait", "--only", "failed")
    assert again.exit_code == 0, again.output
    ran = {asset for asset, key in world.made() if key == "n-4"}
    assert ran == {"dpo_model", *OF_POLICY, "scores", "wandb_summary"}


def test_an_experiment_that_is_removed_ends_its_backfill_and_costs_no_other(world: World) -> None:
    world.services.start_code_server()
    instance = world.services.instance
    activeuf("recover", "n-4", "n-6", "--daemon")
    (world.folder / "configs" / "experiments" / "n-4.yaml").unlink()
    world.services.kill("code")
    world.services.start()
    world.services.wait_until(lambda: not open_backfills(instance))
    said = activeuf("recover", "n-6", "--wait")
    assert "was ended by Dagster" in said.output
    assert said.exit_code == 0, said.output
    assert "Nothing has to run." in activeuf("recover", "n-6").output
