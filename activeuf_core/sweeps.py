"""Sweeps: a file in W&B's own format becomes the points of a grid or of a random search.

In: `configs/sweeps/<name>.yaml`. Out: points, each a mapping of dotted keys of an experiment file
(`loop.batch_size`) to values. A sweep needs no server: `grid` is every combination; `random` and
`bayes` are `run_cap` draws that depend on the sweep's name and the number of the draw alone, so
that they are the same for ever. Without a `run_cap` these two have no points of their own: an agent
suggests them (`sweep_points.py`), and for `bayes` earlier results steer what it suggests.

Format: https://docs.wandb.ai/guides/sweeps/sweep-config-keys/. What concerns an agent only
(`program`, `command`, `early_terminate`, `entity`, `project`) is accepted and not used here.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
import random
import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from activeuf_core.config import StrictModel, parse
from activeuf_core.errors import ConfigError, choose_from

MAX_POINTS = 100_000
CATEGORICAL = ("categorical", "categorical_w_probabilities")
KEY_LENGTH = 150
"""Of a point's key; a longer one keeps its beginning and ends in a digest."""
PROGRAM = "activeuf_dagster.sweep_agent"
"""What a W&B agent starts for each point; in `command` the sweep's name follows."""
UNSAFE = re.compile(r"[^A-Za-z0-9._+]+")


class Metric(StrictModel):
    """What a sweep is about."""

    name: str
    goal: Literal["minimize", "maximize"] = "minimize"
    target: float | None = None
    impute: Literal["latest", "best", "worst"] | None = None
    impute_while_running: Literal["latest", "best", "worst", "false"] | None = None


class SweepBody(StrictModel):
    """Content of a sweep file."""

    method: Literal["grid", "random", "bayes"]
    parameters: dict[str, dict[str, Any]] = Field(min_length=1)
    """Dotted key of an experiment file → its values. `extends` and `dataset` are keys as well."""
    metric: Metric | None = None
    run_cap: int | None = Field(default=None, ge=1)
    """How many points `random` and `bayes` draw; none, and only an agent suggests points."""
    seeds: tuple[int, ...] = ()
    """Every point once per seed. W&B does not know this key: `activeuf sweep create` gives it a
    parameter `seed` in its place.
    """
    name: str = ""
    description: str = ""
    program: str = ""
    command: tuple[Any, ...] = ()
    early_terminate: dict[str, Any] | None = None
    entity: str = ""
    project: str = ""


class Parameter(StrictModel):
    """What one parameter may be: a value, values, or a distribution."""

    value: Any = None
    values: list[Any] | None = None
    probabilities: list[float] | None = None
    distribution: str | None = None
    min: int | float | None = None
    max: int | float | None = None
    mu: float = 0.0
    sigma: float = 1.0
    q: float = 1.0

    @property
    def example(self) -> Any:
        """A value that it may have."""
        if self.values:
            return self.values[0]
        if self.min is not None:
            return self.min
        return self.mu if self.distribution else self.value

    @property
    def varies(self) -> bool:
        """Whether two points may differ in it."""
        if self.values:
            return any(value != self.values[0] for value in self.values)
        return (self.distribution or _inferred(self)) not in ("constant", *CATEGORICAL)


@dataclass(frozen=True)
class Sweep:
    """A sweep file, checked and expanded."""

    name: str
    path: Path
    body: SweepBody
    points: tuple[Mapping[str, Any], ...]
    """Of every point, all parameters by dotted key."""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    """By dotted key; `seed` among them when there are seeds."""

    @functools.cached_property
    def swept(self) -> frozenset[str]:
        """The parameters that may differ between points: what a point's key names."""
        return frozenset(name for name, one in self.parameters.items() if one.varies)

    def examples(self) -> Iterator[dict[str, Any]]:
        """Yield points in which each listed value of each parameter occurs: what there is to check
        of a sweep without points of its own.
        """
        first = {name: one.example for name, one in self.parameters.items()}
        yield first
        for name, one in self.parameters.items():
            yield from ({**first, name: value} for value in (one.values or ())[1:])


def read_sweep(name: str, data: Mapping[str, Any], path: Path) -> Sweep:
    """Return a sweep with all its points.

    Raises: ConfigError for a wrong file, or one with more than MAX_POINTS points.
    """
    body = parse(SweepBody, data, path)
    _check_command(name, body, path)
    parameters = dict(_flat(body.parameters, path))
    if body.method == "grid":
        points = list(_grid(parameters, path))
    else:
        points = [_draw(name, parameters, number, path) for number in range(body.run_cap or 0)]
    if body.seeds:
        points = [{**point, "seed": seed} for point in points for seed in body.seeds]
        parameters["seed"] = Parameter(values=list(body.seeds))
    return Sweep(name, path, body, tuple(points), parameters)


def experiment_of(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point as the content of an experiment file: dotted keys become nested ones."""
    body: dict[str, Any] = {}
    for key, value in point.items():
        *above, last = key.split(".")
        inner = body
        for part in above:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return body


def point_key(sweep: str, point: Mapping[str, Any], swept: frozenset[str]) -> str:
    """Return a point's partition key: what differs, by name, in alphabetical order of the full
    names; so it does not depend on the order of the file.
    """
    names = short_names(swept)
    parts = [f"{names[key]}={_safe(point[key])}" for key in sorted(swept) if key in point]
    key = "-".join([sweep, *parts])
    if len(key) <= KEY_LENGTH:
        return key
    return f"{key[: KEY_LENGTH - 11].rstrip('-=.')}-{_digest(key)}"


def short_names(keys: frozenset[str]) -> dict[str, str]:
    """Return for every dotted key the shortest ending that no other key has."""
    found: dict[str, str] = {}
    for key in keys:
        parts = key.split(".")
        endings = (".".join(parts[-n:]) for n in range(1, len(parts) + 1))
        others = keys - {key}
        found[key] = next(
            (
                end
                for end in endings
                if not any(f".{other}".endswith(f".{end}") for other in others)
            ),
            key,
        )
    return found


def _check_command(name: str, body: SweepBody, path: Path) -> None:
    """Refuse a command that hands points to another sweep: that of the file it was copied from."""
    words = [str(word) for word in body.command]
    after = words[words.index(PROGRAM) + 1 :][:1] if PROGRAM in words else [name]
    if after != [name]:
        raise ConfigError(
            f"{path}: key 'command' has the value {words!r}; after {PROGRAM} stands the sweep's "
            f"name, {name!r}."
        )


def _flat(
    parameters: Mapping[str, Mapping[str, Any]], path: Path, prefix: str = ""
) -> Iterator[tuple[str, Parameter]]:
    """Yield the parameters by dotted key; W&B allows them nested too."""
    for key, spec in parameters.items():
        name = f"{prefix}{key}"
        if set(spec) == {"parameters"}:
            yield from _flat(spec["parameters"], path, f"{name}.")
        else:
            yield name, parse(Parameter, spec, f"{path} ({name})")


def _grid(parameters: Mapping[str, Parameter], path: Path) -> Iterator[dict[str, Any]]:
    choices = {name: _choices(name, one, path) for name, one in parameters.items()}
    count = math.prod(len(values) for values in choices.values())
    if count > MAX_POINTS:
        raise ConfigError(
            f"{path}: {count} points, allowed are {MAX_POINTS}. Sweep fewer values at a time, or "
            "use method: random with a run_cap."
        )
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def _choices(name: str, parameter: Parameter, path: Path) -> Sequence[Any]:
    if parameter.values:
        return parameter.values
    if parameter.distribution in (None, "constant") and parameter.min is None:
        return [parameter.value]
    raise ConfigError(
        f"{path}: parameter {name!r} is a distribution, of which a grid has no end. List its "
        "`values`, or use method: random."
    )


def _draw(
    sweep: str, parameters: Mapping[str, Parameter], number: int, path: Path
) -> dict[str, Any]:
    """Return the draw with a number. Each parameter has a stream of its own, so that adding one
    leaves the others' draws as they are.
    """
    point = {}
    for name, parameter in sorted(parameters.items()):
        stream = random.Random(f"{sweep}/{name}/{number}")
        point[name] = _drawn(name, parameter, stream, path)
    return point


def _drawn(name: str, parameter: Parameter, stream: random.Random, path: Path) -> Any:
    distribution = parameter.distribution or _inferred(parameter)
    if distribution == "constant":
        return parameter.value
    if distribution in CATEGORICAL:
        values = parameter.values or [parameter.value]
        return stream.choices(values, weights=parameter.probabilities)[0]
    if distribution not in DISTRIBUTIONS:
        raise ConfigError(
            f"{path}: parameter {name!r}: distribution {distribution!r}; "
            f"{choose_from(distribution, ['constant', 'categorical', *DISTRIBUTIONS])}."
        )
    normal = distribution.endswith("normal")
    if not normal and (parameter.min is None or parameter.max is None):
        raise ConfigError(f"{path}: parameter {name!r}: {distribution} needs `min` and `max`.")
    return DISTRIBUTIONS[distribution](parameter, stream.random())


def _inferred(parameter: Parameter) -> str:
    """Return the distribution that W&B infers where none is named."""
    if parameter.values is not None:
        return "categorical"
    if parameter.min is None and parameter.max is None:
        return "constant"
    whole = all(isinstance(x, int) for x in (parameter.min, parameter.max) if x is not None)
    return "int_uniform" if whole else "uniform"


def _between(p: Parameter, u: float) -> float:
    return float(p.min or 0.0) + u * (float(p.max or 0.0) - float(p.min or 0.0))


def _log_between(p: Parameter, u: float) -> float:
    low, high = math.log(float(p.min or 0.0)), math.log(float(p.max or 0.0))
    return math.exp(low + u * (high - low))


def _normal(p: Parameter, u: float) -> float:
    return statistics.NormalDist(p.mu, p.sigma).inv_cdf(min(max(u, 1e-12), 1 - 1e-12))


def _rounded(value: float, step: float) -> float:
    return round(value / step) * step


DISTRIBUTIONS: Mapping[str, Callable[[Parameter, float], Any]] = {
    "int_uniform": lambda p, u: math.floor(_between(p, u) + u),
    "uniform": _between,
    "q_uniform": lambda p, u: _rounded(_between(p, u), p.q),
    "log_uniform": lambda p, u: math.exp(_between(p, u)),
    "log_uniform_values": _log_between,
    "q_log_uniform_values": lambda p, u: _rounded(_log_between(p, u), p.q),
    "inv_log_uniform_values": lambda p, u: 1.0 / _log_between(p, u),
    "normal": _normal,
    "q_normal": lambda p, u: _rounded(_normal(p, u), p.q),
    "log_normal": lambda p, u: math.exp(_normal(p, u)),
    "q_log_normal": lambda p, u: _rounded(math.exp(_normal(p, u)), p.q),
}
"""Distribution → value for a uniform draw in [0, 1)."""


def _safe(value: Any) -> str:
    """Return a value as part of a key; what a key cannot hold is replaced, and told apart by a
    digest.
    """
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    if isinstance(value, float) and float(text) != value:
        text = repr(value)
    if isinstance(value, (int, float)):
        return text
    safe = UNSAFE.sub("_", text).replace("..", "._")
    return safe if safe == text else f"{safe}_{_digest(text)[:6]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]
