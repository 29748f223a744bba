"""Scores a reward model on pairs of completions: RewardBench, or rows in its format.

In: `reward_model`; rows {prompt, chosen, rejected, subset}, all texts. Out: score.json with
sections as parts and subsets among the details, predictions.jsonl with both rewards.
Source: RewardBench (Lambert et al. 2024); see `rewardbench_sections.py`. Cost: 2,985 pairs.
Heavy: imports torch and transformers, once the rows are known to be right.
Command: `python -m activeuf_core.evals --config … --run-dir …`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from activeuf_core import processes
from activeuf_core.errors import DataError
from activeuf_core.evals.benchmarks import benchmark
from activeuf_core.evals.config import ScoreConfig
from activeuf_core.evals.outcome import Outcome, Prediction, digest, mean_of_parts, publish
from activeuf_core.evals.rewardbench_sections import (
    SECTIONS,
    is_right,
    section_parts,
    subset_parts,
)
from activeuf_core.evals.rows import Row, load_rows
from activeuf_core.schemas import assistant_message, user_message
from activeuf_core.stage import StageContext

TASK_VERSION = "1.0"


def run(context: StageContext) -> None:
    """Score the reward model. Raises: DataError for wrong rows or a broken model."""
    config = context.config(ScoreConfig)
    row = benchmark(config.benchmark)
    rows = load_rows(row.name, context.locate(config.data), config.limit)
    from activeuf_core.evals.models import load_reward_model
    from activeuf_core.evals.rewardbench_rewards import rate, with_settings

    loaded = load_reward_model(context.input(row.model), config.dtype)
    sides = [(pair["prompt"], pair[side]) for pair in rows for side in ("chosen", "rejected")]
    conversations = [user_message(prompt) + assistant_message(text) for prompt, text in sides]
    rewards, num_tokens = rate(context, loaded, conversations, config)
    if not processes.current().is_first:
        return
    outcome = summarise(
        [
            _prediction(number, *found, config.max_tokens)
            for number, found in enumerate(
                zip(rows, rewards.reshape(-1, 2), num_tokens.reshape(-1, 2), strict=True)
            )
        ]
    )
    outcome = with_settings(outcome, config, loaded, TASK_VERSION)
    publish(context, row, config, len(rows), outcome)


def summarise(predictions: Sequence[Prediction]) -> Outcome:
    """Return the mean over sections; settings are left empty."""
    values = [prediction.correct or 0.0 for prediction in predictions]
    subsets = subset_parts([prediction.group for prediction in predictions], values)
    sections = section_parts(subsets)
    total = mean_of_parts(sections.values())
    if total.score is None:
        raise DataError(f"rewardbench: none of the {len(predictions)} rows has a score.")
    missing = [name for name in SECTIONS if name not in sections]
    details = {
        "subsets": {name: dataclasses.asdict(part) for name, part in subsets.items()},
        "missing_parts": missing if len(missing) < len(SECTIONS) else [],
        "equal_rewards": sum(prediction.is_empty for prediction in predictions),
    }
    return Outcome(total.score, total.stderr, sections, predictions, details, {}, {}, "")


def rejudged(
    record: Mapping[str, Any], predictions: Sequence[Prediction]
) -> tuple[Sequence[Prediction], Outcome]:
    """Compare the rewards of stored predictions again. Raises: DataError when they lack some."""
    again = []
    for prediction in predictions:
        try:
            [chosen], [rejected] = (
                prediction.extra[f"{s}_rewards"] for s in ("chosen", "rejected")
            )
        except (KeyError, ValueError) as error:
            raise DataError(
                f"{record['benchmark']}: prediction {prediction.id!r} lacks a reward per side "
                f"({error}). Score the model again."
            ) from error
        again.append(dataclasses.replace(prediction, correct=is_right(chosen, rejected)))
    return again, summarise(again)


def _prediction(
    number: int, row: Row, rewards: np.ndarray, num_tokens: np.ndarray, max_tokens: int
) -> Prediction:
    chosen, rejected = rewards.tolist()
    return Prediction(
        id=str(row.get("id", number)),
        prompt_sha256=digest(row["prompt"]),
        output=row["chosen"] if chosen > rejected else row["rejected"],
        correct=is_right(chosen, rejected),
        expected=row["chosen"],
        group=row["subset"],
        num_tokens=int(num_tokens.sum()),
        is_empty=chosen == rejected,  # the model made no difference
        is_truncated=bool((num_tokens > max_tokens).any()),
        extra={"chosen_rewards": [chosen], "rejected_rewards": [rejected]},
    )
