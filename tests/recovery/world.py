"""A small project on a private cluster, and the words that scenarios of recovery are told in.

In: a rig. Out: `activeuf` commands in this process or in one of their own, what the plan says, and
what ran: counted by the payload's own log of its starts, and by the jobs that the cluster saw.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from typer.testing import CliRunner, Result

from activeuf_core.recipes import Node
from activeuf_dagster.cli import app
from activeuf_dagster.code_location import build
from activeuf_dagster.foreground import Wave, run_wave
from activeuf_dagster.materialization import MaterializationConfig
from activeuf_dagster.project import Project
from tests.graph.conftest import EXPERIMENT, write_yaml
from tests.slurm.rig import Orchestrator, Rig

DATASETS = {"exp-a": "tiny", "exp-b": "tiny", "exp-c": "other"}
EXPERIMENTS = tuple(DATASETS)
MEMBERS = {"tiny": ("tiny--a", "tiny--b"), "other": ("other--a",)}
SCORES = {
    "dpo_model": ("gsm8k_score", "minerva_math_score", "ifeval_score", "truthfulqa_score"),
    "reward_model": ("rewardbench2_score",),
}
SCORE_ASSETS = SCORES["dpo_model"] + SCORES["reward_model"]
READERS = {
    "prompts": ("completions", "annotations", "candidate_pool"),
    "completions": ("annotations", "candidate_pool"),
    "annotations": ("candidate_pool",),
    "candidate_pool": ("features", "preference_dataset"),
    "features": ("preference_dataset",),
    "preference_dataset": ("dpo_model", "reward_model", "wandb_summary"),
    **SCORES,
    **dict.fromkeys(SCORE_ASSETS, ("scores",)),
    "scores": ("wandb_summary", "leaderboard"),
}
"""Who reads an asset, written down a second time: what is tested does not say what is right."""
OF_DATASET = ("prompts", "candidate_pool", "features")
OF_MEMBER = ("completions", "annotations")
LIGHT = ("prompts", "completions", "annotations")
"""They only move rows here, and those of one asset go into one job."""
HERE = ("scores", "wandb_summary", "leaderboard")
"""They run beside the orchestrator: no job."""
ACTIVEUF = (sys.executable, "-m", "activeuf_dagster.cli")
RECOVER = ("recover", "--all")
NOTHING_TO_DO = ("fresh", "unrecorded")


@dataclass(frozen=True)
class Done:
    """What a command did: how it ended, what it said, and what was begun meanwhile."""

    exit_code: int
    output: str
    ran: Mapping[Node, int]
    jobs: int
    submissions: int


class World:
    """The project: told what to do, changed, asked and repaired."""

    def __init__(self, folder: Path, rig: Rig) -> None:
        """Add the experiments to a rig's project."""
        self.folder = folder
        self.rig = rig
        self._copy = folder.with_name(f"{folder.name}-copy")
        self._copied: Counter[Node] = Counter()
        for number, (name, dataset) in enumerate(DATASETS.items()):
            self.declare(name, dataset=dataset, seed=number)
        (folder / "others.jsonl").write_text('{"prompt_id": "2"}\n')
        edit(self.dataset("other"), {"prompts.source.path": "others.jsonl"})
        shutil.copytree(folder / "base", folder / "base-2")
        (folder / "base-2" / "model.safetensors").write_bytes(b"other weights")
        edit(folder / "configs" / "models.yaml", {"base-2": {"path": "base-2"}})

    def remember(self) -> None:
        """Keep a copy of all files, for `restore`."""
        shutil.copytree(self.folder, self._copy, symlinks=True)
        self._copied = self.starts()

    def restore(self) -> None:
        """Bring all files back to what they were."""
        shutil.rmtree(self.folder)
        shutil.copytree(self._copy, self.folder, symlinks=True)

    # Files ------------------------------------------------------------------------------------

    def experiment(self, name: str) -> Path:
        """Return an experiment's file."""
        return self.folder / "configs" / "experiments" / f"{name}.yaml"

    def declare(self, name: str, **settings: object) -> None:
        """Write an experiment's file."""
        loop = {"acquisition": {"method": "rucb"}}
        write_yaml(self.experiment(name), {**EXPERIMENT, "loop": loop, **settings})

    def dataset(self, name: str) -> Path:
        """Return a data set's file."""
        return self.folder / "configs" / "datasets" / f"{name}.yaml"

    def artifact(self, asset: str, partition: str) -> Path:
        """Return the folder of the artifact that a node has now."""
        return self.rig.layout.artifact(asset, self.rig.fingerprint((asset, partition)))

    # Commands ---------------------------------------------------------------------------------

    def activeuf(self, *words: str) -> Done:
        """Run the command line in this process."""
        said: list[Result] = []
        runner = CliRunner()
        done = self.counted(lambda: said.append(runner.invoke(app, words, catch_exceptions=False)))
        [result] = said
        return dataclasses.replace(done, exit_code=result.exit_code, output=result.output)

    def counted(self, act: Callable[[], object]) -> Done:
        """Return what was begun while something was done."""
        starts, tokens = self.starts(), set(self.rig.tokens())
        act()
        new = set(self.rig.tokens()) - tokens
        jobs = [job for job in self.rig.cluster.jobs_seen() if job.name in new]
        return Done(0, "", self.starts() - starts, len(jobs), len(new))

    def materialize(self, *experiments: str) -> Done:
        """Bring experiments up to date, all without a name."""
        return self.activeuf("materialize", *(experiments or ["--all"]))

    def recover(self, *options: str) -> Done:
        """Run what the plan says is to be run."""
        return self.activeuf(*RECOVER, *options)

    def recovers_exactly(self, expected: set[Node]) -> None:
        """Assert that the plan names these nodes as to be run and no other, that `recover` begins
        each of them once and nothing else, in as few jobs as can be, and that this was all.
        """
        planned = {node for node, state in self.states().items() if state not in NOTHING_TO_DO}
        assert planned == expected
        done = self.recover()
        assert done.exit_code == 0, done.output
        assert dict(done.ran) == dict.fromkeys(expected, 1)
        least = jobs_of(expected)
        spread = sum(asset in LIGHT for asset, _ in expected)
        assert least <= done.jobs <= least + spread
        assert self.states() == {}
        again = self.recover()
        assert (again.exit_code, again.ran, again.jobs, again.submissions) == (0, {}, 0, 0)

    def force(self, asset: str, partition: str) -> Done:
        """Make one artifact again, as a new generation, by a run as the UI starts it."""

        def run() -> None:
            with dg.DagsterInstance.get() as instance:
                wave = Wave((asset,), partition, partition)
                settings = MaterializationConfig(force=True)
                assert run_wave(build(Project.load()), instance, wave, settings)

        return self.counted(run)

    def start(self, *words: str) -> Orchestrator:
        """Start a command in a process of its own."""
        return Orchestrator(self.rig, [*ACTIVEUF, *words])

    @contextlib.contextmanager
    def told(self, words: str, nodes: Iterable[Node]) -> Iterator[None]:
        """Within a block, let the payloads of some nodes do as they are told."""
        nodes = list(nodes)
        for node in nodes:
            self.rig.tell(words, node)
        yield
        for node in nodes:
            (self.rig.behaviour / "@".join(node)).unlink()

    def wait_for_start(self, nodes: Iterable[Node]) -> None:
        """Wait until a payload was begun for each of some nodes, once more than before."""
        before, wanted = self._copied, set(nodes)
        self.rig.wait_until(lambda: (self.starts() - before).keys() >= wanted)

    def plan(self, *options: str) -> dict[Node, dict[str, Any]]:
        """Return what the plan says of every node, fresh ones too."""
        rows = self._planned(*options)["nodes"]
        return {(row["asset"], row["partition"]): row for row in rows}

    def orphans(self) -> int:
        """Return how many artifacts no experiment refers to, as the plan says."""
        return self._planned()["orphaned"]["artifacts"]

    def _planned(self, *options: str) -> dict[str, Any]:
        done = CliRunner().invoke(app, ["plan", "--json", *options], catch_exceptions=False)
        return json.loads(done.stdout)

    def states(self, *options: str) -> dict[Node, str]:
        """Return the states of all nodes that are not fresh."""
        found = {node: row["state"] for node, row in self.plan(*options).items()}
        return {node: state for node, state in found.items() if state != "fresh"}

    def reasons(self) -> dict[Node, str]:
        """Return what the plan gives as reason for all nodes that are not fresh."""
        rows = self.plan().items()
        return {node: row["reason"] for node, row in rows if row["state"] != "fresh"}

    def recorded(self, asset: str) -> set[str]:
        """Return the partitions of an asset that Dagster has on record."""
        with dg.DagsterInstance.get() as instance:
            return set(instance.get_materialized_partitions(dg.AssetKey(asset)))

    def starts(self) -> Counter[Node]:
        """Return how often a payload was begun for each node, by its own log."""
        path = self.rig.behaviour / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        return Counter((asset, partition) for asset, partition, *_ in map(str.split, lines))


def nodes(assets: Iterable[str] | str, *experiments: str) -> set[Node]:
    """Return the nodes of some assets that experiments have or share, all without a name."""
    names = [assets] if isinstance(assets, str) else assets
    return {(name, key) for name in names for key in _partitions(name, experiments or EXPERIMENTS)}


def _partitions(asset: str, experiments: Iterable[str]) -> set[str]:
    datasets = {DATASETS.get(experiment, "tiny") for experiment in experiments}
    if asset in OF_DATASET:
        return datasets
    if asset in OF_MEMBER:
        return {member for dataset in datasets for member in MEMBERS[dataset]}
    return {"all"} if asset == "leaderboard" else set(experiments)


def below(assets: Iterable[str] | str, *experiments: str) -> set[Node]:
    """Return the nodes that read some assets, directly or not."""
    found: set[str] = set()
    frontier = [assets] if isinstance(assets, str) else list(assets)
    while frontier:
        new = set(READERS.get(frontier.pop(), ())) - found
        found |= new
        frontier += new
    return nodes(found, *experiments)


def jobs_of(made: Iterable[Node]) -> int:
    """Return the fewest jobs in which nodes can be made."""
    return len({_job(asset, key) for asset, key in made if asset not in HERE})


def _job(asset: str, key: str) -> Node:
    """Return what nodes of one job have in common: scores of one model share it."""
    model = next((name for name, scores in SCORES.items() if asset in scores), "")
    return (f"scores of {model}", key) if model else (asset, "" if asset in LIGHT else key)


def edit(path: Path, change: Mapping[str, Any]) -> None:
    """Set dotted keys of a YAML file."""
    body = yaml.safe_load(path.read_text())
    for dotted, value in change.items():
        *above, last = dotted.split(".")
        section = body
        for key in above:
            section = section.setdefault(key, {})
        section[last] = value
    write_yaml(path, body)


def age(folder: Path, when: float) -> None:
    """Give everything below a folder, and the folder, another time of its last change."""
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (when, when), follow_symlinks=False)
