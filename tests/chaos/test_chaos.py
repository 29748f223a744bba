"""A few cells in the ordinary tests, and proof that a broken promise and a dud fault are found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.cells import CELLS, Cell
from tests.chaos.lanes import Lane
from tests.chaos.payload import VALUE
from tests.chaos.world import A, World
from tests.slurm.sandbox import require_slurm

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
QUICK = [cell for cell in CELLS if cell.is_quick]


@pytest.fixture(scope="module")
def lane() -> Iterator[Lane]:
    require_slurm()
    lane = Lane()
    yield lane
    lane.close()


@pytest.mark.parametrize("cell", QUICK, ids=lambda cell: cell.name)
def test_a_cell_holds(lane: Lane, cell: Cell) -> None:
    outcome = lane.play(cell)
    assert (outcome.verdict, outcome.detail) == ("held", "")


def test_a_fault_that_does_not_fire_is_no_success(lane: Lane) -> None:
    outcome = lane.play(Cell("test", "nothing at all", lambda world: None))
    assert (outcome.verdict, outcome.detail) == ("BROKEN", "nothing proves that the fault fired")


def test_bytes_that_are_not_those_of_the_manifest_are_found(lane: Lane) -> None:
    outcome = lane.play(Cell("test", "other bytes of the same length", _swap_a_byte))
    assert outcome.verdict == "BROKEN"
    assert "lost: preference_dataset@exp-a is corrupt" in outcome.detail


def test_a_second_publication_is_found(lane: Lane) -> None:
    outcome = lane.play(Cell("test", "published, discarded, published", _publish_twice))
    assert outcome.verdict == "BROKEN"
    assert "1 artifacts were replaced, 0 expected" in outcome.detail


def test_every_cell_has_a_name_of_its_own() -> None:
    names = [cell.name for cell in CELLS]
    assert len(names) == len(set(names)) > 50


def _swap_a_byte(world: World) -> None:
    world.nodes = (A,)
    world.finish()
    world.fired("a byte")
    path = world.layout.artifact(A[0], world.fingerprint(A)) / VALUE
    path.write_bytes(path.read_bytes().replace(b"exp-a", b"exp-b"))


def _publish_twice(world: World) -> None:
    world.nodes = (A,)
    world.finish()
    world.fired("discarded")
    world.store.discard(A[0], world.fingerprint(A))
    world.finish()
