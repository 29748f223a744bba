"""A survey of a home: what is known of many artifacts at once, one listing per asset.

In: recipes. Out: the `Knowledge` that the plan is made from. What is not listed costs nothing, so
that ten thousand missing artifacts are as cheap as none.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from activeuf_core.artifacts import ArtifactStore, Inspection, Manifest
from activeuf_core.attempts import Attempts
from activeuf_core.launchers.base import Target
from activeuf_core.paths import RunFolder
from activeuf_core.plan import Knowledge
from activeuf_core.recipes import Node, Recipe
from activeuf_core.slurm.waves import Ledger

MISSING = Inspection(None, "missing")


def survey(
    store: ArtifactStore,
    recipes: Iterable[Recipe],
    recorded: Mapping[Node, str],
    *,
    digests: bool = False,
) -> Knowledge:
    """Look at the store, the attempts, the locks and the failures of some recipes.

    Args: recorded: the fingerprint that was recorded last of each node. digests: read every file of
    every artifact and compare its SHA-256.
    """
    recipes = list(recipes)
    present = _listings(store.layout.artifacts, recipes)
    found = {
        (r.asset, r.fingerprint): (
            store.inspect(r.asset, r.fingerprint, digests=digests)
            if r.fingerprint in present[r.asset]
            else MISSING
        )
        for r in recipes
    }
    open_targets = [target for target, look in found.items() if not look.is_complete]
    return Knowledge(
        found=found,
        recorded=recorded,
        running=_running(store, open_targets),
        failures=_failures(store, open_targets),
        earlier=_earlier(store, recipes, recorded, found),
    )


def _running(store: ArtifactStore, targets: Iterable[Target]) -> dict[Target, str]:
    """Return who makes which artifact, as far as files and locks say."""
    attempts, ledger = Attempts(store.layout), Ledger(store.layout)
    closed: dict[str, bool] = {}
    attempted = _Listings(store.layout.home / "attempts")
    locked = _Listings(store.layout.home / "claims")
    found: dict[Target, str] = {}
    for asset, fingerprint in targets:
        if fingerprint in attempted.of(asset):
            latest = attempts.latest(asset, fingerprint)
            if latest and latest.wave not in closed:
                closed[latest.wave] = ledger.closed_because(latest.wave) is not None
            run = RunFolder(store.layout.run(latest.job_id)) if latest else None
            if latest and run and not closed[latest.wave] and not run.ended.exists():
                found[asset, fingerprint] = f"job {latest.job_id}, attempt {latest.number}"
                continue
        lock = f"{fingerprint}.lock"
        if lock in locked.of(asset) and store.is_claimed(asset, fingerprint):
            found[asset, fingerprint] = "a process on this machine works on it"
    return found


def _failures(store: ArtifactStore, targets: Iterable[Target]) -> dict[Target, str]:
    listed = _Listings(store.layout.home / "failures")
    found: dict[Target, str] = {}
    for asset, fingerprint in targets:
        if f"{fingerprint}.json" not in listed.of(asset):
            continue
        record = store.failure(asset, fingerprint)
        if record:
            times = f" ({record['count']} times)" if record["count"] > 1 else ""
            first = str(record["message"]).partition("\n")[0]
            found[asset, fingerprint] = f"{record['kind']}{times}: {first}"
    return found


def _earlier(
    store: ArtifactStore,
    recipes: Iterable[Recipe],
    recorded: Mapping[Node, str],
    found: Mapping[Target, Inspection],
) -> dict[Target, Manifest]:
    """Return the manifests of what was recorded before, where something else is wanted now."""
    earlier: dict[Target, Manifest] = {}
    for recipe in recipes:
        before = recorded.get(recipe.node)
        complete = found[recipe.asset, recipe.fingerprint].is_complete
        if before is None or before == recipe.fingerprint or complete:
            continue
        manifest = store.inspect(recipe.asset, before).manifest
        if manifest is not None:
            earlier[recipe.asset, before] = manifest
    return earlier


def _listings(folder: Path, recipes: Iterable[Recipe]) -> dict[str, frozenset[str]]:
    listings = _Listings(folder)
    return {asset: listings.of(asset) for asset in {recipe.asset for recipe in recipes}}


class _Listings:
    """The names in the sub-folders of a folder, each listed once when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, frozenset[str]] = {}

    def of(self, name: str) -> frozenset[str]:
        if name not in self._known:
            try:
                self._known[name] = frozenset(os.listdir(self._folder / name))
            except FileNotFoundError:
                self._known[name] = frozenset()
        return self._known[name]
