"""Stand-ins for kagglehub and tensorflow-datasets: what this project calls of them, no more.

kagglehub: a pinned version that its cache holds, marked as complete, is found without a network.
tensorflow-datasets: prepared splits are read as bytes, in another order than they were given.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any


def kagglehub() -> ModuleType:
    """Return a module that knows the layout of the real one's cache."""
    module = ModuleType("kagglehub")

    def dataset_download(handle: str) -> str:
        owner, name, versions, version = handle.split("/")
        assert versions == "versions", f"{handle}: an unpinned handle asks the network"
        home = Path(os.environ["KAGGLEHUB_CACHE"]) / "datasets" / owner / name
        if (home / f"{version}.complete").exists():
            return str(home / "versions" / version)
        raise ConnectionError("api.kaggle.com cannot be reached")

    module.dataset_download = dataset_download  # type: ignore[attr-defined]
    return module


def seed_kaggle(cache: Path, dataset: str, version: int, files: dict[str, str]) -> Path:
    """Put files into a cache of kagglehub as its download leaves them; return their folder."""
    home = cache / "datasets" / dataset
    folder = home / "versions" / str(version)
    folder.mkdir(parents=True)
    (home / f"{version}.complete").touch()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder


class Builder:
    """A builder of one data set, prepared from `<data_dir>/<name>/<version>/<split>.jsonl`."""

    def __init__(self, name: str, data_dir: str) -> None:
        builder, _, version = name.partition(":")
        self.data_dir = Path(data_dir) / builder / version
        if not self.data_dir.is_dir():
            raise AssertionError(f"{builder} cannot be loaded at version {version}")

    def is_prepared(self) -> bool:
        """Whether the rows can be read at once."""
        return True

    def as_data_source(self, split: str) -> Iterator[dict[str, Any]]:
        """Read a split backwards, texts as bytes."""
        path = self.data_dir / f"{split}.jsonl"
        if not path.exists():
            raise ValueError(f"Unknown split {split!r}.")
        for line in reversed(path.read_text(encoding="utf-8").splitlines()):
            yield {name: value.encode() for name, value in json.loads(line).items()}


def tensorflow_datasets() -> ModuleType:
    """Return a module with `builder`."""
    module = ModuleType("tensorflow_datasets")
    module.builder = lambda name, data_dir: Builder(name, data_dir)  # type: ignore[attr-defined]
    return module


def seed_tfds(data_dir: Path, name: str, version: str, splits: dict[str, list[Any]]) -> None:
    """Prepare a data set for the stand-in."""
    folder = data_dir / name / version
    folder.mkdir(parents=True)
    for split, rows in splits.items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
