"""Rows of TensorFlow Datasets, read without TensorFlow: an ArrayRecord data source.

In: a builder's name and version, a name per split. Out: `SourceRow`s, texts instead of bytes. What
lies prepared in $TFDS_DATA_DIR (else ~/tensorflow_datasets) is read without a network; else it is
fetched and prepared there, which shuffles the rows. Needs the extra `sources`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from activeuf_core.errors import ConfigError, DataError
from activeuf_core.preparation.config import Split, TfdsSource
from activeuf_core.preparation.revision import Revision, digests_of, files_below
from activeuf_core.sources import SourceRow

TROUBLE = (OSError, ValueError, AssertionError, NotImplementedError, ImportError)
"""What its builders raise for a wrong version or split, a failed download, a missing reader."""
MADE_ANEW = "dataset_info.json"
"""Says when the files were prepared: differs between two preparations of the same rows."""


class Tfds:
    """One version of a builder."""

    def __init__(self, config: TfdsSource) -> None:
        self._config = config

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that have a name."""
        return tuple(self._config.splits.given())

    @property
    def name(self) -> str:
        """Builder and version, as the library writes them."""
        return f"{self._config.builder}:{self._config.version}"

    def resolve_revision(self) -> Revision:
        """Return the version, and digests of its files; prepares them where need be."""
        folder = Path(str(self._builder.data_dir))
        files = [one for one in files_below(folder) if one.name != MADE_ANEW]
        return Revision(
            kind="tfds",
            name=self._config.builder,
            revision=self._config.version,
            is_pinned=True,
            files=digests_of(folder, files),
        )

    def rows(self, split: Split) -> Iterator[SourceRow]:
        """Read a split."""
        name = self._config.splits.given()[split]
        number = 0
        try:
            for number, values in enumerate(self._builder.as_data_source(split=name)):
                yield SourceRow(f"{self.name}/{name}: row {number}", _plain(values))
        except TROUBLE as error:
            raise DataError(
                f"TFDS data set {self.name}, split {name!r}, row {number}: cannot be read "
                f"({error}). Correct source.splits.{split}, or prepare the data set again."
            ) from error

    @cached_property
    def _builder(self) -> Any:
        try:
            import tensorflow_datasets  # pyright: ignore[reportMissingImports] - an extra
        except ImportError as error:
            raise ConfigError(
                f"TFDS data set {self.name}: tensorflow-datasets is not installed ({error}). "
                "Install it with pip install 'activeuf[sources]', or read the same rows from the "
                "hub: source.kind: hf."
            ) from error
        self._register()
        try:
            folder = os.environ.get("TFDS_DATA_DIR")  # which the library reads only when imported
            builder = tensorflow_datasets.builder(self.name, data_dir=folder)
            if not builder.is_prepared():
                builder.download_and_prepare(file_format="array_record")
        except TROUBLE as error:
            raise DataError(
                f"TFDS data set {self.name} cannot be opened ({error!s:.400}). Check the builder's "
                "name, the version and the connection, or prepare it into $TFDS_DATA_DIR."
            ) from error
        return builder

    def _register(self) -> None:
        """Import the builder's module: text builders are unknown to the library before that."""
        module = f"tensorflow_datasets.text.{self._config.builder.partition('/')[0]}"
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("tensorflow_datasets"):
                raise ConfigError(
                    f"TFDS data set {self.name}: {error.name} is not installed. Install it with "
                    "pip install 'activeuf[sources]'."
                ) from error
            # Else a builder of another sort, which the library finds by itself.


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return features as texts, numbers and lists."""
    return {name: _plain_value(value) for name, value in values.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [_plain_value(inner) for inner in value] if isinstance(value, list) else value
