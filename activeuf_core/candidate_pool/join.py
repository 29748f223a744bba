"""The stage `candidate_pool`: per prompt, the completions of all members with their annotations.

In: `prompts.parquet`, and of every member `completions.parquet` and, unless judging is lazy,
`annotations.parquet`. Out:
`candidates.parquet` (CANDIDATE), the rows of a prompt adjacent, prompts in their order, models
alphabetical; a plot of the models. All files are read in step (`members.py`) and written in groups,
so that memory stays flat.
Cost: 20,000 candidates per second; 0.6 GB of memory for 30 members, whatever the number of prompts.
Command: `python -m activeuf_core.candidate_pool --config … --run-dir …`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from activeuf_core import paths
from activeuf_core.candidate_pool.comparisons import Comparisons
from activeuf_core.candidate_pool.config import CandidatePoolConfig
from activeuf_core.candidate_pool.members import Member, open_members
from activeuf_core.errors import DataError
from activeuf_core.figures import BLUE, ORANGE, draw
from activeuf_core.schemas import (
    CANDIDATE,
    count_rows,
    iterate_rows,
    last_user_text,
    write_rows,
)
from activeuf_core.stage import PREVIEW_ROWS, StageContext

MAX_LONGER_WINS = 0.7
"""`length_bias` fails above this: length alone then labels seven pairs in ten as the judge does."""

Row = Mapping[str, Any]


class Pool:
    """The pool in the making: yields its rows and counts what it saw."""

    def __init__(self, config: CandidatePoolConfig, members: Sequence[Member]) -> None:
        """Start with cursors at the first prompt."""
        self._config = config
        self._members = members
        self.comparisons = Comparisons()
        self.counts: Counter[str] = Counter()
        self.candidates_by_model: Counter[str] = Counter({member.model: 0 for member in members})

    def candidates(self, prompt: Row) -> list[dict[str, Any]]:
        """Return the CANDIDATE rows of the next prompt; [] when it has too few."""
        taken = (member.take(prompt["prompt_id"]) for member in self._members)
        rows = [_row(prompt, *found) for found in taken if found and self._is_wanted(*found)]
        if len(rows) < self._config.min_candidates:
            self.counts["dropped_prompts"] += 1
            return []
        self.counts["prompts"] += 1
        self.counts["candidates"] += len(rows)
        self.candidates_by_model.update(row["model"] for row in rows)
        rated = [row for row in rows if row["overall_score"] is not None]
        self.comparisons.add(
            [row["model"] for row in rated],
            [row["overall_score"] for row in rated],
            [len(row["completion"]) for row in rated],
        )
        return rows

    def _is_wanted(self, completion: Row, annotation: Row) -> bool:
        if self._config.drop_empty and not completion["completion"].strip():
            self.counts["dropped_blank"] += 1
            return False
        drops_unrated = self._config.drop_unrated and self._config.judging == "eager"
        if drops_unrated and annotation["overall_score"] is None:
            self.counts["dropped_unrated"] += 1
            return False
        return True


def run(context: StageContext) -> None:
    """Make the artifact `candidate_pool`."""
    config = context.config(CandidatePoolConfig)
    annotations = None if config.judging == "lazy" else context.inputs("annotations")
    members = open_members(context.inputs("completions"), annotations)
    pool = Pool(config, members)
    prompts = context.input("prompts") / paths.PROMPTS
    target = context.output / paths.CANDIDATES
    write_rows(target, CANDIDATE, _all_rows(context, pool, prompts))
    for member in members:
        member.require_end()
    _report(context, pool)
    _check(context, pool)
    context.add_table("preview", _preview(target))


def _all_rows(context: StageContext, pool: Pool, prompts: Path) -> Iterator[Row]:
    total = count_rows(prompts)
    numbers: dict[str, int] = {}
    for number, prompt in enumerate(iterate_rows(prompts), start=1):
        first = numbers.setdefault(prompt["prompt_id"], number)
        if first != number:
            raise DataError(
                f"{prompts}: rows {first - 1} and {number - 1} are both of prompt "
                f"{prompt['prompt_id']!r}; prompt ids must be unique. Materialize prompts again."
            )
        yield from pool.candidates(prompt)
        context.progress(number, total, "prompts")


def _row(prompt: Row, completion: Row, annotation: Row) -> dict[str, Any]:
    return {
        "prompt_id": prompt["prompt_id"],
        "source": prompt["source"],
        "prompt": prompt["prompt"],
        "model": completion["model"],
        "completion": completion["completion"],
        "finish_reason": completion["finish_reason"],
        "ratings": annotation["ratings"],
        "overall_score": annotation["overall_score"],
    }


def _preview(path: Path) -> Iterator[Row]:
    for row in islice(iterate_rows(path), PREVIEW_ROWS):
        yield {**row, "prompt": last_user_text(row["prompt"])}


def _report(context: StageContext, pool: Pool) -> None:
    counts, seen = pool.counts, pool.comparisons
    context.add_metadata(
        prompts=counts["prompts"],
        candidates=counts["candidates"],
        members=len(pool.candidates_by_model),
        candidates_per_prompt=round(counts["candidates"] / max(counts["prompts"], 1), 2),
        dropped_prompts=counts["dropped_prompts"],
        dropped_blank=counts["dropped_blank"],
        dropped_unrated=counts["dropped_unrated"],
        pairs=seen.pairs,
        tied_share=round(seen.tied_share, 4),
        longer_wins_share=round(seen.longer_wins_share, 4),
    )
    context.add_markdown("models", _table(seen))
    plot = draw(
        context.output / paths.POOL_PLOT,
        lambda figure: _paint(figure, seen),
        width=7.0,
        height=1.2 + 0.17 * max(len(seen.models), 2),
    )
    context.add_plot("model_plot", plot)


def _table(seen: Comparisons) -> str:
    lines = [
        "| model | candidates | mean score | win rate | mean characters |",
        "|---|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {model} | {tally.candidates} | {tally.mean_score:.3f} | {tally.win_rate:.1%} "
        f"| {tally.mean_characters:.0f} |"
        for model, tally in seen.ranking()
    ]
    return "\n".join(lines)


def _paint(figure: Any, seen: Comparisons) -> None:
    """Draw mean score and win rate of every model, the best on top."""
    ranking = seen.ranking()[::-1]
    names = [model for model, _ in ranking]
    left, right = figure.subplots(1, 2, sharey=True)
    left.barh(names, [tally.mean_score for _, tally in ranking], color=BLUE)
    left.set_xlabel("mean overall score", fontsize=9)
    right.barh(names, [tally.win_rate for _, tally in ranking], color=ORANGE)
    right.axvline(0.5, color="black", linewidth=0.8)
    right.set_xlabel("win rate within the prompt, ties half", fontsize=9)
    for axes in (left, right):
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(y=0.01)


def _check(context: StageContext, pool: Pool) -> None:
    counts, seen = pool.counts, pool.comparisons
    context.check(
        "pool_not_empty",
        counts["prompts"] > 0,
        f"{counts['prompts']} prompts have enough candidates, {counts['dropped_prompts']} have too "
        "few.",
        blocking=True,
        prompts=counts["prompts"],
    )
    absent = sorted(model for model, count in pool.candidates_by_model.items() if not count)
    rarest = min(pool.candidates_by_model, key=lambda model: pool.candidates_by_model[model])
    context.check(
        "every_model_present",
        not absent,
        f"{len(absent)} of {len(pool.candidates_by_model)} members have no candidate.",
        absent=", ".join(absent),
        rarest=rarest,
        candidates_of_rarest=pool.candidates_by_model[rarest],
    )
    share = seen.longer_wins_share
    context.check(
        "length_bias",
        share <= MAX_LONGER_WINS,
        f"The longer completion wins {share:.1%} of the pairs whose scores differ."
        if seen.pairs
        else "No pair is rated yet.",
        longer_wins_share=share,
        tied_share=seen.tied_share,
    )
