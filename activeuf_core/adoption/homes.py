"""Artifacts with a manifest of this project: another home, a part of one, or a readable view of it.

In: a folder. Out: an offer for each of an experiment's recipes that is there, and for what is there
of its partitions with another recipe, which is refused with what differs. Whether the files are
whole is seen from their sizes here, and from their digests when they are taken.
Cost: one small file per artifact below the folder.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from activeuf_core.adoption.offers import Offer, Wanted
from activeuf_core.artifacts import Manifest, manifest_in, problem_with
from activeuf_core.config import flat
from activeuf_core.errors import ArtifactError
from activeuf_core.paths import MANIFEST
from activeuf_core.recipes import Node, Recipe

MAX_DEPTH = 8
SHOWN = 4
ABSENT = "absent"
ARTIFACTS = "artifacts"


def offers(place: Path, wanted: Wanted, accepted: Collection[str]) -> list[Offer]:
    """Return what artifacts below a folder have to offer.

    Args: accepted: dotted config keys, assets that are read, `version` or `generation`: what may
    differ from the recipe because a person says that it does not matter.
    """
    found: dict[Node, list[Offer]] = {}
    is_home = (place / ARTIFACTS).is_dir()
    for folder in artifact_folders(place / ARTIFACTS if is_home else place):
        try:
            manifest = manifest_in(folder)
        except ArtifactError:
            continue  # another program's manifest.json, or one that says nothing about its recipe
        problem = problem_with(folder, manifest)
        for node, recipe in _meant(manifest, wanted, is_named=not is_home).items():
            offer = _offer(node, recipe, folder, manifest, problem, wanted, accepted)
            found.setdefault(node, []).append(offer)
    return [offer for one in found.values() for offer in _best(one)]


def artifact_folders(place: Path) -> Iterator[Path]:
    """Yield the folders with a manifest in and below a folder, and those that its links name."""
    seen: set[Path] = set()
    for path in _walk(place.resolve()):
        folder = path.resolve().parent
        if folder not in seen and (folder / MANIFEST).is_file():
            seen.add(folder)
            yield folder


def _walk(place: Path) -> Iterator[Path]:
    """Yield manifests, and links, which in a view name an artifact or one of its files."""
    for folder, names, files in os.walk(place):
        here = Path(folder)
        if MANIFEST in files:
            names.clear()
            yield here / MANIFEST
            continue
        for name in (*names, *files):
            if (here / name).is_symlink():
                target = (here / name).resolve()
                yield target / MANIFEST if target.is_dir() else target
        if len(here.relative_to(place).parts) >= MAX_DEPTH:
            names.clear()


def _meant(manifest: Manifest, wanted: Wanted, *, is_named: bool) -> Mapping[Node, Recipe]:
    """Return the recipes that an artifact is, or else the one that it would be but for something
    that differs: that of its partition, or the experiment's where a person names the artifact.
    """
    exact = {
        node: recipe
        for node, recipe in wanted.recipes.items()
        if (recipe.asset, recipe.fingerprint) == (manifest.asset, manifest.fingerprint)
    }
    near = (manifest.asset, manifest.partition)
    if is_named and near not in wanted.recipes:
        near = (manifest.asset, wanted.experiment)
    if exact or near not in wanted.recipes:
        return exact
    return {near: wanted.recipes[near]}


def _offer(
    node: Node,
    recipe: Recipe,
    folder: Path,
    manifest: Manifest,
    problem: str,
    wanted: Wanted,
    accepted: Collection[str],
) -> Offer:
    files = {one.path: folder / one.path for one in manifest.files}
    outside = [name for name in files if Path(name).is_absolute() or ".." in Path(name).parts]
    if outside:
        problem = problem or f"its manifest names {outside[0]!r}, which is outside of it"
    differing: list[str] = []
    if manifest.fingerprint != recipe.fingerprint:
        found = differences(manifest, recipe, wanted.resolved(node).full)
        differing = [key for key, _, _ in found]
        refused = [one for one in found if one[0] not in accepted]
        if refused:
            told = "; ".join(f"{key}: {before} → {now}" for key, before, now in refused[:SHOWN])
            more = f"; and {len(refused) - SHOWN} more" if len(refused) > SHOWN else ""
            problem = problem or f"it was made from something else: {told}{more}"
    return Offer(
        node=node,
        source=folder,
        what="artifact",
        problem=problem,
        files=files,
        manifest=manifest,
        accepted=tuple(differing),
        metadata=manifest.metadata,
        checks=manifest.checks,
    )


def differences(
    manifest: Manifest, recipe: Recipe, config: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    """Return what an artifact was made from that its recipe says otherwise: (key, then, now)."""
    found: list[tuple[str, str, str]] = []
    if manifest.version != recipe.version:
        found.append(("version", manifest.version, recipe.version))
    if manifest.generation != recipe.generation:
        found.append(("generation", str(manifest.generation), str(recipe.generation)))
    before, now = flat(manifest.config), flat(config)
    for key in sorted(before.keys() | now.keys()):
        pair = before.get(key, ABSENT), now.get(key, ABSENT)
        if pair[0] != pair[1]:
            found.append((key, str(pair[0]), str(pair[1])))
    for asset in sorted(manifest.inputs.keys() | recipe.inputs.keys()):
        pair = (_prints(manifest.inputs, asset), _prints(recipe.inputs, asset))
        if pair[0] != pair[1]:
            found.append((asset, *pair))
    return found


def _prints(inputs: Mapping[str, Mapping[str, str]], asset: str) -> str:
    return ", ".join(sorted(one[:8] for one in inputs.get(asset, {}).values())) or "none"


def _best(same: list[Offer]) -> list[Offer]:
    """Return the one to take of offers for a node; without one, the one that differs least."""
    good = [one for one in same if not one.problem]
    proven = [one for one in good if one.is_proven]
    return (proven or good)[:1] or [min(same, key=lambda one: len(one.accepted))]
