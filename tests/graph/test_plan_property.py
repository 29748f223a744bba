"""Whatever state a graph is in, the plan's set to run is sufficient and minimal.

Random states of a small graph in memory: after edits of its files, and with nodes that are fresh,
unrecorded, gone, failed, running, broken, or failed a blocking check. Executing exactly what the
plan says, with what runs already, makes everything fresh that can be; leaving out any one artifact
does not; nothing that is there is made again. Then a few such states on disk, through the engine.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from activeuf_core.artifact_index import MISSING, ArtifactIndex, Look, Past
from activeuf_core.artifacts import ArtifactStore
from activeuf_core.catalog import Catalog
from activeuf_core.expected import ExpectedBook
from activeuf_core.launchers.base import Target
from activeuf_core.paths import Layout
from activeuf_core.plan import TO_RUN, Knowledge, Status, statuses
from activeuf_core.recipes import Node, RecipeBook
from activeuf_core.stages import STAGES, stage_of
from activeuf_core.survey import survey
from activeuf_dagster.engine import Engine
from activeuf_dagster.planning import nodes_of
from tests.fakes.launcher import InstantLauncher
from tests.graph.conftest import write_small_project

STATES = 40
DAMAGE = ("none",) * 6 + ("unrecorded", "gone", "failed", "running", "broken", "red", "never")
EDITS: tuple[tuple[str, tuple[str, ...], Any], ...] = (
    ("experiments/exp-a.yaml", ("dpo_model", "learning_rate"), 0.5),
    ("experiments/exp-b.yaml", ("loop", "batch_size"), 8),
    ("experiments/exp-c.yaml", ("seed",), 98),  # now it is exp-b's twin
    ("datasets/tiny.yaml", ("features", "max_tokens"), 300),
    ("datasets/tiny.yaml", ("prompts", "limit"), 5),
)


@dataclasses.dataclass
class Memory:
    """A store in memory: looks by target. It stands for an index of a home."""

    layout: Layout
    looks: dict[Target, Look] = dataclasses.field(default_factory=dict)

    def look(self, asset: str, fingerprint: str) -> Look:
        """Say what lies at an artifact's address."""
        return self.looks.get((asset, fingerprint), MISSING)

    def past(self, asset: str, fingerprint: str) -> Past | None:
        """Return nothing: reasons are tested elsewhere."""
        del asset, fingerprint

    def config(self, asset: str, fingerprint: str) -> Mapping[str, Any] | None:
        """Return nothing."""
        del asset, fingerprint


@dataclasses.dataclass
class World:
    """A graph and the state that it is in."""

    catalog: Catalog
    store: Memory
    recorded: dict[Node, str] = dataclasses.field(default_factory=dict)
    running: set[Target] = dataclasses.field(default_factory=set)
    failed: set[Target] = dataclasses.field(default_factory=set)

    @property
    def nodes(self) -> list[Node]:
        """All nodes, upstream first."""
        return [(s.asset, key) for s in STAGES for key in self.catalog.partitions(s.asset)]

    def copy(self) -> World:
        """Return the same state, to go on from."""
        store = Memory(self.store.layout, dict(self.store.looks))
        return World(self.catalog, store, dict(self.recorded), set(self.running), set(self.failed))

    def book(self) -> ExpectedBook:
        """Return the recipes as of now."""
        return ExpectedBook(self.catalog, self.store)  # type: ignore[arg-type]

    def plan(self) -> dict[Node, Status]:
        """Return the plan."""
        looks = _Looks(self.store)
        known = Knowledge(
            looks,
            self.recorded,
            self.store,
            running=lambda target: "job" if target in self.running else None,
            failure=lambda target: "no" if target in self.failed else None,
        )
        return statuses(self.book(), self.nodes, known)

    def execute(self, targets: set[Target] | None) -> list[Target]:
        """Make some artifacts (None: all that is not there) as the engine would, let what runs come
        to its end, and record what is complete; return what was made.
        """
        made: list[Target] = []
        for node in self.nodes:
            now = self.book()
            target = (node[0], now.fingerprint(*node))
            is_there = self.store.look(*target).is_complete
            is_asked = (targets is None or target in targets) and self.can_make(now, node)
            if not is_there and (is_asked or target in self.running):
                self.store.looks[target] = Look()
                made.append(target)
            if self.store.look(*target).is_complete:
                self.recorded[node] = target[1]
        return made

    def can_make(self, now: ExpectedBook, node: Node) -> bool:
        """Whether the engine would start a node."""
        optional = {item.asset for item in stage_of(node[0]).inputs if item.optional}
        usable = [now.is_there(*other) for other in now.upstream(*node)]
        return any(usable) if optional else all(usable)


class _Looks(dict[Target, Look]):
    def __init__(self, store: Memory) -> None:
        super().__init__()
        self._store = store

    def __missing__(self, target: Target) -> Look:
        return self._store.look(*target)


def edited(folder: Path, edits: Iterable[int]) -> Catalog:
    """Return the catalog of the small project after some edits of its files."""
    folder.mkdir()
    write_small_project(folder)
    for number in edits:
        name, (*above, key), value = EDITS[number]
        path = folder / "configs" / name
        body = inner = yaml.safe_load(path.read_text())
        for part in above:
            inner = inner.setdefault(part, {})
        inner[key] = value
        path.write_text(yaml.safe_dump(body))
    return Catalog.load(folder / "configs", Layout(folder / "home"))


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> list[Catalog]:
    """The small project as it was, after each edit, and after all of them."""
    folder = tmp_path_factory.mktemp("catalogs")
    choices = [(), *((number,) for number in range(len(EDITS))), tuple(range(len(EDITS)))]
    return [edited(folder / str(n), edits) for n, edits in enumerate(choices)]


def random_world(seed: int, catalogs: list[Catalog], tmp_path: Path) -> World:
    """Return a graph that was complete, whose files were edited, and whose nodes were damaged."""
    chance = random.Random(seed)
    world = World(catalogs[0], Memory(Layout(tmp_path)))
    world.execute(None)
    world.catalog = chance.choice(catalogs)
    if chance.random() < 0.3:  # some of what was edited was made already
        world.execute({(a, world.book().fingerprint(a, k)) for a, k in world.nodes[::2]})
    share = chance.choice((0.1, 0.5, 1.0))
    for node in world.nodes:
        damage(world, node, chance.choice(DAMAGE) if chance.random() < share else "none")
    return world


def damage(world: World, node: Node, kind: str) -> None:
    """Bring one node into a state."""
    target = (node[0], world.book().fingerprint(*node))
    looks = world.store.looks
    if kind == "red" and target in looks and stage_of(node[0]).dimension != "none":
        looks[target] = Look(failed_checks=("a check",))
    elif kind == "broken" and target in looks:
        looks[target] = Look("broken: a file is gone")
    elif kind in ("gone", "failed", "running", "never"):
        looks.pop(target, None)
    if kind in ("unrecorded", "never"):
        world.recorded.pop(node, None)
    if kind == "failed":
        world.failed.add(target)
    if kind == "running":
        world.running.add(target)


def targets_in(found: Mapping[Node, Status], states: Iterable[str]) -> set[Target]:
    wanted = set(states)
    return {(one.node[0], one.fingerprint) for one in found.values() if one.state in wanted}


@pytest.mark.parametrize("seed", range(STATES))
def test_the_plan_is_sufficient_and_minimal(
    seed: int, catalogs: list[Catalog], tmp_path: Path
) -> None:
    world = random_world(seed, catalogs, tmp_path)
    before = world.plan()
    to_run, running = targets_in(before, TO_RUN), targets_in(before, ["running"])
    assert not any(world.store.look(*target).is_complete for target in to_run)

    after = world.copy()
    made = after.execute(to_run)
    assert sorted(made) == sorted(to_run | running)
    blocked = {node for node, one in before.items() if one.state == "blocked"}
    left = {node: one.state for node, one in after.plan().items() if one.state != "fresh"}
    assert left == dict.fromkeys(blocked, "blocked")

    for target in to_run:
        partly = world.copy()
        partly.execute(to_run - {target})
        states = {one.state for node, one in partly.plan().items() if node not in blocked}
        assert states != {"fresh"}, target


def test_the_generator_reaches_every_state(catalogs: list[Catalog], tmp_path: Path) -> None:
    seen = {
        one.state
        for seed in range(40)
        for one in random_world(seed, catalogs, tmp_path).plan().values()
    }
    assert len(seen) == 8


@pytest.mark.parametrize("seed", range(4))
def test_the_engine_makes_exactly_what_the_plan_says(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    write_small_project(tmp_path)
    layout = Layout(tmp_path / "home")
    store, launcher = ArtifactStore(layout), InstantLauncher(layout)
    book = RecipeBook(Catalog.load(tmp_path / "configs", layout), store)
    nodes = nodes_of(book, book.catalog.experiments)
    run(book, launcher, nodes)
    for node in nodes:
        folder = layout.artifact(node[0], book.recipe(*node).fingerprint)
        kind = chance.choice(("none", "none", "gone", "truncated"))
        if kind == "gone":
            store.discard(*folder.parts[-2:])
        if kind == "truncated":
            (folder / "value.json").write_text("")
    index = ArtifactIndex(layout)
    found = statuses(ExpectedBook(book.catalog, index), nodes, survey(index, {}))
    to_run = [node for node, one in found.items() if one.state in TO_RUN]
    book.forget_all()
    wanted = {(asset, book.fingerprint(asset, key)) for asset, key in to_run}
    made = run(book, launcher, to_run)
    assert to_run and len(made) == len(wanted)  # partitions with one recipe share an artifact
    assert set(made) <= set(to_run)


def run(book: RecipeBook, launcher: InstantLauncher, nodes: list[Node]) -> list[Node]:
    """Have the engine bring nodes up to date; return what was made."""
    launcher.made.clear()
    for _ in Engine(book, launcher, launcher, poll_s=0.0).run(nodes):
        pass
    return list(launcher.made)
