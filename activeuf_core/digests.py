"""Content digests of source files and model folders: what "the same data" means.

A digest is remembered with the size, inode and modification time of every file it covers, so that a
gigabyte of weights is read once and afterwards only looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from activeuf_core.artifacts import file_sha256, write_json
from activeuf_core.fingerprint import digest_of

ABSENT = "absent"
HUB = "hub:"
"""How the identity of a pinned hub repository begins."""


class DigestCache:
    """Digests of paths, remembered in one JSON file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, dict[str, object]] = self._load()

    def digest(self, source: Path) -> str:
        """Return the digest of a file or of a folder's files; `absent` when nothing is there."""
        if not source.exists():
            return ABSENT
        stamp = [[p.relative_to(source).as_posix(), *_stamp(p)] for p in _files(source)]
        key = str(source.absolute())
        known = self._known.get(key)
        if known and known["stamp"] == stamp:
            return str(known["digest"])
        digest = content_digest(source)
        self._known[key] = {"stamp": stamp, "digest": digest}
        write_json(self._path, self._known)
        return digest

    def _load(self) -> dict[str, dict[str, object]]:
        """Read the cache; an unreadable one costs time, not correctness."""
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


def content_digest(source: Path) -> str:
    """Return the digest of a file or of a folder's files, all of which are read."""
    files = _files(source)
    return digest_of([[p.relative_to(source).as_posix(), file_sha256(p)] for p in files])


def _files(source: Path) -> list[Path]:
    return sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]


def changed_source(
    config: Mapping[str, Any], locations: Mapping[str, str], cache: DigestCache
) -> str:
    """Return why a stage cannot read its sources as its recipe names them, '' when it can.

    A recipe is made when the config files are read; hours may pass before its stage runs.
    """
    for name, identity in _references(config):
        if identity.startswith(HUB) or name not in locations:
            continue
        found = cache.digest(Path(locations[name]))
        if found == ABSENT:
            return f"{locations[name]} is not there. Put {name!r} there, or correct its path."
        if found != identity:
            return (
                f"{locations[name]} is not what it was when the config files were read. "
                "Materialize again: the new content makes a new artifact."
            )
    return ""


def _references(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the (name, identity) of every model and data source that a config names."""
    if isinstance(value, Mapping):
        if value.keys() == {"name", "identity"}:
            yield value["name"], value["identity"]
        for inner in value.values():
            yield from _references(inner)


def _stamp(path: Path) -> list[int]:
    facts = path.stat()
    return [facts.st_size, facts.st_ino, facts.st_mtime_ns]
