"""`activeuf gc`: what nobody needs any more, with sizes; removed with `--yes`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from activeuf_core.activity import Activity
from activeuf_core.artifacts import ArtifactStore
from activeuf_core.catalog import Catalog
from activeuf_core.errors import ConfigError, choose_from
from activeuf_core.garbage import (
    KINDS,
    PERHAPS_ANOTHERS,
    Collector,
    Garbage,
    Hold,
    Kind,
    Rules,
    drop_dead_links,
)
from activeuf_core.recipes import RecipeBook
from activeuf_core.references import orphans, recipes_of, referenced
from activeuf_dagster.instance import ensure_instance
from activeuf_dagster.project import Project

console = Console(highlight=False, width=None if sys.stdout.isatty() else 180)
SHOWN = 30
UNITS = ("B", "kB", "MB", "GB", "TB")
DAY_S = 86_400.0


def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Remove it. Without: nothing is.")] = False,
    older_than: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="DAYS",
            help="Only what is older; also partitions that no config file declares.",
        ),
    ] = None,
    include: Annotated[
        str, typer.Option(help=f"Some kinds only, with commas between: {', '.join(KINDS)}.")
    ] = "",
    configs: Annotated[
        list[Path] | None,
        typer.Option(
            help="A further config folder that uses this home; with all of them named, partitions "
            "that none declares are nobody's. May be repeated."
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Show every artifact.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what no experiment refers to, with sizes, and remove it on --yes."""
    import dagster as dg

    from activeuf_dagster.ongoing import Watch

    kinds, began = _kinds(include), time.time()
    project = Project.load()
    folders = [project.configs, *(folder.absolute() for folder in configs or [])]
    books = _books(project, folders)
    ensure_instance(project.layout)
    rules = Rules(older_than_days=older_than, all_configs=len(folders) > 1)
    with dg.DagsterInstance.get() as instance:
        watch = Watch(instance, project.layout, folders, began)
        collector, found = _find(project, books, kinds, rules, watch)
        gone, refused = _remove(project, collector, found) if yes else ([], {})
    if as_json:
        sys.stdout.write(json.dumps(_as_json(found, gone, refused), indent=1) + "\n")
    else:
        _tell(found, full=full)
        _tell_removal(found, gone, refused, removed=yes)


def _kinds(include: str) -> Sequence[Kind]:
    wanted = [name.strip() for name in include.split(",") if name.strip()]
    for name in wanted:
        if name not in KINDS:
            raise ConfigError(f"--include has {name!r}; {choose_from(name, KINDS)}.")
    return [kind for kind in KINDS if not wanted or kind in wanted]


def _books(project: Project, folders: Sequence[Path]) -> list[RecipeBook]:
    """Return the recipes of all config folders that count. Raises: ConfigError for a wrong one, and
    for one without experiments: it would refer to nothing.
    """
    catalogs = [project.catalog]
    catalogs += [Catalog.load(folder, project.layout) for folder in folders[1:]]
    for folder, catalog in zip(folders, catalogs, strict=True):
        if not catalog.experiments:
            raise ConfigError(
                f"{folder}: declares no experiment, so that nothing would be referred to. Is it "
                "the folder that this home is used with? Set ACTIVEUF_CONFIGS, or name it with "
                "--configs."
            )
    return [RecipeBook(catalog, ArtifactStore(project.layout)) for catalog in catalogs]


def _find(
    project: Project,
    books: Sequence[RecipeBook],
    kinds: Sequence[Kind],
    rules: Rules,
    hold: Hold,
) -> tuple[Collector, list[Garbage]]:
    store = ArtifactStore(project.layout)
    loose = orphans(store, books[0], books[1:], thorough=True)
    collector = Collector(
        store,
        Activity(store),
        wanted=frozenset().union(*map(referenced, books)),
        recipes=frozenset().union(*map(recipes_of, books)),
        rules=rules,
        hold=hold,
    )
    return collector, collector.find(loose, kinds)


def _remove(
    project: Project, collector: Collector, found: Sequence[Garbage]
) -> tuple[list[Garbage], dict[str, str]]:
    """Remove; return what is gone, and why the rest stayed after all, by name."""
    gone: list[Garbage] = []
    refused: dict[str, str] = {}
    try:
        for one, reason in collector.remove(found):
            if reason:
                refused[one.name] = reason
            else:
                gone.append(one)
    finally:
        drop_dead_links(project.layout)
    return gone, refused


def _tell(found: Sequence[Garbage], *, full: bool) -> None:
    """Print artifacts one by one, and the sums per kind and asset."""
    artifacts = sorted((one for one in found if one.kind == "artifacts"), key=_by_asset)
    shown = artifacts if full else artifacts[:SHOWN]
    table = Table("artifact", "partition", "size", "age", "why", box=None)
    for one in shown:
        asset, _, fingerprint = one.name.partition("/")
        why = f"{one.why}; stays: {one.kept}" if one.kept and one.kept != one.why else one.why
        stays = "[dim]" if one.kept else ""
        name = f"{stays}{asset} {fingerprint[:12]}"
        age = f"{one.age_s / DAY_S:.0f} d"
        table.add_row(name, escape(one.partition), in_bytes(one.size), age, escape(why))
    if shown:
        console.print(table)
    if len(artifacts) > len(shown):
        console.print(f"… and {len(artifacts) - len(shown)} more artifacts (--full shows them)")
    if shown:
        console.print()
    console.print(_sums(found))


def _sums(found: Sequence[Garbage]) -> Table:
    table = Table("what", "number", "size", "of it stays", box=None)
    groups: dict[str, list[Garbage]] = {}
    for one in found:
        of_asset = one.target is not None and one.kind in ("artifacts", "checkpoints")
        what = f"{one.kind} {one.name.partition('/')[0]}" if of_asset else one.kind
        groups.setdefault(what, []).append(one)
    for what, members in groups.items():
        table.add_row(what, *_sum(members))
    table.add_row("[bold]in total", *_sum(found))
    return table


def _sum(members: Sequence[Garbage]) -> tuple[str, str, str]:
    kept = [one for one in members if one.kept]
    stays = f"{len(kept)}, {in_bytes(_size(kept))}" if kept else ""
    return str(len(members)), in_bytes(_size(members)), stays


def _tell_removal(
    found: Sequence[Garbage],
    gone: Sequence[Garbage],
    refused: dict[str, str],
    *,
    removed: bool,
) -> None:
    """Print what was removed and what was not, and what to do about it."""
    able = [one for one in found if not one.kept]
    if removed:
        console.print(f"\nRemoved {len(gone)} things; {in_bytes(_size(gone))} are free again.")
    elif able:
        size = in_bytes(_size(able))
        console.print(f"\nNothing was removed. `activeuf gc --yes` removes {len(able)}: {size}.")
    else:
        console.print("\nThere is nothing to remove.")
    for name, reason in refused.items():
        console.print(f"[yellow]{escape(name)} stays: {escape(reason)}")
    if any(one.kept == PERHAPS_ANOTHERS for one in found):
        console.print(
            "Artifacts of partitions that no config file declares stay until --older-than DAYS is "
            "given, or --configs FOLDER for each other config folder that uses this home."
        )


def in_bytes(size: int) -> str:
    """Return a size as people write it: 12.3 MB."""
    value, unit = float(size), UNITS[0]
    for unit in UNITS:
        if value < 1000 or unit == UNITS[-1]:
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def _size(members: Iterable[Garbage]) -> int:
    return sum(one.size for one in members)


def _by_asset(one: Garbage) -> tuple[str, float]:
    return one.name.partition("/")[0], -one.age_s


def _as_json(
    found: Sequence[Garbage], gone: Sequence[Garbage], refused: dict[str, str]
) -> dict[str, Any]:
    rows = [
        {
            "kind": one.kind,
            "name": one.name,
            "partition": one.partition,
            "bytes": one.size,
            "age_days": round(one.age_s / DAY_S, 3),
            "why": one.why,
            "kept": one.kept or refused.get(one.name, ""),
            "removed": one in gone,
        }
        for one in found
    ]
    able = _size(one for one in found if not one.kept)
    return {"garbage": rows, "removable_bytes": able, "reclaimed_bytes": _size(gone)}
