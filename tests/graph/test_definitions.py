"""The definitions as the server loads them, and the commands that the README writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from activeuf_core.paths import PROJECT
from activeuf_core.stages import STAGES
from activeuf_dagster.code_location import build
from activeuf_dagster.graph import config_key
from activeuf_dagster.project import Project

KEYS = Path(__file__).parent / "asset_keys.txt"
HEAVY = (
    "torch",
    "transformers",
    "trl",
    "datasets",
    "peft",
    "accelerate",
    "lm_eval",
    "wandb",
    "dagster_wandb",
)
LOAD = """
import json, pathlib, re, sys
import activeuf_dagster.definitions as location
assert location.defs
status = pathlib.Path("/proc/self/status").read_text()
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])  # ru_maxrss would count the parent's
print(json.dumps([sorted(sys.modules), peak // 1024]))
"""


def dagster(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a dagster command in the project's folder."""
    command = [sys.executable, "-m", "dagster", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "400"}
    return subprocess.run(
        command,
        env=environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_the_keys_are_the_ones_that_people_know(project: Project) -> None:
    graph = build(project).resolve_asset_graph()
    found = sorted(key.to_user_string() for key in graph.get_all_asset_keys())
    assert found == KEYS.read_text().split()


def test_every_asset_says_who_what_and_where_from(project: Project) -> None:
    graph = build(project).resolve_asset_graph()
    for stage in STAGES:
        node = graph.get(dg.AssetKey(stage.asset))
        assert node.description and node.owners and node.group_name == stage.group and node.kinds
        above = {key.to_user_string() for key in node.parent_keys}
        assert above == {*stage.input_names, config_key(stage.asset).to_user_string()}
        assert {check.name for check in stage.checks} == {key.name for key in node.check_keys}


def test_an_experiment_maps_to_its_dataset_and_a_dataset_to_its_members(project: Project) -> None:
    graph = build(project).resolve_asset_graph()

    def reads(child: str, partition: str, parent: str) -> set[str]:
        found = graph.get_parent_partition_keys_for_child(
            partition, dg.AssetKey(parent), dg.AssetKey(child)
        )
        return set(found.partitions_subset.get_partition_keys())

    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.partition_loading_context(dynamic_partitions_store=instance),
    ):
        assert reads("preference_dataset", "exp-a", "candidate_pool") == {"tiny"}
        assert reads("candidate_pool", "tiny", "annotations") == {"tiny--a", "tiny--b"}
        assert reads("completions", "tiny--a", "prompts") == {"tiny"}


def test_loading_imports_nothing_heavy(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        cwd=PROJECT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    modules, megabytes = json.loads(done.stdout)
    assert not set(HEAVY) & set(modules)
    assert megabytes < 250


def test_dagster_validates_the_definitions(folder: Path) -> None:
    done = dagster("definitions", "validate", "-w", "workspace.yaml")
    assert done.returncode == 0, done.stderr + done.stdout


def test_a_wrong_config_is_named_when_the_definitions_load(folder: Path) -> None:
    with (folder / "configs/experiments/exp-a.yaml").open("a") as handle:
        handle.write("sede: 3\n")
    done = dagster("definitions", "validate", "-w", "workspace.yaml")
    assert done.returncode != 0
    assert "unknown key 'sede' (value 3); did you mean 'seed'" in done.stderr + done.stdout


def test_the_command_line_materializes_a_partition(folder: Path) -> None:
    (folder / "pool.jsonl").write_text(
        '{"prompt_id": "1", "prompt": "Name a colour.", "completions": []}\n'
    )
    done = dagster(
        "asset",
        "materialize",
        "-m",
        "activeuf_dagster.definitions",
        "--select",
        "prompts",
        "--partition",
        "tiny",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with dg.DagsterInstance.get() as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("prompts")) == {"tiny"}


def test_the_command_line_says_what_is_missing_upstream(folder: Path) -> None:
    done = dagster(
        "asset",
        "materialize",
        "-m",
        "activeuf_dagster.definitions",
        "--select",
        "key:dpo_model+",
        "--partition",
        "exp-a",
    )
    assert done.returncode != 0
    assert "preference_dataset[exp-a] is missing: materialize it first" in done.stderr + done.stdout


@pytest.mark.parametrize("job", ["loop", "training", "evals", "loop_train_eval"])
def test_jobs_select_assets_of_one_kind_of_partition(project: Project, job: str) -> None:
    found = build(project).resolve_job_def(job).partitions_def
    assert found is not None
    assert found.get_partition_keys() == ["exp-a", "exp-b", "exp-c"]
