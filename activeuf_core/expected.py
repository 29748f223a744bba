"""What every node will be made from once all that is to be made is there: its expected fingerprint.

In: a catalog and an index of a home, as they are now. Out: fingerprints of ten thousands of nodes,
and what each is made from. It differs from `RecipeBook` in what an *optional* input counts: one
that will be made counts as if it were there (`expect`), so a plan does not ask for a table twice.
A snapshot: what changes meanwhile is not seen. Cost: 0.01 ms per node.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from activeuf_core.artifact_index import ArtifactIndex, Past
from activeuf_core.artifacts import ArtifactStore
from activeuf_core.catalog import Catalog
from activeuf_core.fingerprint import canonical_json, digest_of, fingerprint_of_text
from activeuf_core.recipes import Node, Recipe, RecipeBook
from activeuf_core.stages import STAGES, Stage, stage_of

Inputs = Mapping[str, Mapping[str, str]]
"""Per asset that is read, fingerprints by partition."""


class ExpectedBook(RecipeBook):
    """The expected recipes of a catalog."""

    def __init__(self, catalog: Catalog, index: ArtifactIndex) -> None:
        super().__init__(catalog, ArtifactStore(index.layout))
        self.index = index
        self._coming: set[Node] = set()
        self._ahead: set[Node] = set()
        """Whose fingerprint is not yet the one of today: they, or what they read, count on it."""
        self._prints: dict[str, dict[str, str]] = {stage.asset: {} for stage in STAGES}
        self._reruns: dict[str, frozenset[str]] = {}

    def expect(self, asset: str, partition: str) -> None:
        """Count on a node: it will be made. Said before what reads it is asked for."""
        self._coming.add((asset, partition))

    def now(self) -> ExpectedBook:
        """Return the book that counts on nothing: its fingerprints are those of `RecipeBook`."""
        found = ExpectedBook(self.catalog, self.index)
        for asset, prints in self._prints.items():
            found._prints[asset] = {
                key: one for key, one in prints.items() if (asset, key) not in self._ahead
            }
        found._reruns = self._reruns
        return found

    def fingerprint(self, asset: str, partition: str) -> str:
        """Return the fingerprint that a node's artifact will have. Raises: ConfigError."""
        prints = self._prints[asset]
        found = prints.get(partition)
        if found is None:
            found = prints[partition] = self._fingerprint(stage_of(asset), partition)
        return found

    def made_from(self, asset: str, partition: str) -> Past:
        """Return what a node's artifact will be made from."""
        stage = stage_of(asset)
        inputs = self._inputs(stage, partition)
        generation = 0
        if self._rerun(asset):
            generation = self._generation(asset, self._print_of(stage, partition, inputs))
        return Past(
            version=stage.version,
            generation=generation,
            config_digest=self._full_digest(stage, partition, inputs),
            inputs={name: sorted(prints.values()) for name, prints in inputs.items()},
        )

    def configs_beside(
        self, asset: str, partition: str, before: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return an earlier whole config of a node and the one of now, without what is no part of
        a recipe: settings of speed, and those that are new and have their defaults.
        """
        stage = stage_of(asset)
        if stage.dimension == "none":  # it has none in the files: it follows from its inputs
            return before, self._config(stage, partition, self._inputs(stage, partition))
        now = self.catalog.resolved(asset, partition)
        ignored = stage.config.not_in_recipe
        old = {name: value for name, value in before.items() if name not in ignored}
        return old, _known_or_told(now.full, old, now.identity)

    def is_there(self, asset: str, partition: str) -> bool:
        """Whether a node is or will be there, for whoever reads it as an optional input."""
        if (asset, partition) in self._coming:
            return True
        look = self.index.look(asset, self.fingerprint(asset, partition))
        return look.is_complete and not look.failed_checks

    def _fingerprint(self, stage: Stage, partition: str) -> str:
        inputs = self._inputs(stage, partition)
        base = self._print_of(stage, partition, inputs)
        generation = self._generation(stage.asset, base)
        return self._print_of(stage, partition, inputs, generation) if generation else base

    def _print_of(self, stage: Stage, partition: str, inputs: Inputs, generation: int = 0) -> str:
        if stage.dimension == "none":
            text = canonical_json(self._config(stage, partition, inputs))
        else:
            text = self.catalog.resolved(stage.asset, partition).identity_text
        read = {asset: prints.values() for asset, prints in inputs.items()}
        return fingerprint_of_text(stage.asset, stage.version, text, read, generation)

    def _inputs(self, stage: Stage, partition: str) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for item in self.catalog.inputs_of(stage, partition):
            asset, optional = item.asset, item.optional
            prints = found[asset] = {}
            for key in self._keys(stage, partition, item, found):
                if optional and not self.is_there(asset, key):
                    continue
                prints[key] = self.fingerprint(asset, key)
                if self._ahead and (asset, key) in self._ahead:
                    self._ahead.add((stage.asset, partition))
            if optional and not self._coming.isdisjoint((asset, key) for key in prints):
                self._ahead.add((stage.asset, partition))
        return found

    def _full_digest(self, stage: Stage, partition: str, inputs: Inputs) -> str:
        if stage.dimension == "none":
            return digest_of(self._config(stage, partition, inputs))
        return self.catalog.resolved(stage.asset, partition).full_digest

    def _current(self, asset: str, partition: str) -> Recipe:
        return self.recipe(asset, partition)

    def _is_usable(self, recipe: Recipe) -> bool:
        return self.is_there(*recipe.node)

    def _generation(self, asset: str, base: str) -> int:
        return self.store.generation(asset, base) if base in self._rerun(asset) else 0

    def _rerun(self, asset: str) -> frozenset[str]:
        """Return the recipes of an asset that were re-run on purpose: one listing per asset."""
        found = self._reruns.get(asset)
        if found is None:
            try:
                names = os.listdir(self.store.layout.home / "generations" / asset)
            except FileNotFoundError:
                names = []
            found = self._reruns[asset] = frozenset(name.partition(".")[0] for name in names)
        return found


def _known_or_told(
    full: Mapping[str, Any], before: Mapping[str, Any], identity: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the settings that an earlier config has too, or that enter the fingerprint."""
    found: dict[str, Any] = {}
    for name, value in full.items():
        old, told = before.get(name), identity.get(name)
        if name not in before and name not in identity:
            continue
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            value = _known_or_told(value, old, told if isinstance(told, Mapping) else {})
        found[name] = value
    return found
