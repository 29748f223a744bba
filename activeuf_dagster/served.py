"""What a Dagster that serves this home has told of itself: where its UI is, and which partitions
its code server knows.

A code server knows the config files as they were when it was loaded. A backfill of a partition that
is newer is ended by the daemon at its next look, long after the command that launched it has gone;
so the code server's sensor writes down what it knows, and whoever launches looks here first.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from activeuf_core.artifacts import read_json, write_json
from activeuf_core.catalog import Catalog
from activeuf_core.errors import LaunchError
from activeuf_core.fingerprint import digest_of
from activeuf_core.paths import Layout
from activeuf_core.recipes import Node
from activeuf_core.stages import STAGES, stage_of

DIMENSIONS = tuple(dict.fromkeys(stage.dimension for stage in STAGES))
BELIEVED_S = 120.0
"""A note that is older is that of a server whose sensor is off, or which is gone."""
SHOWN = 3


def note_partitions(layout: Layout, loaded: Catalog) -> None:
    """Write down which partitions this code server knows; the file's time says as of when."""
    path = layout.served / "partitions.json"
    known = {dimension: list(_partitions(loaded, dimension)) for dimension in DIMENSIONS}
    digest = digest_of(known)
    if path.exists() and read_json(path)["digest"] == digest:
        os.utime(path)
        return
    write_json(path, {"digest": digest, "known": known})


def refuse_newer(layout: Layout, nodes: Iterable[Node]) -> None:
    """Raises: LaunchError when a node's partition is newer than the code server that would make it,
    as far as that has told.
    """
    path = layout.served / "partitions.json"
    if not path.exists() or time.time() - path.stat().st_mtime > BELIEVED_S:
        return
    known = {dimension: set(keys) for dimension, keys in read_json(path)["known"].items()}
    newer = sorted({p for asset, p in nodes if p not in known[stage_of(asset).dimension]})
    if not newer:
        return
    names = ", ".join(newer[:SHOWN]) + (" …" if len(newer) > SHOWN else "")
    as_of = time.strftime("%H:%M:%S", time.localtime(path.stat().st_mtime))
    raise LaunchError(
        f"{len(newer)} partitions are newer than Dagster's code server, which would not make them "
        f"({names}; asked at {as_of}). Reload it (in the UI: Deployment, Reload; in production "
        "restart it), wait half a minute, and recover again; or recover with --foreground."
    )


def note_address(layout: Layout, url: str) -> Path:
    """Write down where the UI of this process is; return the file."""
    path = layout.served / "ui.json"
    write_json(path, {"url": url, "pid": os.getpid()})
    return path


def address(layout: Layout) -> str:
    """Return where the UI is, '' when no `activeuf ui` of this machine and home lives."""
    try:
        said = read_json(layout.served / "ui.json")
        os.kill(int(said["pid"]), 0)
    except (OSError, ValueError):
        return ""
    return str(said["url"])


def _partitions(catalog: Catalog, dimension: str) -> tuple[str, ...]:
    asset = next(stage.asset for stage in STAGES if stage.dimension == dimension)
    return catalog.partitions(asset)
