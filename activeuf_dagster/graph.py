"""The table of stages as Dagster sees it: partitions, asset specs, config nodes, checks.

Every stage's resolved config is a node of its own upstream of its asset (`config/<asset>`,
partitioned like it, its data version the digest of that config). So an edited learning rate makes
exactly the partitions stale that it concerns, and Dagster shows why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import dagster as dg

from activeuf_core.catalog import UNPARTITIONED, Catalog
from activeuf_core.stages import STAGES, Stage, stage_of

OWNER = "team:alignment"
CONFIG_GROUP = "00_config"


def partitions_defs(catalog: Catalog) -> dict[str, dg.StaticPartitionsDefinition | None]:
    """Return the partitions definition of each dimension; static, so that a key needs no
    registration.
    """
    return {
        "dataset": dg.StaticPartitionsDefinition(list(catalog.datasets)),
        "member": dg.StaticPartitionsDefinition(list(catalog.members)),
        "experiment": dg.StaticPartitionsDefinition(list(catalog.experiments)),
        "none": None,
    }


def asset_specs(catalog: Catalog, stages: Iterable[Stage] = STAGES) -> list[dg.AssetSpec]:
    """Return one spec per stage, in flow order."""
    partitions = partitions_defs(catalog)
    return [
        dg.AssetSpec(
            key=stage.asset,
            partitions_def=partitions[stage.dimension],
            deps=[*_deps(stage, catalog), config_key(stage.asset)],
            description=stage.description,
            group_name=stage.group,
            code_version=stage.version,
            kinds=set(stage.kinds),
            owners=[OWNER],
            metadata={
                "command": dg.MetadataValue.text(f"python -m {stage.module} --config … --run-dir …")
            },
            skippable=True,
        )
        for stage in stages
    ]


def config_specs(catalog: Catalog, stages: Iterable[Stage] = STAGES) -> list[dg.AssetSpec]:
    """Return the config node of every stage: observed, never materialized."""
    partitions = partitions_defs(catalog)
    return [
        dg.AssetSpec(
            key=config_key(stage.asset),
            partitions_def=partitions[stage.dimension],
            description=f"The resolved config of {stage.asset}, from the files in configs/.",
            group_name=CONFIG_GROUP,
            kinds={"yaml"},
            owners=[OWNER],
        )
        for stage in stages
    ]


def check_specs(stages: Iterable[Stage] = STAGES) -> list[dg.AssetCheckSpec]:
    """Return the checks that the stages declare."""
    return [
        dg.AssetCheckSpec(
            check.name, asset=stage.asset, description=check.description, blocking=check.blocking
        )
        for stage in stages
        for check in stage.checks
    ]


def config_key(asset: str) -> dg.AssetKey:
    """Return the key of an asset's config node."""
    return dg.AssetKey(["config", asset])


def dagster_partition(partition: str) -> str | None:
    """Return a partition as Dagster names it: None for an asset without partitions."""
    return None if partition == UNPARTITIONED else partition


def _deps(stage: Stage, catalog: Catalog) -> list[dg.AssetDep]:
    return [
        dg.AssetDep(item.asset, partition_mapping=_mapping(stage, item.asset, catalog))
        for item in stage.inputs
    ]


def _mapping(stage: Stage, above: str, catalog: Catalog) -> dg.PartitionMapping | None:
    """Return how the partitions of `above` map to those of a stage that reads it; None where they
    are the same.
    """
    upstream = stage_of(above)
    if upstream.dimension == stage.dimension or "none" in (stage.dimension, upstream.dimension):
        return None
    below: dict[str, list[str]] = {key: [] for key in catalog.partitions(above)}
    for key in catalog.partitions(stage.asset):
        for read in catalog.upstream_partitions(stage, key, above):
            below[read].append(key)
    return dg.StaticPartitionMapping(_as_mapping(below))


def _as_mapping(below: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {key: keys for key, keys in below.items() if keys}
