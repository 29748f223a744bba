"""The acquisition functions by name: each rule with the config that it takes.

In: an `AcquisitionConfig`. Out: an `AcquisitionFunction`. To add a rule: a config section, a
function `(bounds, stream, config) -> pairs`, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from activeuf_core.acquisition import config as settings
from activeuf_core.acquisition import delta, dueling_bandits, heuristics
from activeuf_core.acquisition.base import AcquisitionFunction, Bounds, Ints
from activeuf_core.acquisition.random_stream import RandomStream
from activeuf_core.errors import DataError

Rule = Callable[[Bounds, RandomStream, Any], Ints]


@dataclass(frozen=True)
class Method:
    """A rule and the class of its config."""

    rule: Rule
    config: type[settings.MethodConfig]


ACQUISITION_FUNCTIONS: dict[str, Method] = {
    "random": Method(heuristics.random, settings.RandomConfig),
    "ultrafeedback": Method(heuristics.ultrafeedback, settings.UltraFeedbackConfig),
    "maxmin": Method(heuristics.maxmin, settings.MaxMinConfig),
    "deltaqwen": Method(heuristics.deltaqwen, settings.DeltaQwenConfig),
    "dts": Method(dueling_bandits.dts, settings.DTSConfig),
    "infomax": Method(dueling_bandits.infomax, settings.InfoMaxConfig),
    "infogain": Method(dueling_bandits.infogain, settings.InfoGainConfig),
    "ids": Method(dueling_bandits.ids, settings.IDSConfig),
    "rucb": Method(dueling_bandits.rucb, settings.RUCBConfig),
    "maxminlcb": Method(dueling_bandits.maxminlcb, settings.MaxMinLCBConfig),
    "drts": Method(delta.drts, settings.DRTSConfig),
    "deltaucb": Method(delta.deltaucb, settings.DeltaUCBConfig),
    "deltaquantile": Method(delta.deltaquantile, settings.DeltaQuantileConfig),
}


@dataclass(frozen=True)
class ConfiguredFunction:
    """A rule with its settings: what the loop calls. See `AcquisitionFunction` for the contract."""

    name: str
    rule: Rule
    config: settings.MethodConfig

    @property
    def needs_bounds(self) -> bool:
        """True when the rule reads rewards."""
        return self.config.needs_bounds

    @property
    def needs_heads(self) -> bool:
        """True when the rule reads posterior draws."""
        return self.config.needs_heads

    @property
    def needs_scores(self) -> bool:
        """True when the rule reads the judge's overall scores."""
        return self.config.needs_scores

    @property
    def needs_models(self) -> bool:
        """True when the rule reads the names of the completion models."""
        return self.config.needs_models

    def select(self, bounds: Bounds, stream: RandomStream) -> Ints:
        """Choose two different completions of each prompt; see `AcquisitionFunction.select`."""
        self._require(self.needs_heads, "heads_EPC", bounds.heads_EPC)
        self._require(self.needs_scores, "overall_score_PC", bounds.overall_score_PC)
        self._require(self.needs_models, "completion_models_PC", bounds.completion_models_PC)
        if len(stream.prompt_P) != len(bounds.mask_PC):
            raise DataError(
                f"{self.name}: the random stream is for {len(stream.prompt_P)} prompts, the bounds "
                f"hold {len(bounds.mask_PC)}. Build both from the same batch."
            )
        pairs_P2 = self.rule(bounds, stream, self.config)
        assert (pairs_P2[:, 0] != pairs_P2[:, 1]).all(), (
            f"{self.name} paired a completion with itself"
        )
        assert np.take_along_axis(bounds.mask_PC, pairs_P2, axis=1).all(), (
            f"{self.name} chose padding"
        )
        return pairs_P2

    def _require(self, needed: bool, field: str, value: object) -> None:
        """Refuse bounds that lack an array which the rule reads."""
        if needed and value is None:
            raise DataError(
                f"acquisition function {self.name!r} with {self.config} needs Bounds.{field}, "
                "which was not given."
            )


def build(config: settings.MethodConfig) -> AcquisitionFunction:
    """Return the acquisition function that a config describes."""
    return ConfiguredFunction(config.method, ACQUISITION_FUNCTIONS[config.method].rule, config)
