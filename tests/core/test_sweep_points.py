"""Points that an agent suggested: checked against the file, registered once, then partitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from activeuf_core import sweep_points
from activeuf_core.catalog import Catalog
from activeuf_core.catalog_sweeps import key_of
from activeuf_core.errors import ConfigError
from activeuf_core.paths import Layout
from activeuf_core.sweep_points import candidate, checked_point, register
from tests.core.test_catalog_sweeps import FIXED
from tests.graph.conftest import write_small_project, write_yaml

CONSTANT = {**FIXED, "loop.acquisition.method": {"value": "random"}}
GIVEN = {name: one["value"] for name, one in CONSTANT.items()}
RATE = "dpo_model.learning_rate"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small project with a sweep of which only an agent knows the points."""
    body = {
        "method": "bayes",
        "parameters": {**CONSTANT, RATE: {"min": 0.0, "max": 0.1}},
    }
    write_yaml(tmp_path / "configs" / "sweeps" / "s.yaml", body)
    return write_small_project(tmp_path)


def load(folder: Path, *candidates: Any) -> Catalog:
    return Catalog.load(folder / "configs", Layout(folder / "home"), candidates)


def suggest(folder: Path, rate: float) -> sweep_points.SuggestedPoint:
    """Return a candidate, as an agent makes one."""
    sweep = load(folder).sweeps["s"].sweep
    key, kept = key_of(sweep, checked_point(sweep, {**GIVEN, RATE: rate}), folder / "configs")
    return candidate(Layout(folder / "home"), "s", key, kept)


def test_a_registered_point_is_a_partition_of_its_sweep(folder: Path) -> None:
    assert register(suggest(folder, 0.01))
    catalog = load(folder)
    assert catalog.chosen(["s"]) == ("s-learning_rate=0.01",)
    assert catalog.resolved("dpo_model", "s-learning_rate=0.01").full["learning_rate"] == 0.01


def test_the_same_point_is_registered_once(folder: Path) -> None:
    assert register(suggest(folder, 0.01))
    assert not register(suggest(folder, 0.01))


def test_a_candidate_is_checked_before_anybody_else_sees_it(folder: Path) -> None:
    with pytest.raises(ConfigError, match="learning_rate' has the value -1"):
        load(folder, suggest(folder, -1.0))
    assert "s-learning_rate=0.02" in load(folder, suggest(folder, 0.02)).experiments
    assert load(folder).sweeps["s"].experiments == {}


def test_what_was_registered_first_keeps_its_name(folder: Path) -> None:
    register(candidate(Layout(folder / "home"), "s", "s-zzz", {**GIVEN, RATE: 0.01}))
    found = load(folder, suggest(folder, 0.01)).sweeps["s"]
    assert found.same_as == {"s-learning_rate=0.01": "s-zzz"}
    assert found.collapsed == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dpo_model.beta": 1.0}, "has no parameter 'dpo_model.beta' any more"),
        ({"dataset": "other"}, "'dataset' has the value 'tiny', and 'other' in the agent's"),
        ({RATE: None}, "has the parameter 'dpo_model.learning_rate', of which"),
    ],
)
def test_a_sweep_that_is_not_the_file_s_is_refused(
    folder: Path, change: dict[str, Any], message: str
) -> None:
    given = {**GIVEN, RATE: 0.01, **change}
    sweep = load(folder).sweeps["s"].sweep
    with pytest.raises(ConfigError, match=f"{message}.*activeuf sweep create s"):
        checked_point(sweep, {name: value for name, value in given.items() if value is not None})


def test_nested_parameters_arrive_by_dotted_key(folder: Path) -> None:
    sweep = load(folder).sweeps["s"].sweep
    nested = {
        "dataset": "tiny",
        "loop": {"acquisition": {"method": "random"}},
        "dpo_model": {"base_model": "base", "learning_rate": 0.01},
        "reward_model": {"base_model": "base"},
    }
    assert checked_point(sweep, nested) == {**GIVEN, RATE: 0.01}


def test_a_broken_file_is_named(folder: Path) -> None:
    path = folder / "home" / "sweeps" / "s" / "s-x.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"s-x\.json: is no point of a sweep"):
        load(folder)


def test_a_wrong_name_is_refused_before_an_agent_draws(folder: Path) -> None:
    method = {"loop.acquisition.method": {"values": ["random", "dts"]}}
    knob = {"loop.acquisition.ucb_beta": {"min": 1.0, "max": 2.0}}  # random has none
    body = {"method": "bayes", "parameters": {**FIXED, **method, **knob}}
    write_yaml(folder / "configs" / "sweeps" / "s.yaml", body)
    assert load(folder).sweeps["s"].experiments == {}
    body["parameters"] |= {"loop.acquisition.ucb_bta": {"min": 1.0, "max": 2.0}}
    write_yaml(folder / "configs" / "sweeps" / "s.yaml", body)
    with pytest.raises(ConfigError, match=r"ucb_bta' is no setting of any point"):
        load(folder)
