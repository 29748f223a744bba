"""Artifacts: published whole, with a manifest written last, or not at all.

An artifact is a folder addressed by the fingerprint of its recipe. It is *complete* when its
manifest is there, is whole, names this fingerprint, and lists files that have the recorded sizes
(and, where asked, digests). Nothing else counts: not a file's existence, not a job's exit code.

Publishing: digest every file, write the manifest, flush both to disk, rename the folder into place.
A reader sees the old state or the new one. Standard library only: the task wrapper runs this inside
every SLURM task.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from activeuf_core.crash_points import reach
from activeuf_core.errors import ArtifactError
from activeuf_core.fingerprint import digest_of
from activeuf_core.paths import MANIFEST, Layout

MANIFEST_FORMAT = 1
READ_BLOCK = 1 << 20


@dataclass(frozen=True)
class FileRecord:
    """One file of an artifact."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What an artifact is, what it was made from, and by what.

    `inputs` maps an asset to the fingerprints that were read, by partition. `metadata` and `checks`
    are what the stage reported; `provenance` is where and when it ran (git commit, library
    versions, job ids, seconds).
    """

    asset: str
    partition: str
    fingerprint: str
    version: str
    generation: int
    config: Mapping[str, Any]
    inputs: Mapping[str, Mapping[str, str]]
    files: tuple[FileRecord, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[Mapping[str, Any], ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failed_blocking_checks(self) -> tuple[str, ...]:
        """Names of the checks that stop everything downstream."""
        return tuple(c["name"] for c in self.checks if c["blocking"] and not c["passed"])


@dataclass(frozen=True)
class Inspection:
    """What was found at an artifact's address: a manifest when complete, else a reason."""

    manifest: Manifest | None
    reason: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether the artifact can be used."""
        return self.manifest is not None


class ArtifactStore:
    """The artifacts of one home."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def inspect(self, asset: str, fingerprint: str, *, digests: bool = False) -> Inspection:
        """Say whether an artifact is complete, and if not, why.

        Args: digests: also read every file and compare its SHA-256 (about 1 GB/s).
        """
        return _inspect(self.layout.artifact(asset, fingerprint), asset, fingerprint, digests)

    def adopt(self, asset: str, fingerprint: str, folder: Path) -> Inspection:
        """Move a copy of an artifact from another home to its address, if every byte is right;
        return what was found. A complete artifact that is already there stays.
        """
        found = _inspect(folder, asset, fingerprint, digests=True)
        if not found.is_complete or self.inspect(asset, fingerprint).is_complete:
            return found
        for path in _files_below(folder):
            _flush(path)
        target = self.layout.artifact(asset, fingerprint)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._set_aside(target)
        os.rename(folder, target)
        _sync_folder(target.parent)
        return found

    def require(self, asset: str, fingerprint: str) -> Path:
        """Return the folder of a complete artifact.

        Raises: ArtifactError when it is missing or broken.
        """
        found = self.inspect(asset, fingerprint)
        folder = self.layout.artifact(asset, fingerprint)
        if found.is_complete:
            return folder
        raise ArtifactError(
            f"{asset}: {folder} is {found.reason}. Materialize {asset} for this partition first."
        )

    def publish(
        self,
        manifest: Manifest,
        output: Path,
        permit: contextlib.AbstractContextManager[None] | None = None,
    ) -> Manifest:
        """Move the finished folder `output` to its address; return the manifest that stands there.

        When a complete artifact is already there, it stays and `output` is left alone. A broken one
        is moved to the trash. Args: permit: entered around the move, after all that takes long; it
        may refuse by raising. Raises: ArtifactError when `output` holds no file.
        """
        standing = self.inspect(manifest.asset, manifest.fingerprint).manifest
        if standing is not None:
            return standing
        (output / MANIFEST).unlink(missing_ok=True)
        files = tuple(_record(path, output) for path in sorted(_files_below(output)))
        if not files:
            raise ArtifactError(
                f"{manifest.asset}[{manifest.partition}]: the stage ended without writing a file "
                f"to {output}; "
                "an artifact needs at least one. Look at the stage's log."
            )
        complete = Manifest(**{**_fields(manifest), "files": files})
        reach("before-manifest")
        write_json(output / MANIFEST, _sealed(complete))
        reach("after-manifest")
        target = self.layout.artifact(manifest.asset, manifest.fingerprint)
        target.parent.mkdir(parents=True, exist_ok=True)
        with permit or contextlib.nullcontext():
            standing = self.inspect(manifest.asset, manifest.fingerprint).manifest
            if standing is not None:  # by a process that did not see our lock
                return standing
            self._set_aside(target)
            os.rename(output, target)
            reach("after-rename")
        _sync_folder(target.parent)
        return complete

    def discard(self, asset: str, fingerprint: str) -> None:
        """Move an artifact to the trash, so that it is made again."""
        self._set_aside(self.layout.artifact(asset, fingerprint))

    def generation(self, asset: str, recipe: str) -> int:
        """Return how often a recipe was re-run on purpose (0: never)."""
        try:
            return int(read_json(self.layout.generation(asset, recipe))["generation"])
        except FileNotFoundError:
            return 0

    def next_generation(self, asset: str, recipe: str) -> int:
        """Start a new generation of a recipe: everything downstream turns stale."""
        number = self.generation(asset, recipe) + 1
        write_json(self.layout.generation(asset, recipe), {"generation": number})
        return number

    def note_failure(self, asset: str, fingerprint: str, kind: str, message: str) -> None:
        """Remember that an attempt at an artifact failed, for whoever plans the next one."""
        path = self.layout.failure(asset, fingerprint)
        before = self.failure(asset, fingerprint)
        count = int(before["count"]) + 1 if before else 1
        record = {"kind": kind, "message": message, "count": count, "time": time.time()}
        write_json(path, record)

    def failure(self, asset: str, fingerprint: str) -> Mapping[str, Any] | None:
        """Return why the last attempt at an artifact failed (kind, message, count, time), None when
        none did.
        """
        try:
            return read_json(self.layout.failure(asset, fingerprint))
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def claim(self, asset: str, fingerprint: str) -> Iterator[bool]:
        """Try to lock an artifact; yield whether we hold it. The lock ends with the process,
        however it ends.
        """
        with self._open_claim(asset, fingerprint) as handle:
            yield try_lock(handle)

    def is_claimed(self, asset: str, fingerprint: str) -> bool:
        """Whether some task works on this artifact at this moment."""
        with self.claim(asset, fingerprint) as ours:
            return not ours

    def _open_claim(self, asset: str, fingerprint: str) -> IO[str]:
        path = self.layout.claim(asset, fingerprint)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a")

    def _set_aside(self, target: Path) -> None:
        if target.exists() or target.is_symlink():
            self.layout.trash.mkdir(parents=True, exist_ok=True)
            aside = f"{target.parent.name}-{target.name}-{os.urandom(4).hex()}"
            os.rename(target, self.layout.trash / aside)


def manifest_in(folder: Path) -> Manifest:
    """Return the manifest in a folder, wherever it lies and whatever became of its files.

    Raises: ArtifactError when it is not there or not whole.
    """
    try:
        return _read_manifest(folder / MANIFEST)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{folder / MANIFEST} cannot be read ({error}). Name an artifact's folder."
        ) from error


def problem_with(folder: Path, manifest: Manifest, *, digests: bool = False) -> str:
    """Return the first thing in a folder that is not as its manifest says, '' when all is."""
    return _first_problem(folder, manifest, digests)


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, also after a power cut."""
    os.replace(_write_partial(path, value), path)
    _sync_folder(path.parent)


def create_json(path: Path, value: Any) -> bool:
    """Write a JSON file that must not be there yet, whole and durable; return whether we were the
    first. A hard link is made by one process only, also on a network file system.
    """
    partial = _write_partial(path, value)
    try:
        os.link(partial, path)
    except FileExistsError:
        return False
    finally:
        partial.unlink()
    _sync_folder(path.parent)
    return True


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    with path.open(encoding="utf-8") as handle:
        return json.load(handle)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(READ_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _write_partial(path: Path, value: Any) -> Path:
    """Write a value to a file beside `path`, flushed to disk; return that file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    with partial.open("w", encoding="utf-8") as handle:
        json.dump(value, handle, indent=1, allow_nan=False)
        handle.write("\n")
        handle.flush()
        os.fsync(handle.fileno())
    return partial


def _fields(manifest: Manifest) -> dict[str, Any]:
    return {name: getattr(manifest, name) for name in manifest.__dataclass_fields__}


def _sealed(manifest: Manifest) -> dict[str, Any]:
    """Return the manifest as JSON with its own digest, so that a torn or edited one is
    recognised.
    """
    body = json.loads(json.dumps({"format": MANIFEST_FORMAT, **asdict(manifest)}))
    return {**body, "seal": digest_of(body)}


def _read_manifest(path: Path) -> Manifest:
    body = read_json(path)
    if not isinstance(body, dict):
        raise TypeError(f"it holds a {type(body).__name__}")
    seal = body.pop("seal", None)
    if seal != digest_of(body):
        raise ValueError("its seal does not match its content")
    if body.pop("format") != MANIFEST_FORMAT:
        raise ValueError(f"format is not {MANIFEST_FORMAT}")
    files = tuple(FileRecord(**record) for record in body.pop("files"))
    return Manifest(**{**body, "files": files, "checks": tuple(body["checks"])})


def _inspect(folder: Path, asset: str, fingerprint: str, digests: bool) -> Inspection:
    """Say whether a folder is a complete artifact, and if not, why."""
    try:
        manifest = _read_manifest(folder / MANIFEST)
    except FileNotFoundError:
        return Inspection(None, "broken: no manifest" if folder.exists() else "missing")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Inspection(None, f"broken: manifest unreadable ({error})")
    if (manifest.asset, manifest.fingerprint) != (asset, fingerprint):
        found = f"{manifest.asset}/{manifest.fingerprint}"
        return Inspection(None, f"foreign: the manifest is that of {found}")
    problem = _first_problem(folder, manifest, digests)
    return Inspection(None, problem) if problem else Inspection(manifest)


def _first_problem(folder: Path, manifest: Manifest, digests: bool) -> str:
    for record in manifest.files:
        path = folder / record.path
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return f"broken: {record.path} is gone"
        except OSError as error:
            return f"broken: {record.path} cannot be read ({error})"
        if size != record.size:
            return f"broken: {record.path} has {size} bytes, the manifest says {record.size}"
        if digests and file_sha256(path) != record.sha256:
            return f"corrupt: {record.path} has other content than the manifest says"
    return ""


def _files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _record(path: Path, folder: Path) -> FileRecord:
    record = FileRecord(path.relative_to(folder).as_posix(), path.stat().st_size, file_sha256(path))
    _flush(path)
    return record


def _sync_folder(folder: Path) -> None:
    _flush(folder)


def _flush(path: Path) -> None:
    """Have a file, or the names in a folder, on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def try_lock(handle: IO[str]) -> bool:
    """Lock an open file if nobody has; return whether we hold it. It ends with the process."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
