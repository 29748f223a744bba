"""What lies below a folder that somebody names: artifacts of ours, or another program's layout.

In: a path and an experiment's recipes. Out: offers, upstream first. The other layout is that of the
scripts which trained and scored before this project: `models/<kind>/<run>/` with config.json,
weights, `results/<benchmark>/metrics.json` and `metrics.json`, and saved data sets of comparisons.
Which of two kinds of model a folder holds, its content says, because the scripts' own description
has the two swapped.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from activeuf_core.adoption import comparisons, homes, model_folders, score_files
from activeuf_core.adoption.offers import Offer, Wanted, in_flow_order
from activeuf_core.adoption.score_files import METRICS_JSON, RESULTS
from activeuf_core.errors import ConfigError
from activeuf_core.paths import MANIFEST
from activeuf_core.recipes import Node

MAX_DEPTH = 8
SKIPPED = ("checkpoint-", ".")


def look(
    place: Path, wanted: Wanted, *, accepted: Collection[str] = (), allow_pickle: bool = False
) -> list[Offer]:
    """Return all that a path has to offer for an experiment.

    Raises: ConfigError when there is nothing, or when it is this home itself.
    """
    if not place.exists():
        raise ConfigError(f"{place}: there is no such file or folder.")
    own = wanted.layout.home.resolve()
    if place.resolve() == own or own in place.resolve().parents:
        raise ConfigError(
            f"{place} is in this home: what is there is adopted whenever it is needed."
        )
    found = homes.offers(place, wanted, accepted) if place.is_dir() else []
    if not (place / homes.ARTIFACTS).is_dir():  # a home's other folders hold base models and logs
        found += _foreign(place, wanted, allow_pickle)
    return in_flow_order(_unambiguous(found, wanted.experiment))


def _foreign(place: Path, wanted: Wanted, allow_pickle: bool) -> list[Offer]:
    """Return what folders without a manifest of ours have to offer."""
    if place.is_file():
        row = score_files.benchmark_of(place.absolute()) if place.name == METRICS_JSON else None
        if row is None:
            raise ConfigError(f"{place}: expected a folder, or a benchmark's {METRICS_JSON}.")
        return [score_files.offer(place, row, wanted)]
    found: list[Offer] = []
    refused: dict[Path, str] = {}
    for folder in _folders(place):
        is_model = model_folders.is_model(folder)
        if is_model and not _is_ours(folder / model_folders.CONFIG):
            model = model_folders.offer(folder, wanted, allow_pickle=allow_pickle)
            if model is not None:
                found.append(model)
                refused[folder] = model.problem
        elif comparisons.is_dataset(folder):
            found.append(comparisons.offer(folder, wanted))
        path = folder / METRICS_JSON
        is_score = path.is_file() and (is_model or folder.parent.name == RESULTS)
        row = score_files.benchmark_of(path) if is_score else None
        if row is not None and not _is_ours(path):
            owner = folder.parent.parent if folder.parent.name == RESULTS else folder
            found.append(score_files.offer(path, row, wanted, beside=refused.get(owner, "")))
    return found


def _is_ours(path: Path) -> bool:
    """Whether a file of a readable view is a link into an artifact, which speaks for itself."""
    return path.is_symlink() and (path.resolve().parent / MANIFEST).is_file()


def _folders(place: Path) -> Iterator[Path]:
    """Yield a folder and those below it, upper ones first; artifacts of ours, checkpoints and the
    splits of a data set are not entered.
    """
    for folder, names, files in os.walk(place):
        here = Path(folder)
        if MANIFEST in files:
            names.clear()
            continue
        yield here
        is_deep = len(here.relative_to(place).parts) >= MAX_DEPTH
        if is_deep or comparisons.is_dataset(here):
            names.clear()
        names[:] = sorted(name for name in names if not name.startswith(SKIPPED))


def _unambiguous(found: list[Offer], experiment: str) -> list[Offer]:
    """Keep one good offer per node: a proven one, or the one of a run that has the experiment's
    name; of several that could be meant, all are refused.
    """
    by_node: dict[Node, list[Offer]] = {}
    for one in found:
        by_node.setdefault(one.node, []).append(one)
    kept: list[Offer] = []
    for same in by_node.values():
        good = [one for one in same if not one.problem]
        proven = [one for one in good if one.is_proven]
        named = [one for one in good if experiment in one.source.parts]
        if len(good) < 2:
            kept += good or same
        elif len(proven) == 1 or len(named) == 1:
            kept += proven if len(proven) == 1 else named
        else:
            text = f"there are {len(good)} of them: name the one that is meant"
            kept += [replace(one, problem=text) for one in good]
    return kept
