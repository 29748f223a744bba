"""The order of nodes, and which ready ones become one job: pure functions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from activeuf_core.recipes import Node, Recipe
from activeuf_core.stages import STAGES, stage_of

Ready = tuple[Node, Recipe]


def group_for_jobs(ready: Sequence[Ready], light: Collection[Node] = ()) -> list[list[Ready]]:
    """Put ready nodes into jobs: one each, but one together where a stage shares its process or
    units are light.

    Two nodes with the same fingerprint make one unit; the second is left for the next round, which
    finds it made.
    """
    groups: dict[tuple[Any, ...], list[Ready]] = {}
    seen: set[str] = set()
    for node, recipe in ready:
        if recipe.fingerprint in seen:
            continue
        seen.add(recipe.fingerprint)
        groups.setdefault(_job_key(recipe, recipe.node in light), []).append((node, recipe))
    return list(groups.values())


def _job_key(recipe: Recipe, is_light: bool) -> tuple[Any, ...]:
    """Return what nodes of one job have in common."""
    stage = stage_of(recipe.asset)
    if is_light:
        return (stage.module, "light")
    if stage.shares_process:
        read = tuple(
            sorted(found for prints in recipe.inputs.values() for found in prints.values())
        )
        return (stage.module, *read)
    return recipe.node


def packed(groups: Sequence[list[Ready]], units_per_job: Callable[[str], int]) -> list[list[Ready]]:
    """Put jobs of one asset together, as many artifacts in each as the launcher wants at most; a
    group is never torn apart. Order is kept.
    """
    found: list[list[Ready]] = []
    open_job: dict[str, list[Ready]] = {}
    for group in groups:
        asset = group[0][1].asset
        current = open_job.get(asset)
        if current is not None and len(current) + len(group) <= units_per_job(asset):
            current.extend(group)
        else:
            open_job[asset] = list(group)
            found.append(open_job[asset])
    return found


def in_flow_order(nodes: Iterable[Node]) -> list[Node]:
    """Return nodes in the order of the table of stages, partitions in alphabetical order."""
    position = {stage.asset: number for number, stage in enumerate(STAGES)}
    return sorted(nodes, key=lambda node: (position[node[0]], node[1]))
