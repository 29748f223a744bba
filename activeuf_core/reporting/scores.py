"""All scores of one experiment in one file: what is missing is said, and is never a zero.

In: up to one artifact of each score asset. Out: scores.json: per benchmark its score or null with a
reason (missing, or left out of the experiment), and the means `DPO/Mean`, `Rewardbench/Mean` and
`Final Score/Mean`. A mean is over exactly the benchmarks that the table of benchmarks counts, less
those left out; it says which, and is null while one of them is missing: means over different
benchmarks do not compare.
Cost: none. Command: `python -m activeuf_core.reporting --config … --run-dir …`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from activeuf_core.artifacts import read_json, write_json
from activeuf_core.errors import DataError
from activeuf_core.evals.benchmarks import BENCHMARKS, Benchmark
from activeuf_core.paths import SCORE, SCORES
from activeuf_core.reporting.config import ScoresConfig
from activeuf_core.stage import StageContext
from activeuf_core.stand_ins import LEFT_OUT, PUBLISHED

MEAN_NAMES: Mapping[str, str] = {"dpo_model": "DPO/Mean", "reward_model": "Rewardbench/Mean"}
"""The mean over a kind of model's benchmarks."""
FINAL_MEAN = "Final Score/Mean"
MISSING = "missing"
NO_VALUE = "–"

Entry = dict[str, Any]


def run(context: StageContext) -> None:
    """Collect the scores. Raises: DataError when an artifact is of another benchmark."""
    config = context.config(ScoresConfig)
    entries = {row.name: _entry(context, row, config) for row in BENCHMARKS}
    means = means_of(entries)
    found = {"benchmarks": entries, "means": means}
    write_json(context.output / SCORES, found)
    context.add_markdown("scores", render_markdown(found))
    context.add_metadata(
        **{name: mean["value"] for name, mean in means.items() if mean["value"] is not None}
    )
    missing = _titles(entries, MISSING)
    context.add_metadata(
        benchmarks=len(config.benchmarks),
        missing=", ".join(missing) or "none",
        left_out=", ".join(_titles(entries, LEFT_OUT)) or "none",
    )
    context.check(
        "all_benchmarks_present",
        not missing,
        f"Missing: {', '.join(missing)}."
        if missing
        else "Every benchmark of the experiment has a score.",
        missing=len(missing),
    )


def means_of(entries: Mapping[str, Entry]) -> dict[str, dict[str, Any]]:
    """Return the means: `value` (null while a benchmark is missing, or when all are left out),
    `over` and `missing` (names of benchmarks).
    """
    means = {name: _mean(entries, model) for model, name in MEAN_NAMES.items()}
    missing = [name for name, mean in means.items() if mean["value"] is None]
    values = [mean["value"] for mean in means.values() if mean["value"] is not None]
    final = None if missing else math.fsum(values) / len(values)
    return {**means, FINAL_MEAN: {"value": final, "over": list(means), "missing": missing}}


def is_left_out(scores: Mapping[str, Any], benchmark: str) -> bool:
    """Whether an experiment does without a benchmark. Args: scores: the content of scores.json; one
    that was written before the benchmark existed does not name it.
    """
    entry = scores["benchmarks"].get(benchmark)
    return entry is None or entry["reason"] == LEFT_OUT


def render_markdown(found: Mapping[str, Any]) -> str:
    """Return the scores of one experiment as a Markdown table."""
    lines = ["| benchmark | score | standard error | rows |", "|---|---|---|---|"]
    for entry in found["benchmarks"].values():
        note = f" (without {', '.join(entry['missing_parts'])})" if entry["missing_parts"] else ""
        note += " (published)" if PUBLISHED in entry else ""
        score = LEFT_OUT if entry["reason"] == LEFT_OUT else _shown(entry["score"])
        cells = (score, _shown(entry["stderr"]), entry["n"] or NO_VALUE)
        lines.append(f"| {entry['title']}{note} | {cells[0]} | {cells[1]} | {cells[2]} |")
    for name, mean in found["means"].items():
        lacks = f" (missing: {', '.join(mean['missing'])})" if mean["missing"] else ""
        lines.append(f"| **{name}**{lacks} | {_shown(mean['value'])} | | |")
    return "\n".join(lines)


def _titles(entries: Mapping[str, Entry], reason: str) -> list[str]:
    return [entry["title"] for entry in entries.values() if entry["reason"] == reason]


def _entry(context: StageContext, row: Benchmark, config: ScoresConfig) -> Entry:
    folders = list(context.inputs(row.asset).values())
    if len(folders) > 1:
        raise DataError(
            f"{context.partition}: {len(folders)} artifacts of {row.asset}, expected one or none."
        )
    fixed = {
        "title": config.titles.get(row.name, row.title),
        "metric": row.metric,
        "model": row.model,
        "in_mean": row.in_mean,
    }
    is_wanted = row.name in config.benchmarks
    if not folders or not is_wanted:
        nothing = {
            "score": None,
            "stderr": None,
            "n": None,
            "parts": {},
            "missing_parts": [],
            "data": None,
        }
        return {**fixed, **nothing, "reason": MISSING if is_wanted else LEFT_OUT}
    return {**fixed, **_read(folders[0], row), "reason": None}


def _read(folder: Path, row: Benchmark) -> Entry:
    found = read_json(folder / SCORE)
    if found["benchmark"] != row.name:
        raise DataError(
            f"{folder / SCORE} is a score on {found['benchmark']!r}, expected {row.name!r}."
        )
    details = found["details"]
    return {
        "score": found["score"],
        "stderr": found["stderr"],
        "n": found["n"],
        "parts": {label: part["score"] for label, part in details["parts"].items()},
        "missing_parts": details.get("missing_parts", []),
        **{key: details[key] for key in ("adopted_from", PUBLISHED) if key in details},
        "data": found["data"],
    }


def _mean(entries: Mapping[str, Entry], model: str) -> dict[str, Any]:
    """Return the plain mean over a kind of model's benchmarks; one without all its parts counts as
    missing.
    """
    over = [
        row.name
        for row in BENCHMARKS
        if row.model == model
        and row.in_mean
        and entries.get(row.name, {}).get("reason") != LEFT_OUT
    ]
    whole = {
        name: entries[name]["score"]
        for name in over
        if name in entries
        and entries[name]["score"] is not None
        and not entries[name]["missing_parts"]
    }
    missing = [name for name in over if name not in whole]
    value = math.fsum(whole.values()) / len(whole) if whole and not missing else None
    return {"value": value, "over": over, "missing": missing}


def _shown(value: float | None) -> str:
    return NO_VALUE if value is None else f"{value:.3f}"
