"""The study's report: a table, four pictures, and what they support.

In: `Run`s of all functions and seeds. Out: report.md and PNGs beside it. Figures only; no text of
the pool.
Shapes: G grid points.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from studies.acquisition_functions import plots
from studies.acquisition_functions.runs import CEILING, Material, Run, StudySettings
from studies.acquisition_functions.statistics import (
    Difference,
    Floats,
    curve,
    differences,
    grid,
    half_width,
    seed_differences,
)

BASELINE = "random"
ONE_PAIR_A_PROMPT = "deltaqwen"
"""Ends early: a prompt has one pair of its two models."""
DECIMALS = 3
OUTCOME_COLUMNS = (
    "function",
    "fresh, curve",
    f"less {BASELINE} (p seeds, p prompts)",
    "fresh, end",
    "enn, end",
    "score of fresh's first choice, end",
)
SECONDARY_COLUMNS = (
    "function",
    "enn, curve",
    "enn, end",
    "first choice, curve",
    "first choice, end",
)
BOUGHT_COLUMNS = (
    "function",
    "annotations",
    "judge calls",
    "calls per comparison",
    "chosen",
    "rejected",
    "gap",
    "chosen is longer",
    "models",
    "ties",
)

Groups = Mapping[str, Sequence[Run]]


def write_report(
    folder: Path,
    runs: Sequence[Run],
    settings: StudySettings,
    material: Material,
    model: Path | None,
) -> Path:
    """Write the report and its pictures; return its path."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.function].append(run)
    ceiling = groups.pop(CEILING, [])
    parts = [_head(groups, settings, material, model, runs)]
    if groups:
        plots.draw_all(folder, groups, _ceiling_accuracy(ceiling))
        parts += [_tables(groups, ceiling), _pictures()]
    path = folder / "report.md"
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _ceiling_accuracy(ceiling: Sequence[Run]) -> float:
    return float(np.mean([run.points[-1].fresh_accuracy for run in ceiling] or [np.nan]))


def _head(
    groups: Groups,
    settings: StudySettings,
    material: Material,
    model: Path | None,
    runs: Sequence[Run],
) -> str:
    pool, seeds = material.pool, sorted({run.seed for run in runs})
    words = "the input embeddings of a language model" if model else "hashed n-grams"
    minutes = sum(run.seconds for run in runs) / 60
    return f"""# Acquisition functions on judged completions

{len(pool.prompt_ids)} prompts, {len(pool.models)} models, {len(pool.text_R):,} completions; latent
score: log-odds of the judge's preference over a reference, clipped at one in a million; equal
scores make no comparison and are left out of the accuracy. Each seed (there are {len(seeds)}) holds
out {settings.held_out_share:.0%} of the prompts, and cuts the completions of each other prompt into
hands of {settings.hand_size}; the loop buys one pair per hand, every hand once, and two annotations
per pair. Features: {words}, and counts of form ({material.features_RD.shape[1]} numbers).

Accuracy: share of all pairs of a held-out prompt that a reward model ranks as the judge does, mean
over prompts. `fresh` is a linear Bradley-Terry model fitted anew to all comparisons so far; `enn`
the mean of the loop's ensemble. The {len(runs)} runs took {minutes:.1f} minutes, one by one."""


def _tables(groups: Groups, ceiling: Sequence[Run]) -> str:
    everything = [run for runs in groups.values() for run in runs]
    long = {name: runs for name, runs in groups.items() if name != ONE_PAIR_A_PROMPT}
    parts = [_outcome("All functions, as far as all go", groups, everything)]
    if ONE_PAIR_A_PROMPT in groups and long:
        kept = [run for runs in long.values() for run in runs]
        parts.append(_outcome(f"All but `{ONE_PAIR_A_PROMPT}`, to the end", long, kept))
    length = np.array(
        [run.length_accuracy for run in {run.seed: run for run in everything}.values()]
    )
    lines = [
        f"The longer completion wins: {_interval(float(length.mean()), float(half_width(length)))}."
    ]
    if ceiling:
        best = np.array([run.points[-1].fresh_accuracy for run in ceiling])
        lines.append(
            f"`fresh` on {ceiling[0].points[-1].comparisons:,} random comparisons at once, the "
            f"ceiling: {_interval(float(best.mean()), float(half_width(best)))}."
        )
    parts.append(_secondary(long, grid([run for runs in long.values() for run in runs])))
    return "\n\n".join([*parts, " ".join(lines), _bought(groups)])


def _outcome(title: str, groups: Groups, runs: Sequence[Run]) -> str:
    """Accuracy over the curve and at its end, with the differences to the baseline."""
    at_G = grid(runs)
    last = at_G[-1:]
    found = differences(groups, BASELINE, at_G) if BASELINE in groups else {}
    rows = []
    for name, seeds in groups.items():
        fresh, enn = curve(seeds, "fresh_accuracy", last), curve(seeds, "enn_accuracy", last)
        whole = float(curve(seeds, "fresh_accuracy", at_G).mean_G.mean())
        best = curve(seeds, "fresh_best", last)
        row = (
            f"| {name} | {whole:.{DECIMALS}f} | {_difference(found.get(name))} "
            f"| {_interval(fresh.mean_G[0], fresh.half_G[0])} "
            f"| {_interval(enn.mean_G[0], enn.half_G[0])} "
            f"| {_interval(best.mean_G[0], best.half_G[0], 2)} |"
        )
        rows.append((whole, row))
    ordered = [row for _, row in sorted(rows, reverse=True)]
    return f"""## {title}

Means over {at_G[0]:.0f} to {at_G[-1]:.0f} annotations ("curve"), and at {at_G[-1]:.0f} ("end").
The curve's mean is the outcome that is tested. ± is a 95 % t interval over
seeds; p: paired t-test over seeds, and sign flips over prompts, both Holm-corrected for the number
of functions; **bold**: both below 0.05.

{_table_head(OUTCOME_COLUMNS)}
""" + "\n".join(ordered)


def _secondary(groups: Groups, at_G: Floats) -> str:
    """The ENN's accuracy and the first choice's score, against the baseline."""
    if BASELINE not in groups:
        return ""
    columns = [
        seed_differences(groups, BASELINE, name, part_G)
        for name in ("enn_accuracy", "fresh_best")
        for part_G in (at_G, at_G[-1:])
    ]
    rows = [
        f"| {function} | {' | '.join(_difference(column[function]) for column in columns)} |"
        for function in columns[0]
    ]
    said = (
        f"Beside the planned outcome: differences to {BASELINE} by the ensemble that bought the "
        "data, and in the score of `fresh`'s first choice (p: t-test over seeds, each column "
        "corrected on its own)."
    )
    return "\n".join([said, "", _table_head(SECONDARY_COLUMNS), *rows])


def _table_head(columns: Sequence[str]) -> str:
    return f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"


def _difference(found: Difference | None) -> str:
    if found is None:
        return "–"
    text = "+" * (found.mean >= 0.0) + _interval(found.mean, found.half, DECIMALS + 1)
    tests = (found.seeds_p, found.prompts_p)
    shown = f"**{text}**" if found.is_supported else text
    return f"{shown} ({', '.join(_p(p) for p in tests if np.isfinite(p))})"


def _p(value: float) -> str:
    return "<0.001" if value < 0.0005 else f"{value:.3f}"


def _interval(mean: float, half: float, decimals: int = DECIMALS) -> str:
    """Write a mean with its interval; without one where a single seed gives none."""
    return f"{mean:.{decimals}f}" + (f" ± {half:.{decimals}f}" if np.isfinite(half) else "")


def _bought(groups: Groups) -> str:
    rows = []
    for name, runs in groups.items():
        ends = [run.points[-1] for run in runs]
        calls = np.mean([end.judgements / max(1, end.comparisons) for end in ends])
        chosen, rejected = (
            np.mean([getattr(r, f) for r in runs]) for f in ("mean_chosen", "mean_rejected")
        )
        rows.append(
            f"| {name} | {np.mean([end.annotations for end in ends]):,.0f} "
            f"| {np.mean([end.judgements for end in ends]):,.0f} | {calls:.1f} "
            f"| {chosen:.2f} | {rejected:.2f} | {chosen - rejected:.2f} "
            f"| {np.mean([run.chosen_longer for run in runs]):.2f} "
            f"| {np.mean([run.distinct_models for run in runs]):.1f} "
            f"| {np.mean([run.ties for run in runs]):.0f} |"
        )
    return """## What was bought

Mean scores are log-odds over the reference (0: as good). Models: the perplexity of the models that
the completions of all comparisons come from.
""" + "\n".join(["", _table_head(BOUGHT_COLUMNS), *rows])


def _pictures() -> str:
    said = """## Pictures

Bands are 95 % t intervals over seeds of the distance to the dashed line, the rule that the longer
completion wins: what makes a split easy or hard for everybody is taken out. Curves that stay far
below it are not shown. Dotted: the ceiling."""
    return (
        said + "\n\n" + "\n\n".join(f"![{title}]({name})" for name, title in plots.PICTURES.items())
    )
