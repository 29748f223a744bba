"""Which benchmarks a file of an experiment or a baseline has, and the section of each.

In: the file's `benchmarks`. Out: sections of the scores, and of the table that gathers them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activeuf_core.errors import ConfigError
from activeuf_core.evals.benchmarks import BENCHMARKS, benchmark
from activeuf_core.stand_ins import LEFT_OUT, STAND_IN

SHARED_KEY = "all"
"""Stands for what the benchmarks of one file share."""

Sections = Mapping[str, Mapping[str, Any] | None]


@dataclass(frozen=True)
class Benchmarks:
    """The benchmarks of one file: name → settings; null leaves one out."""

    sections: Sections

    def section(self, asset: str) -> dict[str, Any]:
        """Return the section of a score; a stand-in's when the benchmark is left out."""
        row = benchmark(asset.removesuffix("_score"))
        if self.leaves_out(asset):
            return {STAND_IN: LEFT_OUT, "benchmark": row.name}
        default = {"data": {"hub": row.hub, "revision": "main"}}
        return {**default, **self._of(SHARED_KEY), **self._of(row.name), "benchmark": row.name}

    def leaves_out(self, asset: str) -> bool:
        """Whether the benchmark of a score is left out: by a null, or as an optional one that has
        no section.
        """
        row = benchmark(asset.removesuffix("_score"))
        return self.sections.get(row.name, None if row.optional else {}) is None

    def titles(self) -> dict[str, str]:
        """Return the title of every benchmark that is not left out, by name."""
        return {
            row.name: row.called(
                self._of(row.name).get("title"),
                {**self._of(SHARED_KEY), **self._of(row.name)}.get("limit"),
            )
            for row in BENCHMARKS
            if not self.leaves_out(row.asset)
        }

    def _of(self, name: str) -> Mapping[str, Any]:
        return self.sections.get(name) or {}


def scores_section(titles: Mapping[str, str]) -> dict[str, Any]:
    """Return the section of the table that gathers the scores, for the benchmarks that it has."""
    return {"benchmarks": list(titles), "titles": dict(titles)}


def check_names(names: Iterable[str], key: str, path: Path) -> None:
    """Raise ConfigError for a name that is not in the table of benchmarks."""
    for name in names:
        try:
            benchmark(name)
        except ConfigError as error:
            raise ConfigError(f"{path}: key {key!r}: {error}") from None
