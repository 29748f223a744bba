"""The acquisition section of a config file: what it accepts and what it refuses."""

from __future__ import annotations

import pytest

from activeuf_core.acquisition.config import (
    AcquisitionConfig,
    DTSConfig,
    MaxMinConfig,
    RandomConfig,
    UltraFeedbackConfig,
)
from activeuf_core.acquisition.registry import ACQUISITION_FUNCTIONS
from activeuf_core.config import StrictModel, parse
from activeuf_core.errors import ConfigError


class Section(StrictModel):
    """A config that holds an acquisition section."""

    acquisition: AcquisitionConfig


def read(**values: object) -> object:
    """Check an acquisition section as a file's would be."""
    return parse(Section, {"acquisition": values}, "file.yaml").acquisition


@pytest.mark.parametrize("name", ACQUISITION_FUNCTIONS)
def test_every_method_is_found_by_its_name(name: str) -> None:
    assert type(read(method=name)) is ACQUISITION_FUNCTIONS[name].config


@pytest.mark.parametrize("name", ["random", "infomax", "deltaucb", "deltaquantile", "maxmin"])
def test_methods_without_a_width_refuse_one(name: str) -> None:
    with pytest.raises(ConfigError, match="ucb_beta"):
        read(method=name, ucb_beta=2.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "dts", "noise": "gaussian"}, "gaussian"),
        ({"method": "dts", "ucb_beta": -1.0}, "ucb_beta"),
        ({"method": "dts", "max_iterations": 30}, "give both"),
        ({"method": "drts", "compat": "upstream"}, "give both"),
        ({"method": "deltaquantile", "quantile": 0.05, "epsilon": 0.1}, "outside 0 to 1"),
        ({"method": "deltaqwen", "chosen_model": "a", "rejected_model": "a"}, "both 'a'"),
        ({"method": "dtss"}, "dtss"),
    ],
)
def test_bad_values_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(**values)


def test_a_config_survives_being_written_and_read() -> None:
    config = DTSConfig(compat="upstream", max_iterations=30)
    assert read(**config.model_dump()) == config


def test_needs_depend_on_the_settings() -> None:
    assert DTSConfig().needs_heads
    assert not DTSConfig(noise="uniform").needs_heads
    assert UltraFeedbackConfig().needs_scores
    assert not UltraFeedbackConfig().needs_bounds
    assert UltraFeedbackConfig(compat="upstream").needs_bounds
    assert MaxMinConfig().needs_scores
    assert not RandomConfig().needs_bounds
