"""What a place has to offer for an experiment: one `Offer` per part, good or refused with a reason.

In: recipes of an experiment. Out: for each part that was found, which node it can stand for, which
files would be taken, and what is known of it. Two kinds: *proven*, an artifact with a manifest of
this project for exactly the recipe that is wanted; *claimed*, files of which a person says that
they are what the recipe makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from activeuf_core.artifacts import Manifest
from activeuf_core.catalog import Resolved
from activeuf_core.errors import DataError
from activeuf_core.paths import Layout
from activeuf_core.recipes import Node, Recipe, RecipeBook
from activeuf_core.stages import STAGES, stage_of
from activeuf_core.stand_ins import STAND_IN, is_stand_in


@dataclass(frozen=True)
class Offer:
    """One part that was found.

    `files` maps a name in the artifact to the file to take; `written` maps a name to what is
    written there as JSON; `rows` are comparisons. `manifest` is the part's own,
    where it has one; `accepted` names what a person lets differ from the recipe. `pickled` are
    weights that have to be converted first. `problem`: why it is refused, '' when it is good.
    """

    node: Node
    source: Path
    what: str
    problem: str = ""
    files: Mapping[str, Path] = field(default_factory=dict)
    written: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[Mapping[str, Any], ...] = ()
    manifest: Manifest | None = None
    accepted: tuple[str, ...] = ()
    pickled: tuple[Path, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[Mapping[str, Any], ...] = ()
    not_known: tuple[str, ...] = ()

    @property
    def is_proven(self) -> bool:
        """Whether its manifest says that it is what the recipe makes."""
        return self.manifest is not None and not self.accepted


@dataclass(frozen=True)
class Wanted:
    """What an experiment is made of: its recipes with their whole configs, by node."""

    experiment: str
    book: RecipeBook
    recipes: Mapping[Node, Recipe]

    @classmethod
    def of(cls, book: RecipeBook, experiment: str, nodes: list[Node]) -> Wanted:
        """Return the recipes of an experiment's nodes; the leaderboard is nobody's own."""
        own = [node for node in nodes if stage_of(node[0]).dimension != "none"]
        return cls(experiment, book, {node: book.recipe(*node) for node in own})

    @property
    def layout(self) -> Layout:
        """The home that takes."""
        return self.book.store.layout

    def resolved(self, node: Node) -> Resolved:
        """Return a node's config, and where its models and data lie."""
        return self.book.catalog.resolved(*node)

    def require_made(self, node: Node) -> None:
        """Refuse what no stage makes: a stand-in says so, and whoever else does without shares it.

        Raises: DataError.
        """
        full = self.resolved(node).full
        if is_stand_in(full):
            raise DataError(
                f"{node[0]} of {node[1]} is a stand-in ({full[STAND_IN]}), which nothing may take "
                "the place of. Name an experiment that has it"
            )

    def own(self, asset: str) -> Recipe:
        """Return the recipe of one of the experiment's own assets."""
        return self.recipes[asset, self.experiment]


def check(asset: str, name: str, passed: bool, **values: float | str) -> dict[str, Any]:
    """Return a fact as a stage reports it, in the words that the stage's table has for it."""
    declared = next(one for one in stage_of(asset).checks if one.name == name)
    return {
        "name": name,
        "passed": passed,
        "description": declared.description,
        "blocking": declared.blocking,
        "values": values,
    }


def not_known(asset: str, *known: str) -> tuple[str, ...]:
    """Return the names of an asset's checks but those that are known."""
    return tuple(one.name for one in stage_of(asset).checks if one.name not in known)


def in_flow_order(offers: list[Offer]) -> list[Offer]:
    """Return offers upstream first."""
    position = {stage.asset: number for number, stage in enumerate(STAGES)}
    return sorted(offers, key=lambda one: (position[one.node[0]], one.node[1], str(one.source)))
