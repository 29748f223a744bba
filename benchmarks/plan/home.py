"""A home with any number of experiments, all of them made: artifacts, and Dagster's records.

In: an empty folder and a number of experiments. Out: config files with one sweep whose points share
nothing, an artifact per node with as many files as real ones have, and an event log in SQLite.
One experiment goes through real Dagster runs; what Dagster wrote of it is copied for the others,
with their names and fingerprints.
Cost: about a minute and 3 GB per 100,000 asset partitions.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from activeuf_core.artifacts import FileRecord, Manifest, _sealed
from activeuf_core.paths import MANIFEST, Layout
from activeuf_core.recipes import Recipe, RecipeBook
from activeuf_core.stages import STAGES
from tests.graph.conftest import write_small_project, write_yaml

SWEEP = "point"
DATASET = "tiny"
FILES = {"preference_dataset": 6, "dpo_model": 10, "reward_model": 9, "scores": 1}
"""Files of an artifact beside its manifest, as in the demo's home; others have `OTHER_FILES`."""
OTHER_FILES = 3
CONTENT = b"{}\n"
CONTENT_SHA256 = "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356"
NOTE = "A manifest of the demo has about four kilobytes; this stands for previews and libraries. "
EVENT_COLUMNS = "run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition"


def write_project(folder: Path, experiments: int) -> None:
    """Write the config files of a project with so many experiments: a sweep over seeds, so that
    every stage of every point has a recipe of its own.
    """
    write_small_project(folder)
    for path in (folder / "configs" / "experiments").iterdir():
        path.unlink()
    (folder / "configs" / "datasets" / "other.yaml").unlink()
    sweep = {
        "method": "grid",
        "parameters": {
            "dataset": {"value": DATASET},
            "loop.acquisition.method": {"value": "random"},
            "dpo_model.base_model": {"value": "base"},
            "reward_model.base_model": {"value": "base"},
        },
        "seeds": list(range(experiments)),
    }
    write_yaml(folder / "configs" / "sweeps" / f"{SWEEP}.yaml", sweep)


def environment(folder: Path) -> dict[str, str]:
    """Return the variables under which `activeuf` works on that project."""
    return {
        "ACTIVEUF_CONFIGS": str(folder / "configs"),
        "ACTIVEUF_HOME": str(folder / "home"),
        "DAGSTER_HOME": str(folder / "home" / "dagster"),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }


def fill(folder: Path, experiments: int) -> int:
    """Make everything of a new project; return how many asset partitions there are."""
    write_project(folder, experiments)
    os.environ.update(environment(folder))
    from activeuf_dagster.project import Project

    project = Project.load()
    book = project.book()
    first, *others = project.catalog.experiments
    _materialize(project, first)
    nodes = [
        (stage.asset, experiment)
        for stage in STAGES
        if stage.dimension == "experiment"
        for experiment in others
    ]
    for node in nodes:
        _make(book, book.recipe(*node))
    _copy_events(project.layout, book, first, others)
    _materialize(project, first)  # the leaderboard, which reads them all
    return sum(len(project.catalog.partitions(stage.asset)) for stage in STAGES)


@contextmanager
def edit_features(folder: Path) -> Iterator[None]:
    """Edit, within a block, a setting that everything downstream depends on."""
    path = folder / "configs" / "datasets" / f"{DATASET}.yaml"
    before = path.read_text(encoding="utf-8")
    path.write_text(before.replace("features:\n", "features:\n  max_tokens: 300\n"), "utf-8")
    try:
        yield
    finally:
        path.write_text(before, "utf-8")


def _materialize(project: Any, experiment: str) -> None:
    """Bring one experiment up to date through real Dagster runs."""
    import dagster as dg

    from activeuf_dagster.code_location import build
    from activeuf_dagster.foreground import run_wave, waves
    from activeuf_dagster.instance import ensure_instance
    from activeuf_dagster.planning import nodes_of, statuses
    from tests.fakes.launcher import instant_launchers

    type(project).launchers = instant_launchers
    ensure_instance(project.layout)
    book = project.book()
    with dg.DagsterInstance.get() as instance:
        found = statuses(instance, book, nodes_of(book, [experiment]))
        todo = [node for node, one in found.items() if not one.is_fresh]
        for wave in waves(todo, project):
            run_wave(build(project), instance, wave)


def _make(book: RecipeBook, recipe: Recipe) -> None:
    """Write one artifact: nothing is flushed, nobody reads it before the end."""
    folder = book.store.layout.artifact(recipe.asset, recipe.fingerprint)
    folder.mkdir(parents=True)
    names = [f"part-{number}.json" for number in range(FILES.get(recipe.asset, OTHER_FILES))]
    for name in names:
        (folder / name).write_bytes(CONTENT)
    manifest = Manifest(
        asset=recipe.asset,
        partition=recipe.partition,
        fingerprint=recipe.fingerprint,
        version=recipe.version,
        generation=recipe.generation,
        config=book.catalog.resolved(*recipe.node).full,
        inputs=recipe.inputs,
        files=tuple(FileRecord(name, len(CONTENT), CONTENT_SHA256) for name in names),
        metadata={"preview": {"kind": "markdown", "text": NOTE * 24}},
        provenance={
            "job_id": "bench",
            "seconds": 90.0,
            "gpus": 1,
            "git_commit": "",
            "libraries": {},
        },
    )
    (folder / MANIFEST).write_text(json.dumps(_sealed(manifest), indent=1), encoding="utf-8")


def _copy_events(layout: Layout, book: RecipeBook, first: str, others: Sequence[str]) -> None:
    """Write into the event log of every experiment what Dagster wrote of the first one."""
    path = next(layout.dagster.rglob("index.db"))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA synchronous=OFF")
        rows = database.execute(
            f"SELECT id, {EVENT_COLUMNS} FROM event_logs WHERE partition = ? ORDER BY id", (first,)
        ).fetchall()
        tags = database.execute(
            "SELECT event_id, asset_key, key, value, event_timestamp FROM asset_event_tags"
        )
        versions: dict[int, list[tuple[str, str, str, str]]] = {}
        for event, *rest in tags:
            versions.setdefault(event, []).append(tuple(rest))
        number = database.execute("SELECT max(id) FROM event_logs").fetchone()[0]
        old = _names(book, first)
        for other in others:
            new = dict(zip(old, _names(book, other), strict=True))
            for event, *columns in rows:
                number += 1
                values = [_renamed(value, new) for value in columns]
                database.execute(
                    "INSERT INTO event_logs VALUES (?,?,?,?,?,?,?,?)", (number, *values)
                )
                for asset, key, value, when in versions.get(event, ()):
                    database.execute(
                        "INSERT INTO asset_event_tags (event_id, asset_key, key, value, "
                        "event_timestamp) VALUES (?,?,?,?,?)",
                        (number, asset, key, new[value], when),
                    )


def _names(book: RecipeBook, experiment: str) -> list[str]:
    """Return what tells an experiment's events from another's: its name, its fingerprints, the
    digests of its configs.
    """
    recipes = [book.recipe(s.asset, experiment) for s in STAGES if s.dimension == "experiment"]
    return [experiment, *(r.fingerprint for r in recipes), *(r.config_digest for r in recipes)]


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for old, new in names.items():
            value = value.replace(old, new)
    return value


if __name__ == "__main__":
    fill(Path(sys.argv[1]), int(sys.argv[2]))
