"""Which artifacts the experiments refer to, and which of a store nothing refers to any more.

In: the recipes of a catalog, and a store. Out: the artifacts that some partition is made of now,
with all that those were made from; and the others, each with its size, its age and why. Nothing is
locked or changed: whoever removes something looks again. Cost: one listing per asset and one small
file per artifact that nothing refers to; no digest (10,000 artifacts, 900 of them orphans: 0.1 s).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from activeuf_core.artifacts import ArtifactStore, read_json
from activeuf_core.digests import ABSENT
from activeuf_core.launchers.base import Target
from activeuf_core.paths import MANIFEST, Layout
from activeuf_core.recipes import RecipeBook
from activeuf_core.stages import STAGES

Why = Literal["changed", "unknown partition", "unknown asset", "unreadable", "source absent"]
IN_WORDS: Mapping[Why, str] = {
    "changed": "its partition is made of something else now",
    "unknown partition": "no config file declares its partition",
    "unknown asset": "there is no such asset any more",
    "unreadable": "it has no readable manifest, and no partition wants it",
    "source absent": "a source that it was made from is not there, so that nobody can say",
}


@dataclass(frozen=True)
class Orphan:
    """An artifact that no partition refers to: its size in bytes, when it was made (seconds since
    the epoch), and the partition that its manifest names, '' where none is readable.
    """

    asset: str
    fingerprint: str
    size: int
    made: float
    partition: str
    why: Why

    @property
    def target(self) -> Target:
        """(asset, fingerprint)."""
        return (self.asset, self.fingerprint)

    @property
    def is_certain(self) -> bool:
        """Whether it is known that nothing refers to it."""
        return self.why != "source absent"


def referenced(book: RecipeBook) -> frozenset[Target]:
    """Return all artifacts that some partition is made of now.

    A fingerprint is a digest of the fingerprints that it reads, so what a referenced artifact was
    made from is referenced too.
    """
    return frozenset(
        (stage.asset, book.fingerprint(stage.asset, partition))
        for stage in STAGES
        for partition in book.catalog.partitions(stage.asset)
    )


def recipes_of(book: RecipeBook) -> frozenset[Target]:
    """Return (asset, base) of all recipes: what the counts of purposeful re-runs belong to."""
    return frozenset(
        (stage.asset, book.recipe(stage.asset, partition).base)
        for stage in STAGES
        for partition in book.catalog.partitions(stage.asset)
    )


def present(layout: Layout) -> Iterator[Target]:
    """Yield whatever lies at an artifact's address, also of assets that there are no more."""
    for asset in _names(layout.artifacts):
        for fingerprint in _names(layout.artifacts / asset):
            yield asset, fingerprint


def orphans(
    store: ArtifactStore,
    book: RecipeBook,
    others: Sequence[RecipeBook] = (),
    *,
    thorough: bool = False,
) -> list[Orphan]:
    """Return the artifacts that no partition refers to, oldest first.

    Args: others: books of further config folders whose references count. thorough: also read the
    manifests of all that is referred to, and keep what they name, rather than rely on a fingerprint
    being made of those that it reads (40 ms per 1,000).
    """
    books = (book, *others)
    wanted = frozenset().union(*map(referenced, books))
    loose = [target for target in present(store.layout) if target not in wanted]
    if not loose:
        return []
    bodies = {target: _body(store.layout, target) for target in loose}
    kept = _made_from(store.layout, wanted) if thorough else set()
    why = _Verdict(books, bodies)
    found = [
        _orphan(store.layout, target, body, why(target))
        for target, body in bodies.items()
        if target not in kept
    ]
    return sorted(found, key=lambda one: (one.made, one.target))


def _orphan(layout: Layout, target: Target, body: Mapping[str, Any], why: Why) -> Orphan:
    asset, fingerprint = target
    folder = layout.artifact(asset, fingerprint)
    path = folder / MANIFEST if body else folder
    size = sum(int(one["size"]) for one in body["files"]) if body else size_of(folder)
    return Orphan(
        asset=asset,
        fingerprint=fingerprint,
        size=size,
        made=path.lstat().st_mtime,
        partition=str(body.get("partition", "")),
        why=why,
    )


class _Verdict:
    """Why nothing refers to an artifact.

    What was made from a source that is not there now may still be wanted: until the source is back,
    its recipe has another fingerprint.
    """

    def __init__(
        self, books: Sequence[RecipeBook], bodies: Mapping[Target, Mapping[str, Any]]
    ) -> None:
        self._declared = {
            stage.asset: {key for book in books for key in book.catalog.partitions(stage.asset)}
            for stage in STAGES
        }
        self._absent = {name for book in books for name in absent_sources(book)}
        self._bodies = bodies
        self._doubtful: dict[Target, bool] = {}

    def __call__(self, target: Target) -> Why:
        body = self._bodies[target]
        if not body:
            return "unreadable"
        if target[0] not in self._declared:
            return "unknown asset"
        if self._absent and self._is_doubtful(target):
            return "source absent"
        known = body["partition"] in self._declared[target[0]]
        return "changed" if known else "unknown partition"

    def _is_doubtful(self, target: Target) -> bool:
        if target not in self._doubtful:
            body = self._bodies.get(target, {})
            names = {name for name, _ in _sources(body.get("config", {}))}
            self._doubtful[target] = bool(names & self._absent) or any(
                self._is_doubtful(above) for above in _inputs(body)
            )
        return self._doubtful[target]


def absent_sources(book: RecipeBook) -> set[str]:
    """Return the names of the models and data sources that recipes name and that are not there."""
    catalog, seen, found = book.catalog, set[int](), set[str]()
    for stage in STAGES:
        for partition in catalog.partitions(stage.asset) if stage.dimension != "none" else ():
            full = catalog.resolved(stage.asset, partition).full
            if id(full) not in seen:  # the points of a sweep share most sections
                seen.add(id(full))
                found |= {name for name, identity in _sources(full) if identity == ABSENT}
    return found


def size_of(path: Path) -> int:
    """Return the bytes of a file or of all files below a folder; links count nothing and are not
    followed.
    """
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size if path.exists() and not path.is_symlink() else 0
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            one = Path(folder) / name
            total += 0 if one.is_symlink() else one.lstat().st_size
    return total


def _made_from(layout: Layout, wanted: Iterable[Target]) -> set[Target]:
    """Return all that manifests of wanted artifacts name, and what those name."""
    found: set[Target] = set()
    frontier = list(wanted)
    while frontier:
        for target in _inputs(_body(layout, frontier.pop())):
            if target not in found:
                found.add(target)
                frontier.append(target)
    return found


def _body(layout: Layout, target: Target) -> Mapping[str, Any]:
    """Return a manifest as it is written, {} when it cannot be read; its seal is not checked."""
    try:
        body = read_json(layout.manifest(*target))
        return body if isinstance(body["files"], list) and body["partition"] else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _inputs(body: Mapping[str, Any]) -> list[Target]:
    inputs: Mapping[str, Mapping[str, str]] = body.get("inputs", {})
    return [(asset, one) for asset, prints in inputs.items() for one in prints.values()]


def _sources(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the (name, identity) of every model and data source that a config names."""
    if isinstance(value, Mapping):
        if value.keys() == {"name", "identity"}:
            yield value["name"], value["identity"]
        for inner in value.values():
            yield from _sources(inner)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name[0] != ".")
    except (FileNotFoundError, NotADirectoryError):
        return []
