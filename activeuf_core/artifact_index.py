"""An index of manifests: what an artifact is, without reading its manifest again.

In: a home. Out: a `Look` per (asset, fingerprint). An entry is believed only while the manifest has
the inode, the size and both times that it had when it was read and found sound; what was edited,
truncated or replaced is read anew. The files of an artifact are looked at every time, so a
truncated output is noticed. Cost of a complete artifact: one `stat` for the manifest and one per
file (0.02 ms), and no read; without an entry 0.15 ms.

The index is a cache, one text file per asset: it can be deleted at any time, and of two processes
that write it the later one wins. It is for whoever looks at everything at once. The engine asks
`ArtifactStore.inspect`, which reads the manifest.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from activeuf_core.artifacts import ArtifactStore, Manifest, read_json
from activeuf_core.fingerprint import FINGERPRINT_LENGTH, digest_of
from activeuf_core.paths import MANIFEST, Layout
from activeuf_core.stand_ins import is_stand_in

log = logging.getLogger("activeuf")
HEADER = "activeuf index 1"
FACTS = 5
"""Fields of an entry before those of its files."""
SETTLED_S = 2.0
"""A file that changed a moment ago can change again without its times telling: the clock of a file
system ticks every few milliseconds, that of some network file systems every second.
"""


@dataclass(frozen=True, slots=True)
class Past:
    """What an artifact was made from, as far as it can differ: the digest of its whole config, and
    per asset the fingerprints that it read, sorted.
    """

    version: str
    generation: int
    config_digest: str
    inputs: Mapping[str, list[str]]


class Look(NamedTuple):
    """What was found at an artifact's address. `reason`: why it is not complete, '' when it is.

    `seconds` and `gpus` it took; `failed_checks` are the blocking checks that stop what reads it.
    """

    reason: str = ""
    seconds: float = 0.0
    gpus: float = 0.0
    failed_checks: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether the artifact can be used."""
        return not self.reason


MISSING = Look("missing")


class ArtifactIndex:
    """The looks at the artifacts of one home; each artifact is looked at once."""

    def __init__(self, layout: Layout, *, digests: bool = False) -> None:
        """Args: digests: believe no entry, read every file and compare its SHA-256."""
        self.layout = layout
        self._store = ArtifactStore(layout)
        self._digests = digests
        self._shelves: dict[str, _Shelf] = {}

    def look(self, asset: str, fingerprint: str) -> Look:
        """Say whether an artifact is complete, and if not, why."""
        shelf = self._shelf(asset)
        found = shelf.looks.get(fingerprint)
        if found is None:
            found = shelf.looks[fingerprint] = self._look(shelf, asset, fingerprint)
        return found

    def past(self, asset: str, fingerprint: str) -> Past | None:
        """Return what an artifact was made from, None when it has no sound manifest."""
        shelf = self._shelf(asset)
        entry = shelf.entries.get(fingerprint)
        if entry is None or entry.partition("\t")[0] != shelf.stamp(fingerprint):
            if not self.look(asset, fingerprint).is_complete:
                return None
            entry = shelf.entries.get(fingerprint)
        if entry is None:  # it cannot be kept as a line
            manifest = self._store.inspect(asset, fingerprint).manifest
            return _past(_entry(manifest, "")) if manifest else None
        shelf.earlier[fingerprint] = _as_look(entry)
        return _past(entry)

    def size(self, asset: str, fingerprint: str) -> int | None:
        """Return the bytes of an artifact's files, None when it has no sound manifest."""
        shelf = self._shelf(asset)
        if fingerprint not in shelf.entries:
            self.look(asset, fingerprint)
        entry = shelf.entries.get(fingerprint)
        return None if entry is None else sum(map(int, entry.split("\t")[FACTS::2]))

    def present(self) -> Iterator[tuple[str, str]]:
        """Yield the (asset, fingerprint) of all that lies in the store, of assets that there are no
        more too.
        """
        for asset in sorted(_names(self.layout.artifacts)):
            if not asset.startswith("."):
                names = self._shelf(asset).present
                yield from ((asset, name) for name in names if name[0] != ".")

    def sample(self, asset: str, count: int = 50) -> dict[tuple[str, str], Look]:
        """Return looks at some artifacts of an asset, whichever partition they were made for."""
        names = [name for name in sorted(self._shelf(asset).present) if name[0] != "."]
        return {(asset, name): self.look(asset, name) for name in names[:count]}

    def config(self, asset: str, fingerprint: str) -> Mapping[str, Any] | None:
        """Return the whole config of a complete artifact, None when there is no such artifact."""
        shelf = self._shelf(asset)
        entry = shelf.entries.get(fingerprint)
        if entry is not None and entry.partition("\t")[0] == shelf.stamp(fingerprint):
            body = read_json(self.layout.manifest(asset, fingerprint))  # sound when it was indexed
            return body["config"]
        manifest = self._store.inspect(asset, fingerprint).manifest
        return manifest.config if manifest else None

    def looks(self) -> Iterator[tuple[tuple[str, str], Look]]:
        """Yield everything that was looked at, with its (asset, fingerprint), also what was only
        asked for as something earlier.
        """
        for asset, shelf in self._shelves.items():
            for fingerprint, look in {**shelf.earlier, **shelf.looks}.items():
                yield (asset, fingerprint), look

    def save(self) -> None:
        """Write down what was learnt, for the next look; a home that is not ours to write stays as
        it is.
        """
        try:
            for asset, shelf in self._shelves.items():
                if shelf.has_news:
                    shelf.save(self.layout.index(asset))
        except OSError as error:  # a cache: the next look takes longer, and finds the same
            log.info("the index of %s was not written: %s", self.layout.home, error)

    def _shelf(self, asset: str) -> _Shelf:
        shelf = self._shelves.get(asset)
        if shelf is None:
            folder = self.layout.artifacts / asset
            shelf = self._shelves[asset] = _Shelf(folder, self.layout.index(asset))
        return shelf

    def _look(self, shelf: _Shelf, asset: str, fingerprint: str) -> Look:
        if fingerprint not in shelf.present:
            return MISSING
        entry = shelf.entries.get(fingerprint)
        if entry is not None and not self._digests and shelf.agrees(fingerprint, entry):
            return _as_look(entry)
        stamp = shelf.stamp(fingerprint)
        found = self._store.inspect(asset, fingerprint, digests=self._digests)
        if found.manifest is None:
            shelf.forget(fingerprint)
            return Look(found.reason)
        entry = _entry(found.manifest, stamp)
        is_one = stamp != "" and shelf.stamp(fingerprint) == stamp
        if is_one and _fits_a_line(found.manifest, fingerprint):
            shelf.remember(fingerprint, entry)
        return _as_look(entry)


class _Shelf:
    """The artifacts of one asset: which lie there, and the entries of those that were read."""

    def __init__(self, folder: Path, index: Path) -> None:
        self._root = str(folder)
        self.present = _names(folder)
        self.entries = _read(index)
        self.looks: dict[str, Look] = {}
        self.earlier: dict[str, Look] = {}
        self.has_news = any(name not in self.present for name in self.entries)

    def stamp(self, fingerprint: str) -> str:
        """Return what tells a manifest from one that was edited or replaced, '' without one."""
        try:
            found = os.stat(f"{self._root}/{fingerprint}/{MANIFEST}")
        except OSError:
            return ""
        return f"{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"

    def agrees(self, fingerprint: str, entry: str) -> bool:
        """Whether the manifest is the one that was read, and every file has its size."""
        fields = entry.split("\t")
        if fields[0] != self.stamp(fingerprint):
            return False
        folder = f"{self._root}/{fingerprint}/"
        try:
            for at in range(FACTS, len(fields), 2):
                if os.stat(folder + fields[at + 1]).st_size != int(fields[at]):
                    return False
        except OSError:
            return False
        return True

    def remember(self, fingerprint: str, entry: str) -> None:
        """Keep an entry."""
        self.entries[fingerprint] = entry
        self.has_news = True

    def forget(self, fingerprint: str) -> None:
        """Drop the entry of what is not complete any more."""
        if self.entries.pop(fingerprint, None) is not None:
            self.has_news = True

    def save(self, path: Path) -> None:
        """Write the entries of what is there and did not change a moment ago."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        partial.touch()
        now = partial.stat().st_mtime  # by the clock of the file system, as the entries' times
        lines = [
            f"{name}\t{entry}\n"
            for name, entry in self.entries.items()
            if name in self.present and _changed(entry) < now - SETTLED_S
        ]
        body = "".join(lines)
        try:
            partial.write_text(f"{HEADER} {_digest(body)}\n{body}", encoding="utf-8")
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, str]:
    """Return the entries of a file by fingerprint; of one that is not whole, none."""
    try:
        head, _, body = path.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return {}
    if head != f"{HEADER} {_digest(body)}":
        return {}
    at = FINGERPRINT_LENGTH
    return {line[:at]: line[at + 1 :] for line in body.split("\n") if line}


def _digest(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"


def _entry(manifest: Manifest, stamp: str) -> str:
    """Return an entry: stamp, what it took, failed checks, what it was made from, then size and
    name of every file.
    """
    provenance = manifest.provenance
    failed = manifest.failed_blocking_checks
    inputs = {asset: sorted(prints.values()) for asset, prints in manifest.inputs.items()}
    past = [manifest.version, manifest.generation, digest_of(manifest.config), inputs]
    took = 0.0 if is_stand_in(manifest.config) else float(provenance.get("seconds", 0.0))
    facts = (
        stamp,
        str(took),  # what stands in for a stage's work says nothing of its price
        str(float(provenance.get("gpus", 0))),
        json.dumps(failed) if failed else "",
        json.dumps(past),
    )
    files = [text for one in manifest.files for text in (str(one.size), one.path)]
    return "\t".join([*facts, *files])


def _fits_a_line(manifest: Manifest, fingerprint: str) -> bool:
    """Whether an entry can be written as a line, and read back."""
    printable = all(one.path.isprintable() for one in manifest.files)
    return printable and len(fingerprint) == FINGERPRINT_LENGTH


def _as_look(entry: str) -> Look:
    _, seconds, gpus, failed, _ = entry.split("\t", 4)
    return Look("", float(seconds), float(gpus), tuple(json.loads(failed)) if failed else ())


def _past(entry: str) -> Past:
    return Past(*json.loads(entry.split("\t", FACTS)[FACTS - 1]))


def _changed(entry: str) -> float:
    """Return when the manifest of an entry changed last, by either of its times."""
    *_, modified, changed = entry.partition("\t")[0].split(" ")
    return max(int(modified), int(changed)) / 1e9


def _names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
