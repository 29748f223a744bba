"""Sweep files in W&B's format: points, draws and keys."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from activeuf_core.errors import ConfigError
from activeuf_core.sweeps import (
    DISTRIBUTIONS,
    Parameter,
    Sweep,
    experiment_of,
    point_key,
    read_sweep,
    short_names,
)

PATH = Path("my.yaml")


def sweep(method: str = "grid", name: str = "s", **values: Any) -> Sweep:
    return read_sweep(name, {"method": method, **values}, PATH)


def keys(found: Sweep) -> set[str]:
    return {point_key(found.name, point, found.swept) for point in found.points}


def test_a_grid_is_every_combination() -> None:
    found = sweep(parameters={"a": {"values": [1, 2]}, "b": {"values": ["x", "y"]}})
    assert len(found.points) == 4
    assert {"a": 2, "b": "y"} in found.points


def test_keys_are_readable_and_do_not_depend_on_the_order_of_the_file() -> None:
    one = {"loop.batch_size": {"values": [64, 256]}, "loop.enn.bound_scale": {"values": [1.0, 2.5]}}
    two = {name: {"values": spec["values"][::-1]} for name, spec in reversed(one.items())}
    assert keys(sweep(parameters=one)) == keys(sweep(parameters=two))
    assert "s-batch_size=64-bound_scale=2.5" in keys(sweep(parameters=one))


def test_what_does_not_differ_is_not_in_the_key() -> None:
    assert keys(sweep(parameters={"a": {"value": 3}, "b": {"values": [1, 2]}})) == {
        "s-b=1",
        "s-b=2",
    }


def test_two_parameters_with_one_last_name_are_told_apart() -> None:
    found = short_names(frozenset({"dpo_model.learning_rate", "reward_model.learning_rate", "a"}))
    assert set(found.values()) == {"dpo_model.learning_rate", "reward_model.learning_rate", "a"}


@pytest.mark.parametrize("value", ["a/b", "x,y", "ü", "..", "$(rm)", "a b", "", "-"])
def test_values_that_a_key_cannot_hold_are_replaced_and_told_apart(value: str) -> None:
    key = point_key("s", {"a": value}, frozenset({"a"}))
    assert key.isascii()
    assert not set(key) & set("/, $()|")
    assert ".." not in key
    assert key != point_key("s", {"a": value + "!"}, frozenset({"a"}))


def test_numbers_that_print_alike_have_different_keys() -> None:
    one, two = (point_key("s", {"a": x}, frozenset({"a"})) for x in (0.1, 0.1 + 1e-12))
    assert one != two


def test_a_long_key_ends_in_a_digest() -> None:
    swept = frozenset(f"loop.some_long_name_{n}" for n in range(12))
    one = point_key("s", dict.fromkeys(swept, 1), swept)
    two = point_key("s", {**dict.fromkeys(swept, 1), min(swept): 2}, swept)
    assert len(one) <= 150
    assert one != two


def test_dotted_keys_become_nested_ones() -> None:
    point = {"loop.enn.num_heads": 4, "loop.batch_size": 8, "seed": 1}
    assert experiment_of(point) == {"loop": {"enn": {"num_heads": 4}, "batch_size": 8}, "seed": 1}


def test_nested_parameters_are_dotted_ones() -> None:
    nested = {"loop": {"parameters": {"batch_size": {"values": [1, 2]}}}}
    assert sweep(parameters=nested).swept == {"loop.batch_size"}


def test_every_point_comes_once_per_seed() -> None:
    found = sweep(parameters={"a": {"values": [1, 2]}}, seeds=[7, 8, 9])
    assert len(found.points) == 6
    assert "s-a=2-seed=9" in keys(found)


def test_draws_are_the_same_for_ever_and_differ_between_sweeps() -> None:
    parameters = {"lr": {"distribution": "log_uniform_values", "min": 1e-6, "max": 1e-3}}
    one = sweep("random", parameters=parameters, run_cap=5)
    assert one.points == sweep("random", parameters=parameters, run_cap=5).points
    assert one.points[:3] == sweep("random", parameters=parameters, run_cap=3).points
    assert one.points != sweep("random", "other", parameters=parameters, run_cap=5).points
    assert all(1e-6 <= point["lr"] <= 1e-3 for point in one.points)


def test_a_parameter_more_leaves_the_draws_of_the_others() -> None:
    lr = {"lr": {"min": 0.0, "max": 1.5}}
    one = sweep("bayes", parameters=lr, run_cap=4)
    two = sweep("bayes", parameters={**lr, "n": {"values": [1, 2, 3]}}, run_cap=4)
    assert [p["lr"] for p in one.points] == [p["lr"] for p in two.points]


@pytest.mark.parametrize("name", sorted(DISTRIBUTIONS))
def test_draws_stay_within_the_limits(name: str) -> None:
    if name.endswith("normal"):
        parameter = Parameter(mu=2.0, sigma=0.001, q=0.0005)
        low, high = (1.99, 2.01) if not name.endswith("log_normal") else (7.3, 7.5)
    elif name == "log_uniform":
        parameter, (low, high) = Parameter(min=0.0, max=1.0), (1.0, 2.7183)
    elif name == "inv_log_uniform_values":
        parameter, (low, high) = Parameter(min=1.0, max=4.0), (0.25, 1.0)
    else:
        parameter, (low, high) = Parameter(min=1, max=4), (1, 4)
    draws = [DISTRIBUTIONS[name](parameter, random.Random(n).random()) for n in range(300)]
    assert low <= min(draws) < max(draws) <= high


def test_whole_limits_draw_whole_numbers_evenly() -> None:
    found = sweep("random", parameters={"n": {"min": 1, "max": 4}}, run_cap=400)
    counts = [sum(point["n"] == n for point in found.points) for n in (1, 2, 3, 4)]
    assert sum(counts) == 400
    assert min(counts) > 60


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "gird", "parameters": {"a": {"value": 1}}}, "'method' has the value 'gird'"),
        ({"method": "grid", "parameters": {}}, "parameters"),
        ({"method": "grid", "parameters": {"a": 3}}, "'parameters.a' has the value 3"),
        ({"method": "grid", "parameters": {"a": {"vlaues": [1]}}}, "did you mean 'values'"),
        (
            {
                "method": "grid",
                "parameters": {"a": {"values": [1]}},
                "command": ["python", "-m", "activeuf_dagster.sweep_agent", "other"],
            },
            "stands the sweep's name, 's'",
        ),
        ({"method": "grid", "parameters": {"a": {"min": 0, "max": 1}}}, "a grid has no end"),
        (
            {"method": "random", "run_cap": 1, "parameters": {"a": {"distribution": "gauss"}}},
            "distribution 'gauss'",
        ),
        (
            {"method": "random", "run_cap": 1, "parameters": {"a": {"distribution": "uniform"}}},
            "needs `min` and `max`",
        ),
        (
            {"method": "grid", "parameters": {c: {"values": [*range(20)]} for c in "abcd"}},
            "160000 points",
        ),
    ],
)
def test_wrong_files_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_sweep("s", given, PATH)


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_without_a_cap_only_an_agent_draws(method: str) -> None:
    found = sweep(method, parameters={"a": {"min": 0.0, "max": 1.0}, "b": {"value": 3}})
    assert found.points == ()
    assert found.swept == {"a"}


def test_bounds_are_whole_numbers_only_where_both_are_written_so() -> None:
    bounds = {"whole": {"min": 0, "max": 3}, "not": {"min": 0.0, "max": 3.0}}
    [point] = sweep("random", run_cap=1, parameters=bounds).points
    assert isinstance(point["whole"], int)
    assert isinstance(point["not"], float)
