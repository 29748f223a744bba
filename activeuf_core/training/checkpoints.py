"""Checkpoints of a training: which of them can be resumed from.

A checkpoint is complete when a mark, written last, lists its files and their sizes and they are all
there; it belongs to a training when the mark names that training's identity (a digest of its config
and data). A process that is killed while it writes leaves a folder without a mark, which is passed
over.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from activeuf_core.artifacts import read_json, write_json

log = logging.getLogger(__name__)

MARK = "complete.json"
STATE = "trainer_state.json"
OPTIMIZER = ("optimizer.pt", "optimizer.bin", "optimizer_", "global_step")
"""How the optimiser's files or folders begin: whole, or divided by FSDP or DeepSpeed."""
WEIGHTS = ("model", "adapter_model", "pytorch_model_fsdp", "global_step")
WHOLE = "whole"
KEPT = 2
"""Checkpoints on disk at a time: while a new one is being written, the one before must still stand.
"""


def checkpoint_folder(checkpoints: Path, step: int) -> Path:
    """Return where the trainer writes the checkpoint of a step."""
    return checkpoints / f"checkpoint-{step}"


def sizes_of(folder: Path) -> dict[str, int]:
    """Return the size of every file of a checkpoint that this process sees."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != MARK]
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def mark_complete(
    folder: Path, identity: str, layout: str = WHOLE, seen: Sequence[Mapping[str, int]] = ()
) -> None:
    """Write the mark that makes a checkpoint one to resume from, after its files are on disk.

    Args: layout: how weights and optimiser state are divided over files. seen: `sizes_of` other
    processes, which may know of files on another machine before this one does.
    """
    sizes = sizes_of(folder)
    for name in sizes:
        _sync(folder / name)
    for others in seen:
        sizes |= {name: max(size, sizes.get(name, 0)) for name, size in others.items()}
    write_json(folder / MARK, {"identity": identity, "layout": layout, "files": sizes})


def last_complete(checkpoints: Path, identity: str, layout: str = WHOLE) -> Path | None:
    """Return the complete checkpoint with the most steps, or None; say in the log why others are
    passed over.
    """
    for folder in _newest_first(checkpoints):
        problem = _problem(folder, identity, layout)
        if not problem:
            return folder
        log.warning("%s is not resumed from: %s", folder, problem)
    return None


def keep_only(checkpoints: Path, kept: Path | None) -> None:
    """Remove all checkpoints but one: an unfinished one would count when the trainer decides which
    old ones to delete.
    """
    for folder in _newest_first(checkpoints):
        if folder != kept:
            shutil.rmtree(folder)


def clear(checkpoints: Path) -> None:
    """Remove everything: the training is done, and its checkpoints are several times the size of
    its result.
    """
    for entry in checkpoints.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _problem(folder: Path, identity: str, layout: str) -> str:
    """Say what keeps a checkpoint from being resumed from; '' when nothing does."""
    try:
        mark = read_json(folder / MARK)
    except FileNotFoundError:
        return "it has no mark, so it was not finished"
    except json.JSONDecodeError:
        return "its mark cannot be read"
    if mark["identity"] != identity:
        return "it belongs to a training with another config, data or base model"
    if (found := mark.get("layout", WHOLE)) != layout:
        return f"its weights are divided otherwise ({found}) than those of this training ({layout})"
    for name, size in mark["files"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            return f"{name} is missing or cut"
    present = set(mark["files"])
    if STATE not in present or not any(name.startswith(OPTIMIZER) for name in present):
        return f"{STATE} or the optimiser's state was never written"
    if layout == WHOLE and "scheduler.pt" not in present:
        return "scheduler.pt was never written"
    if not any(_is_weights(name, layout) for name in present):
        return "it holds no weights"
    return ""


def _is_weights(name: str, layout: str) -> bool:
    return name.startswith(WEIGHTS) and (layout != WHOLE or name.endswith(".safetensors"))


def _newest_first(checkpoints: Path) -> list[Path]:
    return sorted(checkpoints.glob("checkpoint-*"), key=_step, reverse=True)


def _step(folder: Path) -> int:
    number = folder.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
