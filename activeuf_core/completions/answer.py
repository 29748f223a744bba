"""The stage `completions`: one member of the model pool answers every prompt, from a record or by
generating now.

In: `prompts.parquet`; a pool file or a model. Out: `completions.parquet` (COMPLETION), in the order
of the prompts; a histogram of lengths. A prompt without an answer has no row, and is counted.
Of several processes, all generate; a record needs only the first.
Cost: recorded, 200 prompts from a pool file of 7 MB: 1 s. Generated: see `generate.py`.
Command: `python -m activeuf_core.completions --config … --run-dir …`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from activeuf_core import paths, processes
from activeuf_core.completions.config import CompletionsConfig
from activeuf_core.completions.recorded import pick_member
from activeuf_core.errors import DataError
from activeuf_core.figures import histogram
from activeuf_core.schemas import COMPLETION, last_user_text, read_rows, write_rows
from activeuf_core.sources import SourceRow, iterate_source
from activeuf_core.stage import StageContext

MAX_SHARE_BLANK = 0.01
"""`completions_not_blank` fails above this."""
PROGRESS_EVERY = 256

Row = Mapping[str, Any]


def run(context: StageContext) -> None:
    """Make the artifact `completions` of one member."""
    config = context.config(CompletionsConfig)
    is_first = processes.current().is_first
    if config.mode == "recorded" and not is_first:
        return
    prompts = read_rows(context.input("prompts") / paths.PROMPTS)
    found = (
        _recorded(context, config, prompts)
        if config.mode == "recorded"
        else _generated(context, config, prompts)
    )
    if not is_first:
        return
    rows = [found[prompt["prompt_id"]] for prompt in prompts if prompt["prompt_id"] in found]
    if not rows:
        raise DataError(
            f"{config.member} answers none of the {len(prompts)} prompts. The prompt ids of the "
            "source and of the prompts differ; read both from the same file."
        )
    write_rows(context.output / paths.COMPLETIONS, COMPLETION, rows)
    _report(context, prompts, rows)


def _recorded(
    context: StageContext, config: CompletionsConfig, prompts: Sequence[Row]
) -> dict[str, dict[str, Any]]:
    if config.source is None:
        raise DataError(f"{config.member}: mode 'recorded' needs a source, and none is set.")
    source = iterate_source(
        context.locate(config.source),
        subset=config.subset,
        split=config.split,
        columns=["prompt_id", "completions"],
    )
    counted = _counted(source, context, len(prompts))
    return pick_member(counted, config, {prompt["prompt_id"] for prompt in prompts})


def _counted(
    rows: Iterator[SourceRow], context: StageContext, expected: int
) -> Iterator[SourceRow]:
    """Pass rows on and report progress; a source may have more rows than there are prompts."""
    for number, row in enumerate(rows, start=1):
        yield row
        if number % PROGRESS_EVERY == 0:
            context.progress(number, max(expected, number + 1), "source rows")


def _generated(
    context: StageContext, config: CompletionsConfig, prompts: Sequence[Row]
) -> dict[str, dict[str, Any]]:
    from activeuf_core.completions.generate import generate

    return generate(context, config, prompts)


def _report(context: StageContext, prompts: Sequence[Row], rows: Sequence[Row]) -> None:
    lengths = [len(row["completion"]) for row in rows]
    finish = Counter(row["finish_reason"] or "unknown" for row in rows)
    context.add_metadata(
        completions=len(rows),
        missing=len(prompts) - len(rows),
        mean_characters=round(fmean(lengths), 1),
        with_rating=sum(row["given_rating"] is not None for row in rows),
        finish_reasons=", ".join(f"{reason}: {count}" for reason, count in finish.most_common()),
    )
    asked = {prompt["prompt_id"]: last_user_text(prompt["prompt"]) for prompt in prompts}
    context.add_table("preview", ({"prompt": asked[row["prompt_id"]], **row} for row in rows))
    plot = histogram(
        context.output / paths.COMPLETION_LENGTHS,
        lengths,
        "Length of completions",
        "characters",
        log_scale=True,
    )
    context.add_plot("lengths", plot)
    _check(context, len(prompts), rows)


def _check(context: StageContext, num_prompts: int, rows: Sequence[Row]) -> None:
    missing = num_prompts - len(rows)
    context.check(
        "completions_cover_prompts",
        missing == 0,
        f"{len(rows)} of {num_prompts} prompts have a completion.",
        missing=missing,
        share_missing=missing / num_prompts,
    )
    blank = sum(not row["completion"].strip() for row in rows)
    context.check(
        "completions_not_blank",
        blank / len(rows) <= MAX_SHARE_BLANK,
        f"{blank} of {len(rows)} completions are blank.",
        blank=blank,
        share_blank=blank / len(rows),
    )
