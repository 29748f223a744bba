"""Looks at the queue: how often, and what stands when no answer comes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from activeuf_core.errors import LaunchError
from activeuf_core.slurm.looks import Looks
from activeuf_core.slurm.queue import QueueRow


class Queue:
    """A scheduler whose queue the test writes."""

    def __init__(self) -> None:
        self.now = 100.0
        self.takes_s = 0.0
        self.rows: list[QueueRow] | None = []

    def queue(self, names: Sequence[str]) -> list[QueueRow]:
        self.now += self.takes_s
        if self.rows is None:
            raise LaunchError("no answer")
        return self.rows


@pytest.fixture
def queue() -> Queue:
    """An empty queue."""
    return Queue()


@pytest.fixture
def looks(queue: Queue) -> Looks:
    """Looks from 1 s to 8 s."""
    return Looks(queue, 1.0, 8.0, clock=lambda: queue.now)  # pyright: ignore[reportArgumentType]


def row(state: str, index: int | None = None) -> QueueRow:
    return QueueRow(7, index, 7, "token", state)


def pause(looks: Looks, queue: Queue) -> float:
    """Return how long it takes until the next look."""
    began = queue.now
    while not looks.look(["token"]):
        queue.now += 0.25
    return queue.now - began


def test_what_was_seen_is_found_by_name_id_and_index(looks: Looks, queue: Queue) -> None:
    queue.rows = [row("RUNNING", 0), row("PENDING", 1)]
    assert looks.look(["token"])
    found = looks.row("token", 7, 1)
    assert found is not None and found.state == "PENDING"
    assert looks.row("token", 8, 1) is looks.row("other", 7, 1) is looks.row("token", None, 1)


def test_the_pause_grows_while_nothing_moves_and_not_beyond_the_most(
    looks: Looks, queue: Queue
) -> None:
    looks.look(["token"])
    pauses = [pause(looks, queue) for _ in range(8)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 8.0


def test_the_pause_is_short_again_when_something_moves(looks: Looks, queue: Queue) -> None:
    looks.look(["token"])
    for _ in range(6):
        pause(looks, queue)
    queue.rows = [row("RUNNING")]
    pause(looks, queue)
    assert pause(looks, queue) == 1.0


def test_a_slow_controller_is_asked_less_often(looks: Looks, queue: Queue) -> None:
    queue.takes_s = 0.5
    looks.look(["token"])
    assert pause(looks, queue) >= 5.0


def test_without_an_answer_what_was_seen_stands(looks: Looks, queue: Queue) -> None:
    queue.rows = [row("RUNNING")]
    looks.look(["token"])
    queue.rows = None
    queue.now += 10
    assert not looks.look(["token"])
    assert looks.row("token", 7, None) is not None
    assert looks.trouble == "no answer"


def test_nothing_to_look_for_is_no_call(looks: Looks) -> None:
    assert not looks.look([])
    assert looks.calls == 0


def test_a_submission_makes_the_next_look_soon(looks: Looks, queue: Queue) -> None:
    looks.look(["token"])
    for _ in range(6):
        pause(looks, queue)
    looks.soon()
    assert pause(looks, queue) <= 1.0
