"""Rows of a Kaggle data set, through kagglehub: files of one pinned version.

In: `owner/name`, a version, a file per split. Out: `SourceRow`s. A version that kagglehub's cache
holds ($KAGGLEHUB_CACHE, else ~/.cache/kagglehub) is read without a network; a version that is not
pinned would be asked for each time, and could change. Needs the extra `sources`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from activeuf_core.errors import ConfigError, DataError
from activeuf_core.preparation.config import KaggleSource, Split
from activeuf_core.preparation.revision import Revision, digests_of, files_below
from activeuf_core.sources import SourceRow, iterate_source


class Kaggle:
    """One version of a Kaggle data set."""

    def __init__(self, config: KaggleSource) -> None:
        self._config = config

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that have a file."""
        return tuple(self._config.files.given())

    @property
    def handle(self) -> str:
        """What kagglehub calls the version."""
        return f"{self._config.dataset}/versions/{self._config.version}"

    def resolve_revision(self) -> Revision:
        """Return the version, and digests of the files that are read; fetches them."""
        files = [self._file(split) for split in self.splits]
        return Revision(
            kind="kaggle",
            name=self._config.dataset,
            revision=str(self._config.version),
            is_pinned=True,
            files=digests_of(self._folder, files),
        )

    def rows(self, split: Split) -> Iterator[SourceRow]:
        """Read the file of a split."""
        return iterate_source(str(self._file(split)))

    def _file(self, split: Split) -> Path:
        name = self._config.files.given()[split]
        path = self._folder / name
        if not path.is_file() or not path.resolve().is_relative_to(self._folder.resolve()):
            found = sorted(
                one.relative_to(self._folder).as_posix() for one in files_below(self._folder)
            )
            raise DataError(
                f"Kaggle data set {self.handle}: no file {name!r} (split {split}); it has: "
                f"{', '.join(found[:20]) or 'none'}. Correct source.files.{split}."
            )
        return path

    @cached_property
    def _folder(self) -> Path:
        try:
            import kagglehub  # pyright: ignore[reportMissingImports] - an extra
        except ImportError as error:
            raise ConfigError(
                f"Kaggle data set {self.handle}: kagglehub is not installed ({error}). Install it "
                "with pip install 'activeuf[sources]', or name local files: source.kind: local."
            ) from error
        try:
            return Path(kagglehub.dataset_download(self.handle))
        except (OSError, ValueError) as error:  # its HTTP errors are OSErrors
            raise DataError(
                f"Kaggle data set {self.handle} cannot be fetched ({error}). Check the name, the "
                "version, the connection and the account (KAGGLE_USERNAME, KAGGLE_KEY), or put the "
                "files into kagglehub's cache ($KAGGLEHUB_CACHE)."
            ) from error
