"""Completed nodes as Dagster events, with the provenance that Dagster's staleness needs.

An event that we log ourselves needs four tags (data version, code version, the data versions of its
inputs, and pointers to the inputs' events), or its partition is stale for ever. The data version is
the fingerprint, so Dagster's verdict and ours agree. Uses `_core` names of dagster 1.13;
`tests/graph/test_staleness.py` pins what they do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import dagster as dg
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_TAG,
    extract_data_version_from_entry,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)

from activeuf_core.artifacts import Manifest
from activeuf_core.fingerprint import digest_of
from activeuf_core.recipes import Node, Recipe, RecipeBook
from activeuf_core.stages import stage_of
from activeuf_dagster import metadata
from activeuf_dagster.graph import config_key, dagster_partition
from activeuf_dagster.recorded import Known

NEVER = 2**53
"""A place in the event log that no event reaches."""

Recorded = dg.AssetObservation | dg.AssetMaterialization | dg.AssetCheckEvaluation


class Latest(Protocol):
    """What Dagster knows of nodes."""

    def observation(self, node: Node) -> Known | None:
        """Return the latest observation of a node's config."""
        ...

    def event(self, node: Node, fingerprint: str) -> Known | None:
        """Return the latest event of a node, or one of this fingerprint that was the latest when it
        was first asked for.
        """
        ...

    def will_be_observed(self, node: Node) -> None:
        """Note that an observation of a node's config is about to be stored."""
        ...


class Asked:
    """What Dagster knows of nodes now, asked one by one when somebody wants to know."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._seen: dict[tuple[Node, str], Known] = {}
        self._observed: dict[str, set[str]] = {}

    def observation(self, node: Node) -> Known | None:
        """Return the latest observation of a node's config; of the partitions that had none at the
        first question about the asset, the database is not asked.
        """
        asset, name = node
        key, partition = config_key(asset), dagster_partition(name)
        if asset not in self._observed:
            kind = dg.DagsterEventType.ASSET_OBSERVATION
            found = self._instance.get_latest_storage_id_by_partition(key, kind)
            self._observed[asset] = set(found)
        if partition is not None and name not in self._observed[asset]:
            return None
        return self._latest(key, partition, is_source=True)

    def event(self, node: Node, fingerprint: str) -> Known | None:
        """Return the latest event of a node, or one of this fingerprint that was the latest when it
        was first asked for: a thousand experiments read the same features. Should a later event
        have another fingerprint, Dagster calls the reader stale, and so it is.
        """
        seen = self._seen.get((node, fingerprint))
        if seen is not None:
            return seen
        found = self._latest(dg.AssetKey(node[0]), dagster_partition(node[1]), is_source=False)
        if found is not None and found.version == fingerprint:
            self._seen[node, fingerprint] = found
        return found

    def will_be_observed(self, node: Node) -> None:
        """Note that an observation of a node's config is about to be stored."""
        self._observed[node[0]].add(node[1])

    def _latest(self, key: dg.AssetKey, partition: str | None, *, is_source: bool) -> Known | None:
        record = self._instance.get_latest_data_version_record(
            key, is_source=is_source, partition_key=partition
        )
        version = extract_data_version_from_entry(record.event_log_entry) if record else None
        return Known(record.storage_id, version.value if version else "") if record else None


class Recorder:
    """Turns completed nodes into events. Each event must be stored before the next one is asked
    for.
    """

    def __init__(self, latest: Latest, book: RecipeBook) -> None:
        self.latest = latest
        self.book = book

    def is_recorded(self, recipe: Recipe) -> bool:
        """Whether Dagster's latest event of a node is the one of this recipe, made from these
        inputs.
        """
        known = self.latest.event(recipe.node, recipe.fingerprint)
        return known is not None and known.version == recipe.fingerprint

    def record(self, recipe: Recipe, manifest: Manifest, *, is_adopted: bool) -> Iterator[Recorded]:
        """Yield the events of one completed node: its config, inputs that Dagster does not know,
        itself, its checks.
        """
        yield from self._observe_config(recipe)
        yield from self._adopt_inputs(recipe)
        key, partition = dg.AssetKey(recipe.asset), dagster_partition(recipe.partition)
        yield dg.AssetMaterialization(
            asset_key=key,
            partition=partition,
            metadata=metadata.of_manifest(manifest, self.book.store.layout, is_adopted=is_adopted),
            tags=self._tags(recipe),
        )
        declared = {check.name for check in stage_of(recipe.asset).checks}
        for check in manifest.checks:
            if check["name"] in declared:
                yield _evaluation(key, partition, check)

    def config_version(self, node: Node) -> str:
        """Return the digest of a node's resolved config: the data version of its config node."""
        return digest_of(self.book.catalog.config(*node))

    def _observe_config(self, recipe: Recipe) -> Iterator[dg.AssetObservation]:
        """Observe the config node in the same breath: one first observed later would make the asset
        stale.
        """
        version = self.config_version(recipe.node)
        known = self.latest.observation(recipe.node)
        if known is None or known.version != version:
            yield observation(recipe.node, version)
            self.latest.will_be_observed(recipe.node)

    def _adopt_inputs(self, recipe: Recipe) -> Iterator[Recorded]:
        """Record inputs that are in the store but not in Dagster: its database may be younger than
        the store.
        """
        for asset, prints in recipe.inputs.items():
            for partition in prints:
                above = self.book.recipe(asset, partition)
                if self.is_recorded(above):
                    continue
                found = self.book.store.inspect(asset, above.fingerprint).manifest
                if found is not None:
                    yield from self.record(above, found, is_adopted=True)

    def _tags(self, recipe: Recipe) -> dict[str, str]:
        tags = {
            DATA_VERSION_TAG: recipe.fingerprint,
            CODE_VERSION_TAG: recipe.version,
        }
        config = self.latest.observation(recipe.node)
        pointer = config.storage_id if config else 0
        tags |= _input_tags(config_key(recipe.asset), self.config_version(recipe.node), pointer)
        for asset, prints in recipe.inputs.items():
            version = "+".join(sorted(prints.values())) or "none"
            tags |= _input_tags(dg.AssetKey(asset), version, self._pointer(asset, recipe, pointer))
        for asset in stage_of(recipe.asset).input_names:
            if asset not in recipe.inputs:  # whatever becomes of it is no concern of this node
                tags |= _input_tags(dg.AssetKey(asset), "none", NEVER)
        return tags

    def _pointer(self, asset: str, recipe: Recipe, newest: int) -> int:
        """Return up to which event an input was seen: a later event of another version makes the
        node stale.
        """
        seen = [0]
        for partition, fingerprint in recipe.inputs[asset].items():
            known = self.latest.event((asset, partition), fingerprint)
            if known is None:
                continue
            if known.version != fingerprint:
                return known.storage_id - 1
            seen.append(known.storage_id)
        return max(seen) or newest


def observation(node: Node, version: str) -> dg.AssetObservation:
    """Return the observation of a node's config."""
    return dg.AssetObservation(
        asset_key=config_key(node[0]),
        partition=dagster_partition(node[1]),
        tags={DATA_VERSION_TAG: version},
    )


def _evaluation(
    key: dg.AssetKey, partition: str | None, check: Mapping[str, Any]
) -> dg.AssetCheckEvaluation:
    blocking = bool(check["blocking"])
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=str(check["name"]),
        passed=bool(check["passed"]),
        description=str(check["description"]),
        metadata=metadata.of_check(check["values"]),
        severity=dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN,
        blocking=blocking,
        partition=partition,
    )


def _input_tags(key: dg.AssetKey, version: str, pointer: int) -> dict[str, str]:
    return {
        get_input_data_version_tag(key): version,
        get_input_event_pointer_tag(key): str(pointer),
    }
