"""Every setting of every acquisition function changes what is selected, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from activeuf_core.acquisition.base import Bounds
from activeuf_core.acquisition.config import AcquisitionConfig, MethodConfig
from activeuf_core.acquisition.registry import ACQUISITION_FUNCTIONS, build
from activeuf_core.config import StrictModel, parse
from activeuf_core.errors import ConfigError

UPSTREAM = {"compat": "upstream", "max_iterations": 30}
CHANGES: dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any]]] = {
    ("ultrafeedback", "num_sampled"): ({}, {"num_sampled": 2}),
    ("ultrafeedback", "compat"): ({}, {"compat": "upstream"}),
    ("deltaqwen", "chosen_model"): ({}, {"chosen_model": "c"}),
    ("deltaqwen", "rejected_model"): ({}, {"rejected_model": "d"}),
    ("dts", "noise"): ({}, {"noise": "uniform"}),
    ("dts", "ucb_beta"): ({}, {"ucb_beta": 3.0}),
    ("dts", "compat"): ({}, UPSTREAM),
    ("dts", "max_iterations"): (UPSTREAM, {**UPSTREAM, "max_iterations": 1}),
    ("drts", "noise"): ({}, {"noise": "uniform"}),
    ("drts", "ucb_beta"): ({}, {"ucb_beta": 3.0}),
    ("drts", "compat"): ({"noise": "uniform"}, {**UPSTREAM, "noise": "uniform", "ucb_beta": 9.0}),
    ("drts", "max_iterations"): (
        {**UPSTREAM, "noise": "uniform", "ucb_beta": 9.0},
        {**UPSTREAM, "noise": "uniform", "ucb_beta": 9.0, "max_iterations": 1},
    ),
    ("infogain", "noise"): ({}, {"noise": "uniform"}),
    ("infogain", "ucb_beta"): ({}, {"ucb_beta": 3.0}),
    ("ids", "ucb_beta"): ({}, {"ucb_beta": 0.1}),
    ("ids", "noise_variance"): ({}, {"noise_variance": 0.01}),
    ("ids", "compat"): ({}, {"compat": "upstream"}),
    ("rucb", "ucb_beta"): ({}, {"ucb_beta": 3.0}),
    ("rucb", "decision_buffer"): ({}, {"decision_buffer": 2.0}),
    ("rucb", "compat"): ({}, {"compat": "upstream"}),
    ("maxminlcb", "ucb_beta"): ({}, {"ucb_beta": 3.0}),
    ("maxminlcb", "argmax_tol"): ({}, {"argmax_tol": 1.0}),
    ("deltaquantile", "quantile"): ({}, {"quantile": 0.5}),
    ("deltaquantile", "epsilon"): ({"quantile": 0.5}, {"quantile": 0.5, "epsilon": 0.3}),
}
"""Per method and setting, two sections that differ in it; nearly always in nothing else."""
FIELDS = {name: set(method.config.model_fields) for name, method in ACQUISITION_FUNCTIONS.items()}
ALL_FIELDS = set().union(*FIELDS.values()) | {"beta", "seed", "use_candidate_set", "tol"}
FOREIGN = [(name, key) for name in FIELDS for key in sorted(ALL_FIELDS - FIELDS[name])]


class Section(StrictModel):
    """A config that holds an acquisition section."""

    acquisition: AcquisitionConfig


def read(name: str, values: dict[str, Any]) -> MethodConfig:
    section = {"method": name, **values}
    return parse(Section, {"acquisition": section}, "file.yaml").acquisition


def test_the_table_has_every_setting_of_every_method() -> None:
    declared = {(name, key) for name in FIELDS for key in FIELDS[name] - {"method"}}
    assert set(CHANGES) == declared


@pytest.mark.parametrize(("name", "key"), CHANGES, ids=lambda value: str(value))
def test_setting_changes_what_is_selected(
    bounds_of: Callable[..., Bounds], stream_of: Callable, name: str, key: str
) -> None:
    bounds = bounds_of(400)
    one, other = (read(name, values) for values in CHANGES[name, key])
    assert getattr(one, key) != getattr(other, key)
    assert (
        build(one).select(bounds, stream_of(bounds))
        != build(other).select(bounds, stream_of(bounds))
    ).any()


@pytest.mark.parametrize(("name", "key"), FOREIGN, ids=lambda value: str(value))
def test_setting_of_another_method_is_refused_by_key(name: str, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        read(name, {key: 1})


@pytest.mark.parametrize("name", FIELDS)
def test_misspelt_setting_is_told_the_nearest(name: str) -> None:
    for key in sorted(FIELDS[name] - {"method"}):
        with pytest.raises(ConfigError, match=f"did you mean '{key}'"):
            read(name, {f"{key}s": 1})


@pytest.mark.parametrize("name", FIELDS)
def test_empty_section_is_the_default(name: str) -> None:
    assert read(name, {}) == ACQUISITION_FUNCTIONS[name].config()
