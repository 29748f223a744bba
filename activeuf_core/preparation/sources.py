"""Where rows come from: one small protocol, and the source that a config names.

In: settings of a source. Out: `SourceRow`s per split, and a `Revision` that tells what was read: a
commit, a version, and digests of files. A source that needs a library which is not installed says
which extra brings it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from activeuf_core.config import DataRef
from activeuf_core.errors import DataError
from activeuf_core.preparation.config import HubSource, LocalSource, Source, Split
from activeuf_core.preparation.kaggle import Kaggle
from activeuf_core.preparation.revision import Revision, digests_of, files_below
from activeuf_core.preparation.tfds import Tfds
from activeuf_core.sources import SourceRow, iterate_source

COMMIT = re.compile(r"[0-9a-f]{40}")
Locate = Callable[[DataRef], str]


class DatasetSource(Protocol):
    """Rows by split."""

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that the source has."""
        ...

    def resolve_revision(self) -> Revision:
        """Return what will be read; may fetch it. Raises: DataError when it is not there."""
        ...

    def rows(self, split: Split) -> Iterator[SourceRow]:
        """Read one split. Raises: DataError naming the place of what cannot be read."""
        ...


def open_source(config: Source, locate: Locate) -> DatasetSource:
    """Return the source that a config names.

    Args: locate: tells where a named source lies: a path, or a hub id with `@revision`.
    """
    if isinstance(config, HubSource):
        return Hub(config, locate(config.data))
    if isinstance(config, LocalSource):
        return Local(config, {split: locate(ref) for split, ref in config.given().items()})
    return Kaggle(config) if config.kind == "kaggle" else Tfds(config)


class Hub:
    """A data set of the hub at one revision, or a folder in one of the forms that are read alike.

    A folder's README may declare configurations, as on the hub: both then take the same `subset`.
    """

    def __init__(self, config: HubSource, location: str) -> None:
        self._config = config
        self._location = location

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that have a name."""
        return tuple(self._config.splits.given())

    def resolve_revision(self) -> Revision:
        """Return the commit, or digests of the folder's files."""
        folder = Path(self._location)
        if folder.exists():
            digests = digests_of(folder, files_below(folder))
            return Revision("hf", self._config.data.name, "", is_pinned=True, files=digests)
        name, _, revision = self._location.rpartition("@")
        is_commit = COMMIT.fullmatch(revision) is not None
        return Revision("hf", name or self._location, revision, is_pinned=is_commit)

    def rows(self, split: Split) -> Iterator[SourceRow]:
        """Read a split."""
        name = self._config.splits.given()[split]
        return iterate_source(self._location, subset=self._config.subset, split=name)


class Local:
    """One file per split."""

    def __init__(self, config: LocalSource, files: dict[Split, str]) -> None:
        self._names = {split: ref.name for split, ref in config.given().items()}
        self._files: dict[Split, Path] = {split: Path(file) for split, file in files.items()}

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that have a file."""
        return tuple(self._files)

    def resolve_revision(self) -> Revision:
        """Return digests of the files."""
        for split, path in self._files.items():
            if not path.is_file():
                raise DataError(
                    f"{path}: no such file ({self._names[split]!r}, split {split}). Correct "
                    f"source.{split}."
                )
        digests = {
            f"{split}/{path.name}": digests_of(path.parent, [path])[path.name]
            for split, path in self._files.items()
        }
        names = ", ".join(dict.fromkeys(self._names.values()))
        return Revision("local", names, "", is_pinned=True, files=digests)

    def rows(self, split: Split) -> Iterator[SourceRow]:
        """Read a file."""
        return iterate_source(str(self._files[split]))
