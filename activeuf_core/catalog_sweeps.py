"""From the points of sweeps to experiments: one partition per distinct recipe.

A swept parameter that a point's chosen method does not have is left out of that point (an
acquisition function without `ucb_beta` does not become two experiments that differ in nothing), and
points whose resolved configs are equal are one experiment. How many collapsed is told. Points that
an agent suggested are experiments of their sweep too.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from activeuf_core.catalog_files import ExperimentFile, experiment_file
from activeuf_core.config import check_key, unknown_keys
from activeuf_core.errors import ConfigError
from activeuf_core.fingerprint import canonical_json
from activeuf_core.stages import stage_of
from activeuf_core.sweep_points import SuggestedPoint
from activeuf_core.sweeps import Sweep, experiment_of, point_key

SECTIONS = {"preference_dataset": "loop", "dpo_model": "dpo_model", "reward_model": "reward_model"}
"""Assets whose settings can be swept → where those stand in an experiment file."""


@dataclass
class SweepExperiments:
    """The experiments of one sweep. `same_as`: points that are another experiment under another
    name, by key. `suggested`: those that an agent suggested, numbered in that order.
    """

    sweep: Sweep
    experiments: dict[str, ExperimentFile] = field(default_factory=dict)
    same_as: dict[str, str] = field(default_factory=dict)
    suggested: dict[str, int] = field(default_factory=dict)

    @property
    def collapsed(self) -> int:
        """How many points are no partition of their own."""
        return len(self.sweep.points) + len(self.suggested) - len(self.experiments)

    def in_order(self) -> list[str]:
        """Return the keys so that, of equal experiments, the first keeps its name: what files
        declare, then what was suggested first.
        """
        return sorted(self.experiments, key=lambda key: (self.suggested.get(key, -1), key))


def experiments_of(
    sweep: Sweep, folder: Path, suggested: Sequence[SuggestedPoint] = ()
) -> SweepExperiments:
    """Return the experiments of a sweep by key.

    Raises: ConfigError for a point that is wrong, and for a parameter that no point uses.
    """
    reader = _Points(sweep, folder)
    found = SweepExperiments(sweep)
    used: set[str] = set()
    for point in sweep.points:
        kept = reader.without_ignored(point)
        used |= set(kept)
        key = check_key(point_key(sweep.name, kept, sweep.swept), "experiment", sweep.path)
        if key not in found.experiments:
            found.experiments[key] = reader.file(kept)
    for point in () if sweep.points else sweep.examples():
        used |= set(reader.without_ignored(point))
    _check_names(sweep, used)
    for number, one in enumerate(suggested):
        if one.key not in found.experiments:
            found.suggested[one.key] = number
            found.experiments[one.key] = experiment_file(experiment_of(one.point), one.path, folder)
    return found


def _check_names(sweep: Sweep, used: Collection[str]) -> None:
    """Raise ConfigError for a parameter that no point uses."""
    unused = sorted(sweep.parameters.keys() - set(used))
    if unused:
        raise ConfigError(
            f"{sweep.path}: parameter {unused[0]!r} is no setting of any point. Correct its name: "
            "it is a dotted key of an experiment file."
        )


def key_of(sweep: Sweep, point: Mapping[str, Any], folder: Path) -> tuple[str, dict[str, Any]]:
    """Return a point's key, and the point without what its methods do not have.

    Raises: ConfigError for a point that is no experiment.
    """
    kept = _Points(sweep, folder).without_ignored(point)
    return check_key(point_key(sweep.name, kept, sweep.swept), "experiment", sweep.path), kept


@dataclass
class _Points:
    """Reads points, each section of a stage checked once however many points share it."""

    sweep: Sweep
    folder: Path
    _ignored: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _files: dict[str, ExperimentFile] = field(default_factory=dict)

    def file(self, point: Mapping[str, Any]) -> ExperimentFile:
        """Return a point as an experiment file."""
        key = canonical_json(dict(point))
        if key not in self._files:
            body = experiment_of(point)
            self._files[key] = experiment_file(body, self.sweep.path, self.folder)
        return self._files[key]

    def without_ignored(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """Return a point without the swept parameters that its methods do not have."""
        if not self._swept_sections:
            return dict(point)
        file = self.file(point)
        ignored = [name for asset in self._swept_sections for name in self._unknown(asset, file)]
        return {
            name: value
            for name, value in point.items()
            if name not in self.sweep.swept or name not in ignored
        }

    @functools.cached_property
    def _swept_sections(self) -> tuple[str, ...]:
        """The assets whose settings differ between points."""
        swept = {name.partition(".")[0] for name in self.sweep.swept}
        return tuple(asset for asset, section in SECTIONS.items() if section in swept)

    def _unknown(self, asset: str, file: ExperimentFile) -> tuple[str, ...]:
        section = file.section(asset, "")
        key = f"{asset} {section!r}"
        if key not in self._ignored:
            unknown = unknown_keys(stage_of(asset).config, section)
            self._ignored[key] = tuple(f"{SECTIONS[asset]}.{name}" for name in unknown)
        return self._ignored[key]
