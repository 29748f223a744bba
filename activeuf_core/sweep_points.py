"""Points of a sweep that an agent suggested: each a file of the home, and so a partition.

In: what the agent was given, by dotted or nested keys. Out: `<home>/sweeps/<sweep>/<key>.json` for
a point that the sweep file does not declare itself. A file is written whole and never changed, so
any number of agents on any number of machines may register at once; two that suggest the same point
write the same file. Removing it removes the partition.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activeuf_core.artifacts import create_json, read_json
from activeuf_core.errors import ConfigError, choose_from
from activeuf_core.paths import Layout
from activeuf_core.sweeps import Sweep

ANEW = "Create the sweep anew: activeuf sweep create"


@dataclass(frozen=True)
class SuggestedPoint:
    """A point that an agent suggested. `time`: when, in seconds since the epoch."""

    sweep: str
    key: str
    point: Mapping[str, Any]
    path: Path
    time: float


def suggested_points(
    layout: Layout, sweep: str, candidates: Sequence[SuggestedPoint] = ()
) -> list[SuggestedPoint]:
    """Return the registered points of a sweep, oldest first, then its candidates.

    Raises: ConfigError for a file that is none.
    """
    paths = sorted((layout.sweeps / sweep).glob("[!.]*.json"))
    found = sorted((_read(sweep, path) for path in paths), key=lambda one: (one.time, one.key))
    return [*found, *(one for one in candidates if one.sweep == sweep)]


def candidate(layout: Layout, sweep: str, key: str, point: Mapping[str, Any]) -> SuggestedPoint:
    """Return a point that is not registered yet."""
    return SuggestedPoint(sweep, key, point, layout.sweeps / sweep / f"{key}.json", time.time())


def register(one: SuggestedPoint) -> bool:
    """Write a point down; return whether we were the first."""
    return create_json(one.path, {"point": dict(one.point), "time": one.time})


def checked_point(sweep: Sweep, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an agent was given as a point of the sweep.

    Raises: ConfigError when the sweep that the agent serves is not what the file says.
    """
    point = dict(_flat(given, sweep.parameters))
    for name in sorted(point.keys() - sweep.parameters.keys()):
        known = choose_from(name, sweep.parameters)
        raise ConfigError(
            f"{sweep.path}: has no parameter {name!r} any more; {known}. {_anew(sweep)}"
        )
    for name in sorted(sweep.parameters.keys() - point.keys()):
        raise ConfigError(
            f"{sweep.path}: has the parameter {name!r}, of which the agent's sweep knows nothing. "
            f"{_anew(sweep)}"
        )
    for name in sorted(point.keys() - sweep.swept):
        declared = sweep.parameters[name]
        value = declared.values[0] if declared.values else declared.value
        if point[name] != value:
            raise ConfigError(
                f"{sweep.path}: parameter {name!r} has the value {value!r}, and {point[name]!r} in "
                f"the agent's sweep. {_anew(sweep)}"
            )
    return point


def _anew(sweep: Sweep) -> str:
    return f"{ANEW} {sweep.name}."


def _flat(
    given: Mapping[str, Any], known: Collection[str], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield values by dotted key; an agent passes nested parameters on as they are."""
    for key, value in given.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and name not in known:
            yield from _flat(value, known, f"{name}.")
        else:
            yield name, value


def _read(sweep: str, path: Path) -> SuggestedPoint:
    try:
        body = read_json(path)
        return SuggestedPoint(sweep, path.stem, dict(body["point"]), path, float(body["time"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: is no point of a sweep ({type(error).__name__}: {error}). Remove it."
        ) from error
