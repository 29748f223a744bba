"""A metrics.json of another program as a score.

In: `results/<benchmark>/metrics.json` of OLMES (either of its layouts), the `metrics.json` of a
reward model on RewardBench 2, or a score.json of this project. Out: an offer with a score.json as
the score stages write it. Verified: the file parses, is of the benchmark, and its numbers are
fractions. Not known: which rows were scored and how, so the number of rows is given only where the
file says it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activeuf_core.adoption.offers import Offer, Wanted, check, not_known
from activeuf_core.errors import DataError
from activeuf_core.evals.benchmarks import BENCHMARKS, Benchmark
from activeuf_core.paths import SCORE
from activeuf_core.recipes import Node
from activeuf_core.stand_ins import kind_of_score

METRICS_JSON = "metrics.json"
RESULTS = "results"
REWARD_BENCHMARK = "rewardbench2"
SUITE_ENDINGS = ("_tulu", "::tulu", "")
DOMAINS = ("Factuality", "Focus", "Math", "Precise IF", "Safety", "Ties")
MEAN = "Mean"
SLACK = 0.01
"""RewardBench 2's Ties score may leave [0, 1] by its tie-breaking term; a mean that is written with
two digits differs from the mean of its parts by less."""


@dataclass(frozen=True)
class Score:
    """What a file says: a score, its parts by name, and rows and standard error where known."""

    value: float
    parts: Mapping[str, tuple[float, int | None]]
    rows: int | None = None
    stderr: float | None = None


def benchmark_of(path: Path) -> Benchmark | None:
    """Return the benchmark that a metrics file is of, by where it lies; None for no known one."""
    folder = path.parent
    if folder.parent.name == RESULTS:
        names = {f"{row.name}{end}": row for row in BENCHMARKS for end in SUITE_ENDINGS}
        return names.get(folder.name)
    return next(row for row in BENCHMARKS if row.name == REWARD_BENCHMARK)


def offer(path: Path, row: Benchmark, wanted: Wanted, *, beside: str = "") -> Offer:
    """Return what a file offers. Args: beside: why the model beside it was refused, '' if not."""
    node: Node = (row.asset, wanted.experiment)
    try:
        if beside:
            raise DataError(f"the model that it lies beside was refused: {beside}")
        wanted.require_made(node)
        score = read(path, row)
    except DataError as error:
        return Offer(node, path, "score", problem=str(error))
    return Offer(
        node=node,
        source=path,
        what="score",
        written={SCORE: _record(score, path, row, wanted)},
        metadata={"score": score.value, "metric": row.metric},
        checks=(check(row.asset, "score_in_range", True, score=score.value),),
        not_known=not_known(row.asset, "score_in_range"),
    )


def read(path: Path, row: Benchmark) -> Score:
    """Return what a file says. Raises: DataError when it does not parse, lacks a key, or holds a
    number that is no fraction.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"it is no JSON ({error})") from error
    if not isinstance(body, Mapping):
        raise DataError(f"it holds a {type(body).__name__}, expected a mapping")
    if "benchmark" in body:
        return _own(body, row)
    return _rewardbench(body) if row.name == REWARD_BENCHMARK else _olmes(body)


def _own(body: Mapping[str, Any], row: Benchmark) -> Score:
    if body["benchmark"] != row.name:
        raise DataError(f"it is a score on {body['benchmark']!r}, expected {row.name!r}")
    if kind := kind_of_score(body):
        raise DataError(f"it is a stand-in ({kind}), and no score that was computed")
    stderr, rows = body.get("stderr"), body.get("n")
    parts = {
        name: (_fraction(part["score"], name), part.get("n"))
        for name, part in body.get("details", {}).get("parts", {}).items()
        if part.get("score") is not None
    }
    return Score(_fraction(body.get("score"), "score"), parts, rows, stderr)


def _rewardbench(body: Mapping[str, Any]) -> Score:
    lost = [name for name in (*DOMAINS, MEAN) if name not in body]
    if lost:
        raise DataError(f"it lacks the keys {', '.join(lost)}")
    parts = {name: _fraction(body[name], name) for name in DOMAINS}
    mean, told = math.fsum(parts.values()) / len(parts), _fraction(body[MEAN], MEAN)
    if abs(mean - told) > SLACK:
        raise DataError(f"Mean is {told}, the mean of the six domains is {mean:.4f}")
    return Score(told, {name: (value, None) for name, value in parts.items()})


def _olmes(body: Mapping[str, Any]) -> Score:
    """Return the first entry's score, which is the suite's where there are sub-tasks."""
    entries = [entry for entry in _entries(body) if entry[1] is not None]
    if not entries:
        raise DataError("it has no primary_score, neither in 'metrics' nor in 'tasks'")
    (_, value, rows), *others = entries
    parts = {name: (_fraction(one, name), count) for name, one, count in others}
    return Score(_fraction(value, "primary_score"), parts, rows)


def _entries(body: Mapping[str, Any]) -> Iterator[tuple[str, Any, int | None]]:
    """Yield (name, primary score, rows) of every task that a file lists."""
    tasks: Sequence[Any] = body.get("metrics") or body.get("tasks") or ()
    for number, entry in enumerate(tasks if isinstance(tasks, list) else ()):
        if isinstance(entry, Mapping):
            inner = entry.get("metrics")
            scores = inner if isinstance(inner, Mapping) else entry
            rows = entry.get("num_instances")
            name = str(entry.get("alias") or entry.get("task_name") or f"task {number}")
            yield name, scores.get("primary_score"), rows if isinstance(rows, int) else None


def _fraction(value: Any, name: str) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not -SLACK <= value <= 1 + SLACK:
        raise DataError(f"{name} is {value!r}, expected a number in [0, 1]")
    return float(value)


def _record(score: Score, path: Path, row: Benchmark, wanted: Wanted) -> dict[str, Any]:
    """Return the content of score.json, as readers of a score expect it."""
    full = wanted.resolved((row.asset, wanted.experiment)).full
    parts = {
        name: {"score": value, "stderr": None, "n": rows or 0}
        for name, (value, rows) in score.parts.items()
    }
    return {
        "benchmark": row.name,
        "title": full["title"] or row.title,
        "metric": row.metric,
        "score": score.value,
        "stderr": score.stderr,
        "n": score.rows,
        "details": {"parts": parts, "adopted_from": str(path)},
        "harness": {},
        "task_version": "",
        "settings": {},
        "data": dict(full["data"]),
        "model_fingerprint": wanted.own(row.model).fingerprint,
    }
