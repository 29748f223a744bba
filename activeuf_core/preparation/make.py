"""From examples to the rows of a data set: repeated ones out, divided, numbered, cut to the budget.

In: examples by official split. Out: `Prepared`. Pure but for the tokenizer that is handed in; the
order of the examples does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from activeuf_core.preparation.config import SPLITS, PreparedDatasetConfig, Split
from activeuf_core.preparation.normalise import Example
from activeuf_core.preparation.rows import Row, content_key, to_row, with_ids
from activeuf_core.preparation.splitting import divide, drop_repeated
from activeuf_core.preparation.validation import is_over_budget

CountTokens = Callable[[Sequence[Row]], dict[str, int]]


@dataclass(frozen=True)
class Prepared:
    """Rows by split in the order of ids; which splits are the source's; what was left out; the
    tokens of each prompt by id, None where nobody counts.
    """

    splits: dict[Split, list[Row]]
    official: frozenset[Split]
    dropped: dict[str, int]
    tokens: dict[str, int] | None


def make(
    given: Mapping[Split, Sequence[Example]],
    config: PreparedDatasetConfig,
    count_tokens: CountTokens | None = None,
) -> Prepared:
    """Return the data set. Args: count_tokens: returns the tokens of each row's prompt, by id."""
    ordered: dict[Split, list[Example]] = {
        split: sorted(examples, key=_order) for split, examples in given.items()
    }
    repeated = 0
    if config.duplicates == "drop":
        for split, examples in ordered.items():
            ordered[split], gone = drop_repeated(examples, content_key)
            repeated += gone
    divided = divide(ordered, config.fractions, config.limit)
    splits = _rows_of(divided.splits, config)
    tokens = (
        count_tokens([row for rows in splits.values() for row in rows]) if count_tokens else None
    )
    over_budget = 0
    if config.budget.too_long == "drop":
        before = len(splits["train"])
        splits["train"] = [
            row for row in splits["train"] if not is_over_budget(row, config, tokens)
        ]
        over_budget = before - len(splits["train"])
    over_limit = sum(map(len, ordered.values())) - divided.leaked
    over_limit -= sum(map(len, divided.splits.values()))
    dropped = {
        "repeated": repeated,
        "in_another_split": divided.leaked,
        "over_limit": over_limit,
        "over_budget": over_budget,
    }
    return Prepared(splits, frozenset(given), dropped, tokens)


def _order(example: Example) -> tuple[str, ...]:
    """Sort by content, so that which of two equal rows stays is not up to the source."""
    given, source = example["given_id"] or "", example["source"] or ""
    return (content_key(example), example["question"], given, source)


def _rows_of(
    examples: Mapping[Split, Sequence[Example]], config: PreparedDatasetConfig
) -> dict[Split, list[Row]]:
    splits: dict[Split, list[Row]] = {split: [] for split in SPLITS}
    everything = ({**row, "split": split} for split in SPLITS for row in examples[split])
    for row in with_ids(everything):
        splits[row["split"]].append(to_row(row, config))
    return splits
