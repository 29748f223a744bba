"""What a prepared data set is like, in numbers: the body of `stats.json`.

In: DATASET_ROW rows by split. Out: plain dicts. Lengths are in characters, those of prompts also in
tokens where a tokenizer is named.
Cost: 40 µs per row with a number as gold answer, 0.3 ms per rubric of ten items.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from activeuf_core.preparation.rows import text_of
from activeuf_core.preparation.splitting import normalised_question
from activeuf_core.rewards import rubrics
from activeuf_core.rewards.number_parsing import parse_number

Row = Mapping[str, Any]
Statistics = dict[str, Any]
PERCENTILES = (5, 25, 50, 75, 95, 99)
TEXT_FIELDS = ("question", "prompt", "answer", "rubric", "reference", "chosen", "rejected")
SOURCES_TOLD = 20


def describe(rows: Sequence[Row], tokens: Mapping[str, int] | None = None) -> Statistics:
    """Return the statistics of a split. Args: tokens: of each prompt, by id."""
    lengths = {field: lengths_of(rows, field) for field in TEXT_FIELDS}
    told: Statistics = {
        "num_examples": len(rows),
        "unique_questions": len({normalised_question(row["question"]) for row in rows}),
        "characters": {name: summary(found) for name, found in lengths.items() if found},
    }
    if tokens is not None:
        told["tokens"] = {"prompt": summary([tokens[row["id"]] for row in rows])}
    golds = [row["gold"] for row in rows if row["gold"] is not None]
    if golds:
        told["gold"] = describe_golds(golds)
    texts = [row["rubric"] for row in rows if row["rubric"]]
    if texts:
        told["rubric_items"] = describe_rubrics(texts)
    sources = Counter(row["source"] for row in rows if row["source"])
    if sources:
        told["sources"] = dict(sources.most_common(SOURCES_TOLD))
    return told


def lengths_of(rows: Iterable[Row], field: str) -> list[int]:
    """Return the characters of a field in every row that has it."""
    values = (row[field] for row in rows)
    return [
        len(value) if isinstance(value, str) else len(text_of(value))
        for value in values
        if value is not None
    ]


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return least, greatest, mean and percentiles; {} of nothing."""
    if not values:
        return {}
    array = np.asarray(values, dtype=np.float64)
    found = np.percentile(array, PERCENTILES)
    return {
        "min": float(array.min()),
        **{f"p{name}": float(value) for name, value in zip(PERCENTILES, found, strict=True)},
        "max": float(array.max()),
        "mean": round(float(array.mean()), 2),
    }


def describe_golds(golds: Sequence[str]) -> dict[str, int]:
    """Return how many gold answers are numbers, and of what sort; a number may be of several."""
    values = [parse_number(gold) for gold in golds]
    numbers = [
        (text, value) for text, value in zip(golds, values, strict=True) if value is not None
    ]
    return {
        "total": len(golds),
        "numbers": len(numbers),
        "integer": sum(value.denominator == 1 for _, value in numbers),
        "decimal": sum(value.denominator != 1 for _, value in numbers),
        "negative": sum(value < 0 for _, value in numbers),
        "comma": sum("," in text for text, _ in numbers),
        "no_number": len(golds) - len(numbers),
    }


def describe_rubrics(texts: Sequence[str]) -> dict[str, Any]:
    """Return how many items rubrics have, all together and by kind."""
    kinds = [[one.kind for one in rubrics.from_text(text).criteria] for text in texts]
    return {
        "per_rubric": summary([len(items) for items in kinds]),
        "hard_rule": sum(items.count("hard_rule") for items in kinds),
        "principle": sum(items.count("principle") for items in kinds),
    }


def drift(now: Statistics, before: Statistics) -> dict[str, float]:
    """Return how far each figure of `stats.json` moved from an earlier one: relative for counts and
    lengths, absolute for shares of gold answers. A split that came or went moved by 1.
    """
    moved: dict[str, float] = {}
    for split in sorted({*now["splits"], *before["splits"]}):
        one, other = now["splits"].get(split), before["splits"].get(split)
        if one is None or other is None:
            moved[f"{split}.num_examples"] = 1.0
            continue
        figures, known = _figures(one), _figures(other)
        for name in figures.keys() & known.keys():
            moved[f"{split}.{name}"] = _relative(figures[name], known[name])
        shares, known = _shares(one), _shares(other)
        for name in shares.keys() | known.keys():
            moved[f"{split}.gold.{name}"] = abs(shares.get(name, 0.0) - known.get(name, 0.0))
    return moved


def _figures(split: Statistics) -> dict[str, float]:
    medians = {
        f"{name}.p50": found["p50"] for name, found in split.get("characters", {}).items() if found
    }
    return {"num_examples": split["num_examples"], **medians}


def _shares(split: Statistics) -> dict[str, float]:
    golds = dict(split.get("gold", {}))
    total = golds.pop("total", 0)
    return {name: count / total for name, count in golds.items()} if total else {}


def _relative(value: float, before: float) -> float:
    if before == 0:
        return 0.0 if value == 0 else 1.0
    return abs(value - before) / abs(before)
