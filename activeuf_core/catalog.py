"""The catalog: every dataset, pool member and experiment that the files in `configs/` declare,
checked.

In: a config folder (`models.yaml`, `leaderboard.yaml`, `datasets/`, `defaults/`, `experiments/`,
`sweeps/`).
Out: the partitions of the graph, and for each (asset, partition) the resolved config of its stage.
A wrong file is a ConfigError that names file, key, value and what is allowed; nothing of a catalog
with a wrong file is used.

A resolved config names models and data by content (digest or pinned revision); where they lie on
this machine is kept apart, in `locations`, because it is no part of a recipe.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from activeuf_core.catalog_baselines import BaselineFile
from activeuf_core.catalog_files import (
    RESERVED,
    DatasetFile,
    LeaderboardFile,
    PartitionFile,
    References,
    read_dataset_files,
    read_experiment_files,
    read_leaderboard,
    read_models,
    read_sweeps,
)
from activeuf_core.catalog_sweeps import SweepExperiments, experiments_of
from activeuf_core.config import StrictModel, identity_of, parse
from activeuf_core.digests import DigestCache
from activeuf_core.errors import ConfigError, choose_from
from activeuf_core.evals.benchmarks import BENCHMARKS
from activeuf_core.fingerprint import canonical_json, digest_of, digest_of_text
from activeuf_core.paths import Layout
from activeuf_core.stages import STAGES, Input, Stage, stage_of
from activeuf_core.stand_ins import StandIn, is_stand_in
from activeuf_core.sweep_points import SuggestedPoint, suggested_points

MEMBER_SEPARATOR = "--"
UNPARTITIONED = RESERVED
"""The partition name that stands for an asset without partitions in recipes, manifests and
folders.
"""


_TRAINED_AND_SCORED = (
    "preference_dataset",
    "dpo_model",
    "reward_model",
    *(row.asset for row in BENCHMARKS),
)

_SETTINGS = tuple(
    stage.asset
    for stage in STAGES
    if stage.dimension == "experiment" and stage.asset != "wandb_summary"
)


@dataclass(frozen=True)
class Resolved:
    """A stage's config for one partition.

    `full` is what the stage gets, `identity` the part that differs from the defaults and enters the
    fingerprint: so a new setting with a default leaves every artifact fresh (a changed default is
    caught by the code lock). `is_light`: it only moves rows.
    """

    full: Mapping[str, Any]
    identity: Mapping[str, Any]
    locations: Mapping[str, str]
    is_light: bool = False

    @property
    def is_stand_in(self) -> bool:
        """Whether no stage is run for it."""
        return is_stand_in(self.full)

    @functools.cached_property
    def identity_text(self) -> str:
        """The identity as `canonical_json` writes it."""
        return canonical_json(self.identity)

    @functools.cached_property
    def identity_digest(self) -> str:
        """Digest of the identity: the data version of the config node."""
        return digest_of_text(self.identity_text)

    @functools.cached_property
    def text_but_seed(self) -> str:
        """The same without its seed."""
        return canonical_json({name: v for name, v in self.identity.items() if name != "seed"})

    @functools.cached_property
    def full_digest(self) -> str:
        """Digest of the whole config."""
        return digest_of(self.full)


class Catalog:
    """What the files of one config folder declare."""

    def __init__(
        self,
        datasets: Mapping[str, DatasetFile],
        experiments: Mapping[str, PartitionFile],
        leaderboard: LeaderboardFile,
        references: References,
        sweeps: Sequence[SweepExperiments] = (),
    ) -> None:
        self.datasets = dict(sorted(datasets.items()))
        self.experiments = dict(sorted(experiments.items()))
        self.sweeps = {one.sweep.name: one for one in sweeps}
        self.leaderboard = leaderboard
        self._references = references
        self._resolved: dict[tuple[str, str], Resolved] = {}
        self._of_section: dict[str, Resolved] = {}
        self._settings: dict[str, tuple[str, str]] = {}
        self._dataset_of_member = {
            member_key(dataset, member): dataset
            for dataset, file in self.datasets.items()
            for member in sorted(file.model_pool)
        }
        self._check()
        self._collapse()

    @classmethod
    def load(
        cls, folder: Path, layout: Layout, candidates: Sequence[SuggestedPoint] = ()
    ) -> Catalog:
        """Read and check a config folder, and the points that agents of its sweeps suggested.

        Args: candidates: points to take in as if they were registered. Raises: ConfigError, for
        the first wrong file.
        """
        if not folder.is_dir():
            raise ConfigError(
                f"{folder}: is not a folder. Set ACTIVEUF_CONFIGS to a folder with datasets/ and "
                "experiments/."
            )
        references = References(
            read_models(folder), folder.parent, layout, DigestCache(layout.digests)
        )
        datasets = read_dataset_files(folder)
        experiments = read_experiment_files(folder)
        sweeps = [
            experiments_of(sweep, folder, suggested_points(layout, sweep.name, candidates))
            for sweep in read_sweeps(folder)
        ]
        for one in sweeps:
            for key in experiments.keys() & one.experiments.keys():
                raise ConfigError(
                    f"{one.sweep.path}: experiment {key!r} is declared by {experiments[key].path} "
                    "too. Rename the sweep or the experiment."
                )
            experiments |= one.experiments
        return cls(datasets, experiments, read_leaderboard(folder), references, sweeps)

    @property
    def members(self) -> tuple[str, ...]:
        """Keys of all (dataset, pool member) pairs."""
        return tuple(self._dataset_of_member)

    def partitions(self, asset: str) -> tuple[str, ...]:
        """Return the partitions of an asset."""
        return tuple(self._known(stage_of(asset).dimension))

    def _known(self, dimension: str) -> Mapping[str, Any]:
        """Return the partitions of a dimension as the keys of a mapping, in order."""
        known: Mapping[str, Mapping[str, Any]] = {
            "dataset": self.datasets,
            "member": self._dataset_of_member,
            "experiment": self.experiments,
            "none": {UNPARTITIONED: None},
        }
        return known[dimension]

    def chosen(self, names: Iterable[str] | None) -> tuple[str, ...]:
        """Return experiments by name, by the name of their sweep, or by a pattern (`demo-*`); all
        when nothing is named. Raises: ConfigError for a name that stands for none.
        """
        if not names:
            return tuple(self.experiments)
        found: dict[str, None] = {}
        for name in names:
            own = self.sweeps[name].experiments if name in self.sweeps else ()
            hits = [key for key in self.experiments if key in own or fnmatchcase(key, name)]
            if name in self.sweeps and not hits:
                raise ConfigError(
                    f"sweep {name!r} has no experiments yet: its method draws without a run_cap, "
                    "so only agents suggest points."
                )
            if not hits:
                known = choose_from(name, [*self.experiments, *self.sweeps])
                raise ConfigError(f"unknown experiment {name!r}; {known}.")
            found |= dict.fromkeys(hits)
        return tuple(found)

    def dataset_of(self, dimension: str, partition: str) -> str:
        """Return the dataset that a partition belongs to; '' for a baseline, which has none."""
        if dimension == "dataset":
            return partition
        if dimension == "member":
            return self._dataset_of_member[partition]
        return self.experiments[partition].dataset

    def members_of(self, dataset: str) -> tuple[str, ...]:
        """Return the keys of a dataset's pool members."""
        return tuple(key for key, owner in self._dataset_of_member.items() if owner == dataset)

    def inputs_of(self, stage: Stage, partition: str) -> tuple[Input, ...]:
        """Return the assets that one partition of a stage reads: all of the stage's, but none for a
        stand-in, and of scores only those of benchmarks that are not left out.
        """
        if stage.dimension != "experiment":
            return stage.inputs
        if self.resolved(stage.asset, partition).is_stand_in:
            return ()
        if stage.asset != "scores":
            return stage.inputs
        file = self.experiments[partition]
        return tuple(item for item in stage.inputs if not file.leaves_out(item.asset))

    def upstream_partitions(self, stage: Stage, partition: str, asset: str) -> tuple[str, ...]:
        """Return the partitions of the upstream `asset` that one partition of a stage reads."""
        above = stage_of(asset).dimension
        if stage.dimension == "none":
            return self.partitions(asset)
        if above == stage.dimension:
            return (partition,)
        dataset = self.dataset_of(stage.dimension, partition)
        if not dataset:
            return ()
        if asset == "annotations" and self.datasets[dataset].is_lazy:
            return ()  # the loop has those completions judged that it selects
        return (dataset,) if above == "dataset" else self.members_of(dataset)

    def resolved(self, asset: str, partition: str) -> Resolved:
        """Return the resolved config of a stage for one partition.

        Raises: ConfigError for a partition that no file declares, or a config that is wrong.
        """
        found = self._resolved.get((asset, partition))
        if found is not None:
            return found
        if partition not in self._known(stage_of(asset).dimension):
            known = choose_from(partition, self.partitions(asset))
            raise ConfigError(f"{asset} has no partition {partition!r}; {known}.")
        section, where = self._section(stage_of(asset), partition)
        same = f"{asset} {section!r}"
        if same not in self._of_section:  # most points of a sweep share most sections
            model = StandIn if is_stand_in(section) else stage_of(asset).config
            self._of_section[same] = self._resolve(model, section, where)
        found = self._resolved[asset, partition] = self._of_section[same]
        return found

    def config(self, asset: str, partition: str) -> Mapping[str, Any]:
        """Return the part of a stage's config that enters the fingerprint."""
        return self.resolved(asset, partition).identity

    def leaderboard_config(self, scores: Mapping[str, str]) -> dict[str, Any]:
        """Return the leaderboard's config for the experiments that have scores (experiment →
        fingerprint).
        """
        rows = []
        for experiment, found in sorted(scores.items()):
            digests = self._settings_but_seeds(experiment)
            facts = {**self._facts_of(experiment), "settings": digests[0], "curve": digests[1]}
            rows.append({"experiment": experiment, "scores": found, **facts})
        return {"rows": rows, "baseline": self.leaderboard.baseline}

    def _facts_of(self, experiment: str) -> dict[str, Any]:
        """Return what tells an experiment from others, for a reader."""
        file = self.experiments[experiment]
        if isinstance(file, BaselineFile):
            return {"dataset": "", "acquisition": "", "seed": 0, "baseline": file.kind}
        loop = self.resolved("preference_dataset", experiment).full
        facts = {"dataset": file.dataset, "acquisition": loop["acquisition"]["method"]}
        loss = self.resolved("dpo_model", experiment).full["loss_type"]
        return {**facts, "seed": loop["seed"], "loss": loss}

    def _settings_but_seeds(self, experiment: str) -> tuple[str, str]:
        """Return a digest of all that an experiment sets but its seeds, and one without the loop's
        budget too.
        """
        if experiment not in self._settings:
            found = [self.resolved(asset, experiment) for asset in _SETTINGS]
            texts = [one.text_but_seed for one in found if not one.is_stand_in]
            loop = dict(found[_SETTINGS.index("preference_dataset")].identity)
            unlimited = [canonical_json({**loop, "seed": 0, "budget": None}), *texts[1:]]
            self._settings[experiment] = (
                digest_of_text(f"[{','.join(texts)}]"),
                digest_of_text(f"[{','.join(unlimited)}]"),
            )
        return self._settings[experiment]

    def _resolve(
        self, model: type[StrictModel], section: Mapping[str, Any], where: str
    ) -> Resolved:
        locations: dict[str, str] = {}
        plain = self._references.resolve(section, where, locations)
        checked = parse(model, plain, where)
        full = checked.model_dump(mode="json")
        identity = identity_of(checked, full)
        return Resolved(full, identity, locations, checked.is_light)

    def _section(self, stage: Stage, partition: str) -> tuple[dict[str, Any], str]:
        """Return a stage's section as its file gives it, and where that is."""
        if stage.dimension == "experiment":
            file = self.experiments[partition]
            section = file.section(stage.asset, partition)
            dataset_file = self.datasets.get(file.dataset)
            if stage.asset == "preference_dataset" and dataset_file and dataset_file.is_lazy:
                section |= {"judging": "lazy", "judge": dataset_file.body.judge}
            return section, f"{file.path} ({stage.asset})"
        if stage.dimension == "none":
            return self.leaderboard_config({}), "leaderboard.yaml"
        dataset = self.dataset_of(stage.dimension, partition)
        member = partition.removeprefix(dataset + MEMBER_SEPARATOR)
        file_of_dataset = self.datasets[dataset]
        return file_of_dataset.section(
            stage.asset, member
        ), f"{file_of_dataset.path} ({stage.asset})"

    def _collapse(self) -> None:
        """Keep one of the points of a sweep whose resolved configs are equal."""
        for one in self.sweeps.values():
            seen: dict[str, str] = {}
            for key in one.in_order():
                texts = [self.resolved(asset, key).identity_text for asset in _TRAINED_AND_SCORED]
                same = "\n".join([self.experiments[key].dataset, *texts])
                if same in seen:
                    one.same_as[key] = seen[same]
                seen.setdefault(same, key)
            for key in one.same_as:
                del one.experiments[key], self.experiments[key]

    def _check(self) -> None:
        """Resolve every partition once, so that a wrong file is refused now and not in a job."""
        for file in self.experiments.values():
            if file.dataset not in self.datasets and not isinstance(file, BaselineFile):
                raise ConfigError(
                    f"{file.path}: key 'dataset' has the value {file.dataset!r}; "
                    f"{choose_from(file.dataset, self.datasets)}."
                )
        baseline = self.leaderboard.baseline
        if baseline is not None and baseline not in self.experiments:
            raise ConfigError(
                f"leaderboard.yaml: key 'baseline' has the value {baseline!r}; "
                f"{choose_from(baseline, self.experiments)}."
            )
        assets = (
            "prompts",
            "candidate_pool",
            "features",
            "completions",
            "annotations",
        )
        for asset in (*assets, *_TRAINED_AND_SCORED):
            for partition in self.partitions(asset):
                self.resolved(asset, partition)


def member_key(dataset: str, member: str) -> str:
    """Return the partition key of a pool member of a dataset."""
    return f"{dataset}{MEMBER_SEPARATOR}{member}"
