"""The leaderboard: all experiments side by side, seeds put together, deltas to a named baseline.

In: `scores` of the experiments (some may be missing), and how many annotations each bought; what
each experiment is. Out: leaderboard.json, leaderboard.md, leaderboard.html (one file, sortable), a
heat map, and scores against annotations. Experiments with equal dataset, acquisition and settings
and different seeds become one row: mean ± 95 % t-interval. Baselines are rows like any other.
Cost: none. Command: `python -m activeuf_core.reporting --config … --run-dir …`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from activeuf_core.artifacts import read_json, write_json
from activeuf_core.evals.benchmarks import BENCHMARKS
from activeuf_core.paths import (
    LEADERBOARD_HTML,
    LEADERBOARD_JSON,
    LEADERBOARD_MARKDOWN,
    LEADERBOARD_PLOT,
    METRICS,
    SAMPLE_EFFICIENCY,
    SCORES,
)
from activeuf_core.reporting.config import LeaderboardConfig, LeaderboardRow
from activeuf_core.reporting.deltas import add_deltas
from activeuf_core.reporting.efficiency import plot_efficiency
from activeuf_core.reporting.heatmap import plot_heatmap
from activeuf_core.reporting.page import render_html
from activeuf_core.reporting.scores import FINAL_MEAN, MEAN_NAMES, MISSING, is_left_out
from activeuf_core.reporting.tables import render_markdown, render_text
from activeuf_core.stage import StageContext
from activeuf_core.stand_ins import LEFT_OUT, PUBLISHED

__all__ = ["build", "render_text", "run"]

T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""97.5 % quantiles of Student's t for 1 to 30 degrees of freedom."""
Z_975 = 1.959964
USUAL_LOSS = "sigmoid"

SEED_SEPARATOR = "-seed="
"""Stands in the name of an experiment that is one of several seeds, before the seed."""

Scores = Mapping[str, Any]
Cell = dict[str, Any]


def run(context: StageContext) -> None:
    """Write the leaderboard."""
    config = context.config(LeaderboardConfig)
    scores = {
        experiment: read_json(folder / SCORES)
        for experiment, folder in context.inputs("scores").items()
    }
    bought = {
        experiment: count
        for experiment, folder in context.inputs("preference_dataset").items()
        if (count := annotations_bought(folder)) is not None
    }
    board = build(config, scores, bought)
    write_json(context.output / LEADERBOARD_JSON, board)
    (context.output / LEADERBOARD_MARKDOWN).write_text(render_markdown(board), encoding="utf-8")
    (context.output / LEADERBOARD_HTML).write_text(render_html(board), encoding="utf-8")
    plot_heatmap(context.output / LEADERBOARD_PLOT, board)
    plot_efficiency(context.output / SAMPLE_EFFICIENCY, board)
    context.add_markdown("leaderboard", render_markdown(board))
    context.add_plot("plot", context.output / LEADERBOARD_PLOT)
    context.add_plot("sample_efficiency", context.output / SAMPLE_EFFICIENCY)
    context.add_metadata(
        experiments=len(config.rows), with_scores=len(scores), rows=len(board["rows"])
    )
    context.check(
        "leaderboard_not_empty",
        bool(scores),
        f"{len(scores)} of {len(config.rows)} experiments have scores.",
        with_scores=len(scores),
    )


def build(
    config: LeaderboardConfig,
    scores: Mapping[str, Scores],
    bought: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Return the leaderboard: `columns`, `rows` (the best final score first), `baseline`, `notes`.

    Args: scores: the content of scores.json by experiment; experiments without one get empty cells.
    bought: annotations by experiment, where that is known.
    """
    columns = _columns(scores)
    rows = [_row(members, columns, scores, bought or {}) for members in seeds_of(config.rows)]
    has_baseline = config.baseline in scores
    kept_back = add_deltas(rows, config.baseline if has_baseline else None)
    rows.sort(key=_rank)
    notes = [*_notes(rows, scores), *kept_back]
    named = config.baseline if has_baseline else None
    if config.baseline is None:
        notes.insert(0, "No baseline is named, so there are no deltas.")
    elif not has_baseline:
        notes.insert(0, f"The baseline {config.baseline} has no scores yet: there are no deltas.")
    return {"baseline": named, "columns": columns, "rows": rows, "notes": notes}


def annotations_bought(folder: Path) -> int | None:
    """Return how many annotations a loop bought; None for what bought none."""
    if not (folder / METRICS).is_file():
        return None
    *_, last = (folder / METRICS).read_text(encoding="utf-8").splitlines()
    return int(json.loads(last)["annotations"])


def seeds_of(rows: Sequence[LeaderboardRow]) -> list[list[LeaderboardRow]]:
    """Group experiments that differ only in their seed; those that share it too stay apart."""
    groups: dict[tuple[str, str, str], list[LeaderboardRow]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.acquisition, row.settings), []).append(row)
    grouped = []
    for members in groups.values():
        are_seeds = len({member.seed for member in members}) == len(members)
        grouped += [members] if are_seeds else [[member] for member in members]
    return grouped


def interval(values: Sequence[float]) -> float:
    """Return half the width of the 95 % t-interval of the mean of two or more values."""
    n = len(values)
    mean = math.fsum(values) / n
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return _quantile(n - 1) * deviation / math.sqrt(n)


def _quantile(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t; beyond the table, the first terms of its expansion
    around the normal distribution's, right to four digits.
    """
    if freedom <= len(T_975):
        return T_975[freedom - 1]
    cube, fifth = Z_975**3, Z_975**5
    first = (cube + Z_975) / (4 * freedom)
    return Z_975 + first + (5 * fifth + 16 * cube + 3 * Z_975) / (96 * freedom**2)


def _columns(scores: Mapping[str, Scores]) -> list[dict[str, str]]:
    """Return the benchmarks that any experiment has, in the table's order, and the means.

    The mean over a single benchmark is that benchmark, and has no column of its own.
    """
    columns = []
    for row in BENCHMARKS:
        titles = {
            s["benchmarks"][row.name]["title"]
            for s in scores.values()
            if not is_left_out(s, row.name)
        }
        if titles:
            columns.append(
                {"name": row.name, "title": " / ".join(sorted(titles)), "kind": "benchmark"}
            )
    counted = [row.model for row in BENCHMARKS if row.in_mean]
    means = [name for model, name in MEAN_NAMES.items() if counted.count(model) > 1]
    return columns + [{"name": n, "title": n, "kind": "mean"} for n in (*means, FINAL_MEAN)]


def _row(
    members: Sequence[LeaderboardRow],
    columns: Iterable[Mapping[str, str]],
    scores: Mapping[str, Scores],
    bought: Mapping[str, int],
) -> dict[str, Any]:
    first = members[0]
    found = [scores[member.experiment] for member in members if member.experiment in scores]
    counts = [bought[member.experiment] for member in members if member.experiment in bought]
    return {
        "name": _name(members),
        "method": _method(first),
        "experiments": [member.experiment for member in members],
        "dataset": first.dataset,
        "acquisition": first.acquisition,
        "loss": first.loss,
        "baseline": first.baseline,
        "seeds": [] if first.baseline else [member.seed for member in members],
        "annotations": math.fsum(counts) / len(counts) if counts else None,
        "curve": first.curve or first.settings,
        "cells": {column["name"]: _cell(column, found, len(members)) for column in columns},
    }


def _name(members: Sequence[LeaderboardRow]) -> str:
    """Return what a row is called: its experiment, or what its seeds have in common."""
    if len(members) == 1:
        return members[0].experiment
    stems = {member.experiment.rpartition(SEED_SEPARATOR)[0] for member in members}
    common = next(iter(stems)) if len(stems) == 1 else ""
    return f"{common or _method(members[0])} ({len(members)} seeds)"


def _method(row: LeaderboardRow) -> str:
    """Return what tells a row's curve from others, for a legend."""
    if row.baseline:
        return row.experiment
    loss = "" if row.loss in ("", USUAL_LOSS) else f", {row.loss}"
    return f"{row.acquisition}{loss} on {row.dataset}"


def _cell(column: Mapping[str, str], found: Sequence[Scores], num_seeds: int) -> Cell:
    """Return one cell: value, spread (`t95` over seeds, or `stderr` of one benchmark), number of
    seeds behind it.
    """
    pairs = [_value(column, scores) for scores in found]
    values = [value for value, _ in pairs if value is not None]
    cell: Cell = {
        "title": column["title"],
        "value": None,
        "state": _state(column, found),
        "spread": None,
        "spread_kind": None,
        "num_seeds": 0,
        **_what(column, found),
    }
    if not values:
        return cell
    cell |= {"value": math.fsum(values) / len(values), "num_seeds": len(values)}
    if len(values) > 1:
        return {**cell, "spread": interval(values), "spread_kind": "t95"}
    stderr = next(error for value, error in pairs if value is not None)
    return {
        **cell,
        "spread": stderr,
        "spread_kind": "stderr" if stderr is not None and num_seeds == 1 else None,
    }


def _value(column: Mapping[str, str], scores: Scores) -> tuple[float | None, float | None]:
    if column["kind"] == "mean":
        return scores["means"][column["name"]]["value"], None
    entry = scores["benchmarks"].get(column["name"])
    return (entry["score"], entry["stderr"]) if entry else (None, None)


def _state(column: Mapping[str, str], found: Sequence[Scores]) -> str:
    """Return why a cell without a value has none: '' where somebody has one."""
    if any(_value(column, scores)[0] is not None for scores in found):
        return ""
    if column["kind"] == "mean":
        parts = [part for scores in found for part in _over(column["name"], scores)]
        return LEFT_OUT if found and not parts else MISSING
    is_out = found and all(is_left_out(scores, column["name"]) for scores in found)
    return LEFT_OUT if is_out else MISSING


def _what(column: Mapping[str, str], found: Sequence[Scores]) -> dict[str, Any]:
    """Return what a cell's number is of: the benchmarks of a mean, or a title and the rows' data;
    whether it was published.
    """
    name = column["name"]
    over = sorted({part for scores in found for part in _over(name, scores)})
    entries = [scores["benchmarks"][name] for scores in found if name in scores["benchmarks"]]
    scored = [entry for entry in entries if entry["score"] is not None]
    return {
        "over": over,
        "called": sorted({entry["title"] for entry in scored}),
        "data": sorted({entry["data"]["identity"] for entry in scored if entry["data"]}),
    }


def _over(mean: str, scores: Scores) -> list[str]:
    """Return the benchmarks of a mean, of the final one those of both."""
    if mean not in scores["means"]:
        return []
    over = scores["means"][mean]["over"]
    return [part for name in over for part in _over(name, scores) or [name]]


def _rank(row: Mapping[str, Any]) -> tuple[float, ...]:
    """Order rows by the final mean, then by the columns before it; what has none comes last."""
    values = [cell["value"] for cell in reversed(row["cells"].values())]
    return tuple(math.inf if value is None else -value for value in values)


def _published(rows: Sequence[Mapping[str, Any]], scores: Mapping[str, Scores]) -> list[str]:
    """Return where published scores are from."""
    return [
        f"{row['name']}: published scores ({source}), not computed here."
        for row in rows
        if row["baseline"] == PUBLISHED
        for source in sorted(
            {
                entry[PUBLISHED]
                for name in row["experiments"]
                for entry in scores.get(name, {"benchmarks": {}})["benchmarks"].values()
                if PUBLISHED in entry
            }
        )
    ]


def _notes(rows: Sequence[Mapping[str, Any]], scores: Mapping[str, Scores]) -> list[str]:
    """Return what a reader must know before comparing numbers."""
    notes = []
    for row in BENCHMARKS:
        entries = [
            s["benchmarks"][row.name] for s in scores.values() if row.name in s["benchmarks"]
        ]
        data = {entry["data"]["identity"] for entry in entries if entry["data"]}
        called = sorted({entry["title"] for entry in entries if entry["score"] is not None})
        partial = sorted({part for entry in entries for part in entry["missing_parts"]})
        if len(called) > 1:
            notes.append(f"{' and '.join(called)} share a column and do not compare.")
        elif len(data) > 1:
            notes.append(
                f"{row.title}: the experiments were scored on {len(data)} different sets of rows."
            )
        if partial:
            notes.append(f"{row.title}: some scores are means without {', '.join(partial)}.")
    notes += [*_fewer_seeds(rows), *_adopted(scores), *_published(rows, scores)]
    kinds = {cell["spread_kind"] for row in rows for cell in row["cells"].values()}
    if "stderr" in kinds:
        notes.append("± of one seed is the standard error over the benchmark's rows.")
    if "t95" in kinds:
        notes.append("± of several seeds is the 95 % t-interval over the seeds.")
    if any(cell["state"] == LEFT_OUT for row in rows for cell in row["cells"].values()):
        notes.append(f"{LEFT_OUT}: the experiment does without that benchmark.")
    return notes


def _fewer_seeds(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return where a row of several seeds has cells that not all of them are behind."""
    notes = []
    for row in rows:
        total = len(row["experiments"])
        partial = [
            f"{cell['title']} ({cell['num_seeds']})"
            for cell in row["cells"].values()
            if 0 < cell["num_seeds"] < total
        ]
        if partial:
            notes.append(f"{row['name']}: not all {total} seeds are there: {', '.join(partial)}.")
    return notes


def _adopted(scores: Mapping[str, Scores]) -> list[str]:
    """Return which scores were not computed here but taken over as somebody gave them."""
    found = [
        f"{experiment} ({', '.join(titles)})"
        for experiment, one in scores.items()
        if (titles := [e["title"] for e in one["benchmarks"].values() if e.get("adopted_from")])
    ]
    return [f"Adopted, not computed here: {'; '.join(found)}."] if found else []
