"""The project's Dagster instance: SQLite on this machine's disk, or Postgres for production.

In: `$DAGSTER_HOME` (default: `dagster` in the project's home), `$ACTIVEUF_DAGSTER` (`sqlite`, the
default, or `postgres`). Out: a folder with a `dagster.yaml`, the project's own, copied once: edits
to the copy stay. Cost: reading one file; a second the first time.
SQLite's locks do not hold on network file systems, so such a folder is refused before it is used.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from activeuf_core.config import read_yaml
from activeuf_core.errors import ConfigError, choose_from
from activeuf_core.paths import PROJECT, Layout

TEMPLATE = PROJECT / "configs" / "dagster.yaml"
TEMPLATES = {"sqlite": TEMPLATE, "postgres": PROJECT / "configs" / "dagster-postgres.yaml"}
MOUNTINFO = Path("/proc/self/mountinfo")
OVERRIDE = "ACTIVEUF_ALLOW_NETWORK_SQLITE"

# fmt: off
NETWORK_FILE_SYSTEMS = frozenset((
    "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fhgfs", "gfs2", "glusterfs",
    "gpfs", "juicefs", "lustre", "mfs", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs",
    "pvfs2", "smb", "smb2", "smb3", "smbfs", "sshfs", "vboxsf", "weka", "wekafs",
))
# fmt: on
"""Names as in /proc/self/mountinfo; in user space (`fuse.sshfs`) the part after the dot."""


@dataclass(frozen=True)
class Mount:
    """What a folder lies on."""

    point: str
    file_system: str

    @property
    def is_network(self) -> bool:
        """Whether other machines may see the same files."""
        kind = self.file_system.removeprefix("fuse.").removesuffix("-fuse").removesuffix("_fuse")
        return kind in NETWORK_FILE_SYSTEMS


def ensure_instance(layout: Layout) -> Path:
    """Return DAGSTER_HOME, setting it to the embedded instance where the user has not chosen one.

    Raises: ConfigError when `$ACTIVEUF_DAGSTER` is no storage or another one than the folder's
    `dagster.yaml` names, when SQLite would lie on a network file system, when Postgres is not
    described.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or layout.dagster).absolute()
    file = home / "dagster.yaml"
    wanted = os.environ.get("ACTIVEUF_DAGSTER", "")
    if wanted and wanted not in TEMPLATES:
        raise ConfigError(f"ACTIVEUF_DAGSTER is {wanted!r}; {choose_from(wanted, TEMPLATES)}.")
    template = file if file.exists() else TEMPLATES[wanted or "sqlite"]
    config = read_yaml(template) or {}
    storage = storage_of(config)
    if wanted and storage != wanted:
        raise ConfigError(
            f"ACTIVEUF_DAGSTER is {wanted!r}, but {file} names {storage} storage. Move that file "
            "away to get a new one, or point DAGSTER_HOME at another folder, or unset "
            "ACTIVEUF_DAGSTER."
        )
    if storage == "sqlite":
        refuse_network_file_system(sqlite_folder(config, home))
    elif storage == "postgres":
        _require_postgres(config)
    os.environ["DAGSTER_HOME"] = str(home)
    if template != file:
        _create(file, template)
    return home


def _create(file: Path, template: Path) -> None:
    """Make the tables of a new instance, then put its `dagster.yaml` in place.

    Two processes that make them at the same time leave them broken for good ("more than one head
    present", dagster 1.13.27): whoever finds a `dagster.yaml` finds them made.
    """
    import dagster as dg

    file.parent.mkdir(parents=True, exist_ok=True)
    with (file.parent / "create.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if file.exists():
            return
        draft = file.with_name("dagster.new.yaml")
        shutil.copy(template, draft)
        with dg.DagsterInstance.from_config(str(file.parent), draft.name):
            pass
        draft.replace(file)


def storage_of(config: Mapping[str, Any]) -> str:
    """Return what a `dagster.yaml` stores runs and events in: sqlite, postgres, or another name
    that it uses.
    """
    named = config.get("storage") or {}
    if named:
        return next(iter(named))
    return "custom" if {"run_storage", "event_log_storage"} & config.keys() else "sqlite"


def sqlite_folder(config: Mapping[str, Any], home: Path) -> Path:
    """Return where the SQLite files of an instance lie."""
    base = ((config.get("storage") or {}).get("sqlite") or {}).get("base_dir", home)
    if isinstance(base, Mapping):
        base = os.environ.get(base.get("env", ""), home)
    return Path(base)


def refuse_network_file_system(folder: Path) -> None:
    """Raise ConfigError if SQLite files in `folder`, which need not exist, would be shared between
    machines; `$ACTIVEUF_ALLOW_NETWORK_SQLITE=1` is the way past it.
    """
    if os.environ.get(OVERRIDE) == "1" or not MOUNTINFO.exists():
        return
    path = os.path.realpath(folder)  # before the table is read: an automounter acts on it
    mount = mount_of(path, MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape"))
    if mount.is_network:
        raise ConfigError(
            f"{folder} lies on {mount.point}, a network file system ({mount.file_system}). "
            "Dagster's SQLite files are damaged there sooner or later, because its locks do not "
            "hold between machines. Set DAGSTER_HOME to a folder on a local disk "
            "(for example /var/tmp/$USER/dagster), or use Postgres "
            "(ACTIVEUF_DAGSTER=postgres, docs/production.md). Artifacts may stay where they are. "
            f"If you know that it is safe: {OVERRIDE}=1."
        )


def mount_of(path: str, mountinfo: str) -> Mount:
    """Return what an absolute path without symbolic links lies on, by the text of
    /proc/self/mountinfo.

    The longest mount point above the path counts and, of several mounted on one another, the last.
    """
    found = Mount("/", "unknown")
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        if not after:
            continue
        point, kind = _unescaped(before.split(" ")[4]), after.split(" ")[0]
        above = path == point or path.startswith(point.rstrip("/") + "/")
        if above and len(point) >= len(found.point):
            found = Mount(point, kind)
    return found


def _unescaped(text: str) -> str:
    """Return a mount point; the kernel writes blanks, tabs, newlines and backslashes in octal."""
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), text)


def _require_postgres(config: Mapping[str, Any]) -> None:
    """Raise ConfigError with the remedy where no connection could even be tried."""
    if find_spec("dagster_postgres") is None:
        raise ConfigError(
            "Postgres storage needs the package dagster-postgres: "
            "pip install -c requirements.lock -e '.[dagster,postgres]'"
        )
    url = _postgres_url(config["storage"]["postgres"] or {})
    if url.startswith("postgresql://") and find_spec("psycopg") is None:
        # SQLAlchemy 2.1 takes psycopg 3 for it; dagster-postgres 0.29.27 brings psycopg2.
        raise ConfigError(
            "dagster.yaml names the database as postgresql://…, which asks for the package "
            "psycopg 3. Write postgresql+psycopg2://… (in postgres_db: `scheme: "
            "postgresql+psycopg2`)."
        )
    if url.endswith("://") and not {"PGDATABASE", "PGSERVICE"} & os.environ.keys():
        raise ConfigError(
            "Postgres storage is chosen, but PGDATABASE is not set. Set PGHOST, PGUSER and "
            "PGDATABASE (or PGSERVICE), and put the password into ~/.pgpass: docs/production.md."
        )


def _postgres_url(settings: Mapping[str, Any]) -> str:
    """Return the database's URL, of one given in parts only its beginning."""
    url = settings.get("postgres_url")
    if isinstance(url, Mapping):
        return os.environ.get(url.get("env", ""), "")
    if url:
        return str(url)
    return (settings.get("postgres_db") or {}).get("scheme", "postgresql") + "://…"
