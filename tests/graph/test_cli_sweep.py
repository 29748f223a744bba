"""Sweep files as W&B takes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from wandb.sdk.internal.internal_api import Api

from activeuf_core.config import read_yaml
from activeuf_core.paths import PROJECT
from activeuf_core.sweeps import read_sweep
from activeuf_dagster.cli_sweep import uploaded
from tests.fakes.wandb_server import WandbServer
from tests.graph.conftest import write_yaml

SHIPPED = sorted((PROJECT / "configs" / "sweeps").glob("*.yaml"))
# fmt: off
KNOWN_TO_WANDB = frozenset((
    "apiVersion", "command", "controller", "description", "early_terminate", "entity", "image_uri",
    "job", "kind", "method", "metric", "metrics", "name", "parameters", "program", "project",
    "run_cap", "scheduler",
))
# fmt: on
"""The keys of W&B's own schema of a sweep (package `sweeps` 0.3.0); it warns of any other."""


def name_of(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", SHIPPED, ids=name_of)
def test_a_shipped_file_is_taken_by_wandb_as_it_is(path: Path, tmp_path: Path) -> None:
    assert read_yaml(path).keys() <= KNOWN_TO_WANDB
    with WandbServer() as server:
        done = subprocess.run(
            [sys.executable, "-m", "wandb", "sweep", "-e", "team", "-p", "loop", str(path)],
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **server.variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert "Creating sweep with ID" in done.stderr, done.stderr
    assert server.sweep == read_yaml(path)


@pytest.mark.parametrize("path", SHIPPED, ids=name_of)
def test_a_shipped_file_starts_our_program(path: Path) -> None:
    sweep = read_sweep(path.stem, read_yaml(path), path)
    assert uploaded(sweep) == {"name": path.stem, **read_yaml(path)}


@pytest.mark.parametrize(
    ("bounds", "distribution"),
    [({"min": 1, "max": 9}, "int_uniform"), ({"min": 1.0, "max": 9.0}, "uniform")],
)
def test_a_distribution_that_is_not_named_is_the_one_that_wandb_infers(
    bounds: dict[str, Any], distribution: str
) -> None:
    theirs = Api._validate_config_and_fill_distribution({"parameters": {"a": bounds}})
    assert theirs["parameters"]["a"]["distribution"] == distribution
    ours = read_sweep("s", {"method": "random", "run_cap": 1, "parameters": {"a": bounds}}, Path())
    assert isinstance(ours.points[0]["a"], int if distribution == "int_uniform" else float)


def test_seeds_become_a_parameter(tmp_path: Path) -> None:
    body = {"method": "bayes", "seeds": [1, 2], "parameters": {"dataset": {"value": "tiny"}}}
    write_yaml(tmp_path / "mine.yaml", body)
    found = uploaded(read_sweep("mine", body, tmp_path / "mine.yaml"))
    assert found.keys() <= KNOWN_TO_WANDB
    assert found["parameters"]["seed"] == {"values": [1, 2]}
    assert found["command"][3:] == ["activeuf_dagster.sweep_agent", "mine", "${args_json}"]
