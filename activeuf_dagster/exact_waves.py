"""Exact waves: a set of nodes as Dagster runs that hold these nodes and no others.

A Dagster run is a rectangle: some assets over one contiguous range of partitions. A recovery is
rarely one: of one experiment two scores are missing, of another everything after the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from activeuf_core.recipes import Node
from activeuf_core.stages import stage_of
from activeuf_dagster.foreground import Wave, contiguous_ranges
from activeuf_dagster.project import Project


def exact_waves(nodes: Sequence[Node], project: Project) -> list[Wave]:
    """Return runs that cover nodes, given in flow order, each exactly once, upstream first."""
    found: list[Wave] = []
    for dimension, group in groupby(nodes, key=lambda node: stage_of(node[0]).dimension):
        of_partition: dict[str, list[str]] = {}
        for asset, partition in group:
            of_partition.setdefault(partition, []).append(asset)
        by_assets: dict[tuple[str, ...], set[str]] = {}
        for partition, assets in of_partition.items():
            by_assets.setdefault(tuple(assets), set()).add(partition)
        for assets, keys in by_assets.items():
            if dimension == "none":
                found.append(Wave(assets, "", ""))
                continue
            order = project.catalog.partitions(assets[0])
            found += [Wave(assets, first, last) for first, last in contiguous_ranges(keys, order)]
    return found
