"""The stage `prompts`: reads a source, cleans it, and gives every prompt an id.

In: rows of a source with a text or a conversation each. Out: `prompts.parquet` (PROMPT), a
histogram of lengths.
Cost: about 15 µs per prompt of 1 kB; all prompts are held in memory.
Command: `python -m activeuf_core.prompts --config … --run-dir …`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean, median
from typing import Any

from activeuf_core import paths
from activeuf_core.figures import histogram
from activeuf_core.prompts import filters
from activeuf_core.prompts.config import PromptsConfig
from activeuf_core.prompts.filters import Row
from activeuf_core.prompts.rows import has_id, to_prompt
from activeuf_core.schemas import PROMPT, last_user_text, write_rows
from activeuf_core.sources import iterate_source
from activeuf_core.stage import StageContext

MAX_SHARE_TOO_LONG = 0.05
"""`prompts_length` fails when more of the source than this was dropped for its length."""
SOURCES_SHOWN = 12


def run(context: StageContext) -> None:
    """Make the artifact `prompts`."""
    config = context.config(PromptsConfig)
    rows = list(_read(context, config))
    kept, dropped = clean(rows, config)
    write_rows(context.output / paths.PROMPTS, PROMPT, kept)
    _report(context, config, rows, kept, dropped)


def clean(rows: Sequence[Row], config: PromptsConfig) -> tuple[list[Row], dict[str, int]]:
    """Apply every filter of the config; return the kept rows and how many each filter dropped.

    Ids are checked after the duplicates are gone: public prompt sets repeat a prompt under the same
    id, and that is a duplicate. The same id with two texts is an error (DataError).
    """
    kept, blank = filters.drop_blank(rows)
    kept, duplicate = filters.drop_duplicates(kept) if config.duplicates == "drop" else (kept, 0)
    filters.require_unique_ids(kept)
    kept, too_long = filters.drop_long(kept, config.max_characters)
    kept, over_limit = filters.sample(kept, config.limit, config.seed)
    dropped = {
        "blank": blank,
        "duplicate": duplicate,
        "too_long": too_long,
        "over_limit": over_limit,
    }
    return kept, dropped


def _read(context: StageContext, config: PromptsConfig) -> Iterator[dict[str, Any]]:
    columns = [config.prompt_column, "constraints", "answer"]
    columns += [name for name in (config.id_column, config.source_column) if name]
    location = context.locate(config.source)
    source = iterate_source(location, subset=config.subset, split=config.split, columns=columns)
    made_ids: Counter[str] = Counter()
    for row in source:
        prompt = to_prompt(row, config)
        yield prompt if has_id(row, config) else _numbered(prompt, made_ids, config)


def _numbered(prompt: dict[str, Any], seen: Counter[str], config: PromptsConfig) -> dict[str, Any]:
    """Tell repeated prompts apart when they are kept: their digests are equal."""
    made = prompt["prompt_id"]
    seen[made] += 1
    repeated = config.duplicates == "keep" and seen[made] > 1
    return {**prompt, "prompt_id": f"{made}-{seen[made]}"} if repeated else prompt


def _report(
    context: StageContext,
    config: PromptsConfig,
    rows: Sequence[Row],
    kept: Sequence[Row],
    dropped: dict[str, int],
) -> None:
    lengths = [filters.num_characters(row) for row in kept]
    origins = Counter(row["source"] or "(none)" for row in kept)
    context.add_metadata(
        rows_read=len(rows),
        prompts=len(kept),
        **{f"dropped_{name}": count for name, count in dropped.items()},
        with_constraints=sum(row["constraints"] is not None for row in kept),
        with_answer=sum(row["answer"] is not None for row in kept),
        mean_characters=round(fmean(lengths), 1) if lengths else 0.0,
        sources=", ".join(f"{name}: {count}" for name, count in origins.most_common(SOURCES_SHOWN)),
    )
    context.add_table("preview", ({**row, "prompt": last_user_text(row["prompt"])} for row in kept))
    plot = histogram(
        context.output / paths.PROMPT_LENGTHS,
        lengths,
        "Length of prompts",
        "characters",
        log_scale=True,
    )
    context.add_plot("lengths", plot)
    _check(context, config, kept, len(rows), dropped["too_long"])


def _check(
    context: StageContext,
    config: PromptsConfig,
    kept: Sequence[Row],
    num_read: int,
    num_too_long: int,
) -> None:
    context.check(
        "prompts_not_empty",
        bool(kept),
        f"{len(kept)} of {num_read} prompts are left after cleaning.",
        blocking=True,
        prompts=len(kept),
    )
    num_texts = len({filters.normalised_text(row) for row in kept})
    context.check(
        "prompts_unique",
        num_texts == len(kept),
        f"{len(kept)} prompts have {num_texts} different texts.",
        repeated=len(kept) - num_texts,
    )
    lengths = [filters.num_characters(row) for row in kept]
    share = num_too_long / max(num_read, 1)
    context.check(
        "prompts_length",
        share <= MAX_SHARE_TOO_LONG,
        f"{share:.1%} of the prompts exceed {config.max_characters} characters and were dropped.",
        share_too_long=share,
        median_characters=median(lengths) if lengths else 0,
        max_characters=max(lengths, default=0),
    )
