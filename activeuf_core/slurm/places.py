"""One project on two machines: what a path of ours is called there.

In: the places of both sides. Out: paths and jobs as the nodes see them. The orchestrator always
keeps its own paths; a job is translated when it is written down for the nodes. Pure.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activeuf_core.jobs import Job, Unit


@dataclass(frozen=True)
class Places:
    """Home and checkout, here and there."""

    home: Path
    project: Path
    home_there: str
    project_there: str

    @property
    def are_the_same(self) -> bool:
        """Whether every path of ours means the same there."""
        return (str(self.home), str(self.project)) == (self.home_there, self.project_there)

    def there(self, path: str | Path) -> str:
        """Return what a path is called there; one outside home and checkout is called the same."""
        plain = os.path.normpath(path)
        # The home first: by default it lies inside the checkout.
        for here, there in ((self.home, self.home_there), (self.project, self.project_there)):
            if Path(plain).is_relative_to(here):
                return os.path.normpath(os.path.join(there, os.path.relpath(plain, here)))
        return str(path)

    def below_home(self, path: str | Path) -> str | None:
        """Return a path relative to our home, None for one outside it."""
        plain = Path(os.path.normpath(path))
        return str(plain.relative_to(self.home)) if plain.is_relative_to(self.home) else None

    def job(self, job: Job) -> Job:
        """Return a job as the nodes read it."""
        return dataclasses.replace(
            job,
            home=self.there(job.home),
            units=tuple(self._unit(unit) for unit in job.units),
            environment=self._value(job.environment),
        )

    def _unit(self, unit: Unit) -> Unit:
        return dataclasses.replace(
            unit,
            inputs=self._value(unit.inputs),
            locations=self._value(unit.locations),
            runtime=self._value(unit.runtime),
            checkpoints=self._value(unit.checkpoints),
        )

    def _value(self, value: Any) -> Any:
        """Return a value with every path in it translated, however deep."""
        if isinstance(value, Mapping):
            return {key: self._value(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._value(inner) for inner in value]
        is_path = isinstance(value, str) and value.startswith("/")
        return self.there(value) if is_path else value


def sources(job: Job) -> Iterator[tuple[str, str]]:
    """Yield the (name, path) of every model and data source that a job reads from a disk."""
    for unit in job.units:
        for name, path in unit.locations.items():
            if path.startswith("/"):
                yield name, path
