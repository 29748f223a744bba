"""Checkpoints of the loop: written whole or not at all, the last two kept.

In: a `LoopState` and a function that writes the ENN. Out: `batch-000120/` with state.json (the
digests of the other files among it), comparisons.npy and the ENN's tensors. A folder is filled
under another name, flushed, and renamed. A checkpoint that is torn, or that belongs to another
recipe, is set aside with a warning, under a name that does not count: the loop then goes back
further and arrives at the same bytes, only later; and what it saves from there is not taken for
older than what it passed over.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from activeuf_core.artifacts import file_sha256, read_json, write_json
from activeuf_core.loop.state import COMPARISON, LoopState, restore

log = logging.getLogger("activeuf")

KEPT = 2
PREFIX = "batch-"
PARTIAL = ".partial-"
SET_ASIDE = "unusable-"
STATE = "state.json"
COMPARISONS = "comparisons.npy"
ENN = "enn.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read back and verified."""

    state: LoopState
    enn: Path
    """The file that `write_enn` wrote."""


def save(folder: Path, state: LoopState, write_enn: Callable[[Path], object]) -> Path:
    """Write a checkpoint below `folder` and drop all but the last two; return its folder."""
    for torn in folder.glob(f"{PARTIAL}*"):
        shutil.rmtree(torn)
    partial = folder / f"{PARTIAL}{secrets.token_hex(4)}"
    partial.mkdir(parents=True)
    np.save(partial / COMPARISONS, state.comparisons())
    write_enn(partial / ENN)
    digests = {}
    for path in (partial / COMPARISONS, partial / ENN):
        _flush(path)
        digests[path.name] = file_sha256(path)
    write_json(partial / STATE, {**state.to_json(), "files": digests})
    target = folder / f"{PREFIX}{state.next_batch:06d}"
    shutil.rmtree(target, ignore_errors=True)
    os.rename(partial, target)
    _flush(folder)
    for old in _folders(folder)[KEPT:]:
        shutil.rmtree(old)
    return target


def load_latest(folder: Path, recipe: str) -> Checkpoint | None:
    """Return the newest checkpoint that is whole and belongs to `recipe`, or None.

    Newer ones that cannot be used are renamed: none of them can stand in a later one's way.
    """
    for candidate in _folders(folder):
        try:
            return _load(candidate, recipe)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            kept_as = candidate.with_name(f"{SET_ASIDE}{candidate.name}")
            shutil.rmtree(kept_as, ignore_errors=True)
            os.rename(candidate, kept_as)
            log.warning(
                "%s: checkpoint cannot be used (%s); kept as %s until the loop ends; going back "
                "to an earlier one, or to the start.",
                candidate,
                error,
                kept_as.name,
            )
    return None


def discard(folder: Path) -> None:
    """Remove all checkpoints: the loop has ended and its result is written."""
    aside = folder.glob(f"{SET_ASIDE}{PREFIX}*")
    for path in [*_folders(folder), *aside, *folder.glob(f"{PARTIAL}*")]:
        shutil.rmtree(path)


def _load(folder: Path, recipe: str) -> Checkpoint:
    body: Mapping[str, Any] = read_json(folder / STATE)
    if set(body["files"]) != {COMPARISONS, ENN}:
        raise ValueError(f"{STATE} names the files {body['files']}")
    for name, digest in body["files"].items():
        if file_sha256(folder / name) != digest:
            raise ValueError(f"{name} has other content than {STATE} says")
    comparisons = np.load(folder / COMPARISONS, allow_pickle=False)
    if comparisons.dtype != COMPARISON:
        raise ValueError(f"{COMPARISONS} has type {comparisons.dtype}, expected {COMPARISON}")
    return Checkpoint(restore(recipe, body, comparisons), folder / ENN)


def _folders(folder: Path) -> list[Path]:
    """Return the checkpoints, newest first."""
    return sorted((path for path in folder.glob(f"{PREFIX}*") if path.is_dir()), reverse=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
