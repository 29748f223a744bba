"""Sweeps as experiments of the catalog: collapsed points, seeds, wrong names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from activeuf_core.catalog import Catalog
from activeuf_core.errors import ConfigError
from activeuf_core.paths import PROJECT, Layout
from tests.graph.conftest import EXPERIMENT, write_small_project, write_yaml

FIXED = {
    "dataset": {"value": "tiny"},
    "dpo_model.base_model": {"value": "base"},
    "reward_model.base_model": {"value": "base"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a small project."""
    return write_small_project(tmp_path)


def load(folder: Path) -> Catalog:
    return Catalog.load(folder / "configs", Layout(folder / "home"))


def write_sweep(folder: Path, name: str = "s", **parameters: Any) -> None:
    body = {"method": "grid", "parameters": {**FIXED, **parameters}}
    write_yaml(folder / "configs" / "sweeps" / f"{name}.yaml", body)


METHODS = {"loop.acquisition.method": {"values": ["random", "deltaucb", "dts"]}}


def test_a_sweep_becomes_partitions(folder: Path) -> None:
    write_sweep(folder, **METHODS)
    catalog = load(folder)
    assert set(catalog.partitions("dpo_model")) >= {"s-method=dts", "s-method=random", "exp-a"}
    loop = catalog.resolved("preference_dataset", "s-method=dts").full
    assert loop["acquisition"]["method"] == "dts"


def test_a_parameter_that_a_method_does_not_have_makes_no_second_partition(folder: Path) -> None:
    write_sweep(folder, **METHODS, **{"loop.acquisition.ucb_beta": {"values": [1.0, 2.0]}})
    found = load(folder).sweeps["s"]
    assert set(found.experiments) == {
        "s-method=deltaucb",
        "s-method=dts-ucb_beta=1",
        "s-method=dts-ucb_beta=2",
        "s-method=random",
    }
    assert found.collapsed == 2


def test_points_with_equal_resolved_configs_are_one_partition(folder: Path) -> None:
    scale = {"loop.enn.bound_scale": {"values": [1, 1.0, 2]}}
    write_sweep(folder, **{"loop.acquisition.method": {"value": "random"}}, **scale)
    default = {"loop.checkpoint_every": {"values": [5, 50]}}
    write_sweep(folder, "t", **{"loop.acquisition.method": {"value": "random"}}, **default)
    catalog = load(folder)
    assert catalog.sweeps["s"].collapsed == 1
    assert len(catalog.sweeps["t"].experiments) == 1  # how often it is saved is no part of a recipe
    assert catalog.sweeps["t"].same_as == {"t-checkpoint_every=50": "t-checkpoint_every=5"} or (
        catalog.sweeps["t"].same_as == {"t-checkpoint_every=5": "t-checkpoint_every=50"}
    )


def test_a_parameter_that_no_point_has_is_an_error(folder: Path) -> None:
    write_sweep(folder, **METHODS, **{"loop.enn.decay_base": {"values": [0.9, 0.99]}})
    with pytest.raises(ConfigError, match=r"'loop\.enn\.decay_base' is no setting of any point"):
        load(folder)


def test_a_fixed_parameter_with_a_wrong_name_is_an_error(folder: Path) -> None:
    write_sweep(folder, **METHODS, **{"loop.bacth_size": {"value": 3}})
    with pytest.raises(ConfigError, match="did you mean 'batch_size'"):
        load(folder)


def test_a_wrong_value_names_the_file_and_the_key(folder: Path) -> None:
    write_sweep(folder, **METHODS, **{"loop.batch_size": {"values": [8, -1]}})
    with pytest.raises(ConfigError, match=r"s\.yaml .*'batch_size' has the value -1"):
        load(folder)


def test_an_experiment_with_seeds_is_one_per_seed(folder: Path) -> None:
    body = {**EXPERIMENT, "seeds": [1, 2]}
    write_yaml(folder / "configs" / "experiments" / "exp-a.yaml", body)
    catalog = load(folder)
    assert "exp-a" not in catalog.experiments
    seeds = [catalog.resolved("dpo_model", f"exp-a-seed={seed}").full["seed"] for seed in (1, 2)]
    assert seeds == [1, 2]


def test_a_seed_may_stand_there_once(folder: Path) -> None:
    body = {**EXPERIMENT, "seeds": [1, 1]}
    write_yaml(folder / "configs" / "experiments" / "exp-a.yaml", body)
    with pytest.raises(ConfigError, match="a seed may stand there once"):
        load(folder)


def test_a_sweep_and_an_experiment_cannot_share_a_name(folder: Path) -> None:
    write_sweep(folder, **METHODS)
    write_yaml(folder / "configs" / "experiments" / "s-method=dts.yaml", EXPERIMENT)
    with pytest.raises(ConfigError, match=r"'s-method=dts' is declared by .* too"):
        load(folder)


def test_the_shipped_sweeps_have_the_points_that_their_comments_promise(tmp_path: Path) -> None:
    catalog = Catalog.load(PROJECT / "configs", Layout(tmp_path))
    sizes = {name: (len(s.sweep.points), s.collapsed) for name, s in catalog.sweeps.items()}
    assert sizes == {"full_sweep": (81, 0), "acquisition_sweep": (60, 12)}
