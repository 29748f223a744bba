"""What exactly was read from a source: enough to read the same rows again, or to see that one
cannot.

In: files. Out: a `Revision`. Cost: the digest of a gigabyte takes about a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from activeuf_core.artifacts import file_sha256


@dataclass(frozen=True)
class Revision:
    """A source at one moment."""

    kind: str
    name: str
    revision: str
    """A commit, a version, or nothing where digests of files say it all."""
    is_pinned: bool
    """Whether the same rows will be read under this revision for ever."""
    files: Mapping[str, str] = field(default_factory=dict)
    """sha256 of every file that was read from this machine, by relative path."""

    def as_record(self) -> dict[str, Any]:
        """Return what `revision.json` holds."""
        return {**asdict(self), "files": dict(self.files)}


def files_below(folder: Path) -> list[Path]:
    """Return the files of a folder without hidden ones: what tools note beside a data set, such as
    when it was fetched, is no part of it.
    """
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def digests_of(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    """Return the sha256 of files, by their path below a folder."""
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in sorted(files)}
