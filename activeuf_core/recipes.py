"""Recipes: for every (asset, partition), what it is made from, and so its expected fingerprint.

A pure function of the config files, the stage versions and the counts of purposeful re-runs; nobody
is asked, nothing is run. Only *optional* inputs look at the store: a table of scores is made from
the scores that exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from activeuf_core.artifacts import ArtifactStore
from activeuf_core.catalog import Catalog
from activeuf_core.fingerprint import digest_of, fingerprint
from activeuf_core.stages import Input, Stage, stage_of

Node = tuple[str, str]
"""(asset, partition)."""


@dataclass(frozen=True)
class Recipe:
    """What one artifact is made from.

    `inputs`: per asset, the fingerprints to read by partition. `base`: the fingerprint before any
    purposeful re-run. `absent`: optional inputs that are not there now.
    """

    asset: str
    partition: str
    version: str
    config: Mapping[str, Any]
    inputs: Mapping[str, Mapping[str, str]]
    generation: int
    base: str
    fingerprint: str
    absent: tuple[Node, ...] = ()

    @property
    def node(self) -> Node:
        """(asset, partition)."""
        return (self.asset, self.partition)

    @property
    def config_digest(self) -> str:
        """Digest of the resolved config alone: the data version of the config node."""
        return digest_of(self.config)


class RecipeBook:
    """The recipes of a catalog, computed when asked for and remembered."""

    def __init__(self, catalog: Catalog, store: ArtifactStore) -> None:
        self.catalog = catalog
        self.store = store
        self._known: dict[Node, Recipe] = {}

    def recipe(self, asset: str, partition: str) -> Recipe:
        """Return the recipe of one partition.

        Raises: ConfigError for an unknown asset or partition.
        """
        node = (asset, partition)
        if node not in self._known:
            self._known[node] = self._compute(stage_of(asset), partition)
        return self._known[node]

    def fingerprint(self, asset: str, partition: str) -> str:
        """Return the fingerprint of one partition's artifact. Raises: ConfigError."""
        return self.recipe(asset, partition).fingerprint

    def upstream(self, asset: str, partition: str) -> tuple[Node, ...]:
        """Return the nodes that one partition reads, optional ones included; not what is read along
        with others.
        """
        stage = stage_of(asset)
        return tuple(
            (item.asset, key)
            for item in self.catalog.inputs_of(stage, partition)
            if not item.along_with
            for key in self.catalog.upstream_partitions(stage, partition, item.asset)
        )

    def forget(self, asset: str, partition: str) -> None:
        """Compute a recipe anew when next asked: its optional inputs or its generation have
        changed.
        """
        self._known.pop((asset, partition), None)

    def forget_all(self) -> None:
        """Compute every recipe anew when next asked: a new generation changes all that is
        downstream.
        """
        self._known.clear()

    def _compute(self, stage: Stage, partition: str) -> Recipe:
        inputs: dict[str, dict[str, str]] = {}
        absent: list[Node] = []
        for item in self.catalog.inputs_of(stage, partition):
            found: dict[str, str] = {}
            for key in self._keys(stage, partition, item, inputs):
                above = (
                    self._current(item.asset, key)
                    if item.optional
                    else self.recipe(item.asset, key)
                )
                if item.optional and not self._is_usable(above):
                    absent += [] if item.along_with else [(item.asset, key)]
                else:
                    found[key] = above.fingerprint
            inputs[item.asset] = found
        config = self._config(stage, partition, inputs)
        base = fingerprint(stage.asset, stage.version, config, _values(inputs))
        generation = self._generation(stage.asset, base)
        return Recipe(
            asset=stage.asset,
            partition=partition,
            version=stage.version,
            config=config,
            inputs=inputs,
            generation=generation,
            base=base,
            fingerprint=fingerprint(stage.asset, stage.version, config, _values(inputs), generation)
            if generation
            else base,
            absent=tuple(absent),
        )

    def _keys(
        self, stage: Stage, partition: str, item: Input, known: Mapping[str, Mapping[str, str]]
    ) -> Iterable[str]:
        """Return the partitions of an input. Args: known: the inputs before it."""
        if item.along_with:
            return known[item.along_with]
        return self.catalog.upstream_partitions(stage, partition, item.asset)

    def _generation(self, asset: str, base: str) -> int:
        """Return how often a recipe was re-run on purpose."""
        return self.store.generation(asset, base)

    def _is_usable(self, recipe: Recipe) -> bool:
        """Whether an optional input is complete and passed its blocking checks."""
        found = self.store.inspect(recipe.asset, recipe.fingerprint).manifest
        return found is not None and not found.failed_blocking_checks

    def _current(self, asset: str, partition: str) -> Recipe:
        """Return an optional input's recipe as of now: it may itself depend on what exists."""
        if any(item.optional for item in stage_of(asset).inputs):
            self.forget(asset, partition)
        return self.recipe(asset, partition)

    def _config(
        self, stage: Stage, partition: str, inputs: Mapping[str, Mapping[str, str]]
    ) -> Mapping[str, Any]:
        if stage.asset == "leaderboard":
            return self.catalog.leaderboard_config(inputs["scores"])
        return self.catalog.config(stage.asset, partition)


def _values(inputs: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    return {asset: list(prints.values()) for asset, prints in inputs.items()}
