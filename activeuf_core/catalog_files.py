"""The files of a config folder: their shapes, and how references in them become identities.

    models.yaml              name → {path} or {hub, revision}
    leaderboard.yaml         {baseline: experiment}
    datasets/<name>.yaml     prompts, model pool, judge, candidate pool, features of one dataset
    defaults/<name>.yaml     values that datasets or experiments share; a file `extends` one
    experiments/<name>.yaml  one experiment, or one per seed: dataset, loop, trainings, benchmarks;
                             or a baseline
    sweeps/<name>.yaml       many experiments, in W&B's format for sweeps

In: YAML files. Out: checked bodies, and resolved sections of stages.
"""

from __future__ import annotations

import functools
import os
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from activeuf_core.catalog_baselines import BASELINE_KEY, BaselineFile, baseline_file
from activeuf_core.catalog_benchmarks import SHARED_KEY, Benchmarks, check_names, scores_section
from activeuf_core.config import StrictModel, check_key, merge, parse, read_yaml
from activeuf_core.digests import HUB, DigestCache
from activeuf_core.errors import ConfigError, choose_from
from activeuf_core.paths import Layout
from activeuf_core.sweeps import Sweep, read_sweep

MODEL_KEYS = frozenset({"model", "base_model"})
DATA_KEYS = frozenset({"source", "data"})
SEED_SEPARATOR = "-seed="
RESERVED = "all"
"""Stands for an asset without partitions in recipes, manifests and folders."""


class Place(StrictModel):
    """Where a model or data set is: a local path, or a hub id with a pinned revision."""

    path: str | None = Field(default=None, min_length=1)
    """Absolute, or relative to the folder that holds `configs/`. `$NAME` is replaced from the
    environment.
    """
    hub: str | None = None
    revision: str | None = None
    """Commit or tag of the hub repository. A branch such as `main` can move under a finished
    artifact.
    """

    @model_validator(mode="after")
    def _is_one_place(self) -> Place:
        if (self.path is None) == (self.hub is None):
            raise ValueError("give either 'path' or 'hub'")
        if self.hub is not None and not self.revision:
            raise ValueError(f"hub {self.hub!r} needs a 'revision' (a commit or tag)")
        return self


class DatasetBody(StrictModel):
    """Content of `datasets/<name>.yaml`. Sections are checked against their stage's own model."""

    description: str = ""
    extends: str | None = None
    prompts: dict[str, Any]
    completions: dict[str, Any] = Field(default_factory=dict)
    """Settings that all pool members share."""
    model_pool: dict[str, dict[str, Any] | None] = Field(min_length=1)
    """Member name → what differs for this member; null: nothing."""
    judge: dict[str, Any]
    judging: Literal["eager", "lazy"] = "eager"
    """`eager`: every completion is judged before the loops begin. `lazy`: each loop has those
    judged that it selects, and the annotations are made for nobody.
    """
    candidate_pool: dict[str, Any] = Field(default_factory=dict)
    features: dict[str, Any]


class ExperimentBody(StrictModel):
    """Content of `experiments/<name>.yaml`, laid over the defaults that it extends."""

    description: str = ""
    extends: str | None = None
    dataset: str
    seed: int = 4
    """Seed of the loop and of both trainings, unless they set their own."""
    seeds: tuple[int, ...] = ()
    """One experiment per seed, `<name>-seed=<seed>`, instead of one with `seed`."""
    loop: dict[str, Any]
    dpo_model: dict[str, Any]
    reward_model: dict[str, Any]
    benchmarks: dict[str, dict[str, Any] | None] = Field(default_factory=dict)
    """Benchmark → its settings; null leaves it out. `all` holds what they share."""


class LeaderboardFile(StrictModel):
    """Content of `leaderboard.yaml`."""

    baseline: str | None = None


@dataclass(frozen=True)
class DatasetFile:
    """One dataset file, checked."""

    path: Path
    body: DatasetBody

    @property
    def model_pool(self) -> Mapping[str, Mapping[str, Any] | None]:
        """The pool's members."""
        return self.body.model_pool

    @property
    def is_lazy(self) -> bool:
        """Whether completions are judged only when a loop selects them."""
        return self.body.judging == "lazy"

    def section(self, asset: str, member: str) -> dict[str, Any]:
        """Return the section of a stage; of completions, the one of a member."""
        if asset == "completions":
            own = merge(self.body.completions, self.body.model_pool[member] or {})
            source = {} if "model" in own else {"source": self.body.prompts.get("source")}
            mode = "generate" if "model" in own else "recorded"
            return {"mode": mode, **source, **own, "member": member}
        if asset == "annotations":
            return {"judge": self.body.judge}
        if asset == "candidate_pool" and self.is_lazy:
            return {**self.body.candidate_pool, "judging": "lazy"}
        return dict(getattr(self.body, asset))


@dataclass(frozen=True)
class ExperimentFile:
    """One experiment file, checked, with its defaults laid under it."""

    path: Path
    body: ExperimentBody

    @property
    def dataset(self) -> str:
        """Name of the dataset that the experiment runs on."""
        return self.body.dataset

    def section(self, asset: str, experiment: str) -> dict[str, Any]:
        """Return the section of a stage."""
        if asset == "preference_dataset":
            return {"seed": self.body.seed, **self.body.loop}
        if asset in ("dpo_model", "reward_model"):
            return {"seed": self.body.seed, **getattr(self.body, asset)}
        if asset == "scores":
            return scores_section(self._benchmarks.titles())
        if asset == "wandb_summary":
            own = self.body.dpo_model
            loss = {"loss_type": own["loss_type"]} if "loss_type" in own else {}
            return {"experiment": experiment, **loss}
        return self._benchmarks.section(asset)

    def leaves_out(self, asset: str) -> bool:
        """Whether the experiment does without the benchmark of a score."""
        return self._benchmarks.leaves_out(asset)

    @property
    def _benchmarks(self) -> Benchmarks:
        return Benchmarks(self.body.benchmarks)


PartitionFile = ExperimentFile | BaselineFile
"""What declares one partition of the experiments."""


@dataclass(frozen=True)
class References:
    """Turns names of models and places of data into identities, and remembers where they lie."""

    models: Mapping[str, Place]
    project: Path
    layout: Layout
    digests: DigestCache = field(repr=False)
    _found: dict[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    """Path as written → where it is, and its digest: each is looked at once per catalog."""

    def resolve(
        self, section: Mapping[str, Any], where: str, locations: dict[str, str]
    ) -> dict[str, Any]:
        """Return the section with every reference as {name, identity}; add where each lies to
        `locations`.
        """
        plain: dict[str, Any] = {}
        for key, value in section.items():
            if key in MODEL_KEYS:
                plain[key] = self._reference(
                    value, self._model(value, key, where), where, locations
                )
            elif key in DATA_KEYS and isinstance(value, Mapping):
                place = parse(Place, value, f"{where}, key {key!r}")
                name = place.hub or Path(str(place.path)).name
                plain[key] = self._reference(name, place, where, locations)
            elif isinstance(value, Mapping):
                plain[key] = self.resolve(value, where, locations)
            else:
                plain[key] = value
        return plain

    def _model(self, name: str, key: str, where: str) -> Place:
        if not isinstance(name, str) or name not in self.models:
            raise ConfigError(
                f"{where}: key {key!r} has the value {name!r}, which models.yaml does not "
                f"declare; {choose_from(name, self.models)}."
            )
        return self.models[name]

    def _reference(
        self, name: str, place: Place, where: str, locations: dict[str, str]
    ) -> dict[str, str]:
        if place.hub is not None:
            location = f"{place.hub}@{place.revision}"
            identity = f"{HUB}{location}"
        else:
            text = str(place.path)
            if text not in self._found:  # thousands of experiments name the same model
                path = self._path(text, where)
                self._found[text] = (str(path), self.digests.digest(path))
            location, identity = self._found[text]
        if locations.setdefault(name, location) != location:  # another file of that name
            name = location if place.hub else str(place.path)
            locations[name] = location
        return {"name": name, "identity": identity}

    def _path(self, text: str, where: str) -> Path:
        names = {**os.environ, "ACTIVEUF_HOME": str(self.layout.home)}
        try:
            expanded = string.Template(text).substitute(names)
        except (KeyError, ValueError) as error:
            raise ConfigError(
                f"{where}: path {text!r} names the variable {error}, which is not set. Set it, or "
                "write the path out."
            ) from None
        return self.project / expanded


def read_models(folder: Path) -> dict[str, Place]:
    """Read `models.yaml`; without one there are no models."""
    path = folder / "models.yaml"
    if not path.exists():
        return {}
    entries = read_yaml(path)
    for name, value in entries.items():
        if not isinstance(value, Mapping):
            raise ConfigError(
                f"{path}: key {name!r} has the value {value!r}; expected {{path: …}} or "
                f"{{hub: …, revision: …}}."
            )
    return {
        check_key(name, "model", path): parse(Place, value, f"{path} ({name})")
        for name, value in entries.items()
    }


def read_leaderboard(folder: Path) -> LeaderboardFile:
    """Read `leaderboard.yaml`; without one there is no baseline."""
    path = folder / "leaderboard.yaml"
    return parse(LeaderboardFile, read_yaml(path), path) if path.exists() else LeaderboardFile()


def read_dataset_files(folder: Path) -> dict[str, DatasetFile]:
    """Read all of `datasets/`, each laid over the defaults that it extends."""
    files = {}
    for name, path in _named_files(folder / "datasets", "dataset").items():
        if "--" in name:
            raise ConfigError(
                f"{path}: dataset {name!r} contains '--', which separates it from pool members in "
                "keys. Rename it."
            )
        body = parse(DatasetBody, _with_defaults(path, folder), path)
        for member in body.model_pool:
            check_key(f"{name}--{member}", "pool member", path)
        files[name] = DatasetFile(path, body)
    return files


def read_experiment_files(folder: Path) -> dict[str, PartitionFile]:
    """Read all of `experiments/`, each laid over the defaults that it extends; one with `seeds` is
    one experiment per seed, one with `baseline` a baseline.
    """
    files: dict[str, PartitionFile] = {}
    for name, path in _named_files(folder / "experiments", "experiment").items():
        own = read_yaml(path)
        if BASELINE_KEY in own:
            over_defaults = functools.partial(_over_defaults, path=path, folder=folder)
            files[name] = baseline_file(own, path, over_defaults)
            continue
        found = experiment_file(own, path, folder)
        if len(set(found.body.seeds)) < len(found.body.seeds):
            raise ConfigError(
                f"{path}: key 'seeds' has the value {list(found.body.seeds)!r}; a seed may stand "
                "there once."
            )
        for seed in found.body.seeds:
            body = found.body.model_copy(update={"seed": seed, "seeds": ()})
            key = check_key(f"{name}{SEED_SEPARATOR}{seed}", "experiment", path)
            files[key] = ExperimentFile(path, body)
        if not found.body.seeds:
            files[name] = found
    return files


def read_sweeps(folder: Path) -> list[Sweep]:
    """Read all of `sweeps/`."""
    found = _named_files(folder / "sweeps", "sweep")
    return [read_sweep(name, read_yaml(path), path) for name, path in found.items()]


def experiment_file(own: Mapping[str, Any], path: Path, folder: Path) -> ExperimentFile:
    """Return an experiment from its content, laid over the defaults that it extends.

    Raises: ConfigError.
    """
    body = parse(ExperimentBody, _over_defaults(own, path, folder), path)
    check_names(set(body.benchmarks) - {SHARED_KEY}, "benchmarks", path)
    return ExperimentFile(path, body)


def _with_defaults(path: Path, folder: Path) -> dict[str, Any]:
    """Return a file's content laid over the defaults that it extends."""
    return _over_defaults(read_yaml(path), path, folder)


def _over_defaults(own: Mapping[str, Any], path: Path, folder: Path) -> dict[str, Any]:
    base = own.get("extends")
    if base is None:
        return dict(own)
    known = _named_files(folder / "defaults", "defaults")
    if not isinstance(base, str) or base not in known:
        raise ConfigError(
            f"{path}: key 'extends' has the value {base!r}; {choose_from(base, known)}."
        )
    shared = read_yaml(known[base])
    if "extends" in shared:
        raise ConfigError(
            f"{known[base]}: key 'extends' has the value {shared['extends']!r}; defaults cannot "
            "extend other defaults. Write their values out."
        )
    return merge(shared, own)


def _named_files(folder: Path, what: str) -> dict[str, Path]:
    """Return the YAML files of a folder by stem, refusing two that would be one partition."""
    found: dict[str, Path] = {}
    folded: dict[str, Path] = {}
    for path in sorted([*folder.glob("[!.]*.yaml"), *folder.glob("[!.]*.yml")]):
        name = check_key(path.stem, what, path)
        if name == RESERVED:
            raise ConfigError(f"{path}: {what} {name!r} has a reserved name. Rename the file.")
        if name.casefold() in folded:
            other = folded[name.casefold()]
            raise ConfigError(
                f"{path}: {what} {name!r} is declared twice; the other file is {other}. Remove or "
                "rename one."
            )
        folded[name.casefold()] = path
        found[name] = path
    return found
