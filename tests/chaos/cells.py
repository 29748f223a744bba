"""The table of cells: each is one fault, put to one actor, and the proof that it fired.

A cell is a function of a `World`: it injects its fault, calls `world.fired` or `world.prove`, and
brings everything to its end. What must hold afterwards is checked for all cells alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.world import World

Play = Callable[[World], None]


@dataclass(frozen=True)
class Cell:
    """One fault of one actor."""

    actor: str
    fault: str
    play: Play
    breaks: bool = False
    """Whether the cluster is not to be used again."""
    with_accounting: bool = False
    remade: int = 0
    """Artifacts that the cell itself breaks after their publication."""
    limit_s: float = 240.0
    is_quick: bool = False
    """Part of the smoke test."""

    @property
    def name(self) -> str:
        """What `ONLY=` matches."""
        return f"{self.actor}: {self.fault}"


CELLS: list[Cell] = []
"""In the order in which they are declared."""


def cell(
    actor: str,
    fault: str,
    *,
    breaks: bool = False,
    with_accounting: bool = False,
    remade: int = 0,
    limit_s: float = 240.0,
    is_quick: bool = False,
) -> Callable[[Play], Play]:
    """Declare a cell."""

    def declare(play: Play) -> Play:
        CELLS.append(Cell(actor, fault, play, breaks, with_accounting, remade, limit_s, is_quick))
        return play

    return declare


def cells_for(
    actor: str, fault: str, values: tuple[str, ...], *, limit_s: float = 240.0
) -> Callable[[Callable[[World, str], None]], Callable[[World, str], None]]:
    """Declare one cell per value; `fault` holds `{}` for it."""

    def declare(play: Callable[[World, str], None]) -> Callable[[World, str], None]:
        CELLS.extend(
            Cell(actor, fault.format(value), _bound(play, value), limit_s=limit_s)
            for value in values
        )
        return play

    return declare


def _bound(play: Callable[[World, str], None], value: str) -> Play:
    return lambda world: play(world, value)
