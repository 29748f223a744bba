"""Scores a reward model on RewardBench 2, or on rows in its format.

In: `reward_model` (a sequence-classification folder); rows {id, prompt, chosen, rejected, subset}.
Out: score.json, predictions.jsonl with every reward. Every completion is read once, by one of the
stage's processes (`rewardbench_rewards.py`).
Source: RewardBench 2 (Malik et al. 2025). Cost: 1,865 prompts, about 9,000 completions.
Heavy: imports torch and transformers, once the rows are known to be right.
Command: `python -m activeuf_core.evals --config … --run-dir …`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from activeuf_core import processes
from activeuf_core.errors import DataError
from activeuf_core.evals.benchmarks import benchmark
from activeuf_core.evals.config import ScoreConfig
from activeuf_core.evals.outcome import (
    Outcome,
    Part,
    Prediction,
    digest,
    mean_of_parts,
    mean_part,
    publish,
)
from activeuf_core.evals.rewardbench_scores import (
    Rewards,
    best_of_n,
    group_ties,
    ties_row,
    ties_score,
    ties_stderr,
)
from activeuf_core.evals.rows import DOMAINS, Row, load_rows
from activeuf_core.pretrained import Messages
from activeuf_core.schemas import assistant_message, user_message
from activeuf_core.stage import StageContext

log = logging.getLogger("activeuf")

TIES = "Ties"
TASK_VERSION = "1.0"


def run(context: StageContext) -> None:
    """Score the reward model. Raises: DataError for wrong rows or a broken model."""
    config = context.config(ScoreConfig)
    row = benchmark(config.benchmark)
    rows = load_rows(row.name, context.locate(config.data), config.limit)
    context.progress(0, len(rows), "prompts")
    from activeuf_core.evals.models import load_reward_model
    from activeuf_core.evals.rewardbench_rewards import rate, with_settings

    loaded = load_reward_model(context.input(row.model), config.dtype)
    conversations = [conversations_of(question) for question in rows]
    together = [conversation for of_row in conversations for conversation in of_row]
    rewards, num_tokens = rate(context, loaded, together, config)
    if not processes.current().is_first:
        return
    sizes = [len(of_row) for of_row in conversations]
    outcome = summarise(rows, _divide(rewards, sizes), _divide(num_tokens, sizes), config)
    outcome = with_settings(outcome, config, loaded, TASK_VERSION)
    publish(context, row, config, len(rows), outcome)


def summarise(
    rows: Sequence[Row],
    rewards: Sequence[np.ndarray],
    num_tokens: Sequence[np.ndarray],
    config: ScoreConfig,
) -> Outcome:
    """Turn rewards into domain scores and their plain mean; settings are left empty.

    Args: rewards, num_tokens: per row, for the chosen completions and then the rejected ones.
    """
    split = [_split(row, values) for row, values in zip(rows, rewards, strict=True)]
    parts = {domain: _domain(domain, rows, split) for domain in DOMAINS}
    total = mean_of_parts(parts.values())
    if total.score is None:
        raise DataError(
            "rewardbench2: no domain has a score; a Ties score needs a question's ref and tied row."
        )
    missing = [domain for domain, part in parts.items() if part.score is None]
    if missing:
        log.warning("no score for %s: the mean is over the other domains", ", ".join(missing))
    predictions = [
        _prediction(row, values, lengths, config.max_tokens)
        for row, values, lengths in zip(rows, split, num_tokens, strict=True)
    ]
    details = {"missing_parts": missing, "completions": int(sum(map(len, rewards)))}
    return Outcome(total.score, total.stderr, parts, predictions, details, {}, {}, "")


def _domain(domain: str, rows: Sequence[Row], rewards: Sequence[Rewards]) -> Part:
    """Return the score of one domain; no score when the file has no rows of it."""
    members = [
        (row, value) for row, value in zip(rows, rewards, strict=True) if row["subset"] == domain
    ]
    if domain != TIES:
        return mean_part([best_of_n(value) for _, value in members])
    reference, tied = group_ties(
        [row["id"] for row, _ in members], [ties_row(value) for _, value in members]
    )
    return Part(ties_score(reference, tied), ties_stderr(reference, tied), len(members))


def _prediction(row: Row, rewards: Rewards, lengths: np.ndarray, max_tokens: int) -> Prediction:
    both = [*row["chosen"], *row["rejected"]]
    values = np.concatenate([rewards.chosen, rewards.rejected])
    is_tied = row["subset"] == TIES
    return Prediction(
        id=row["id"],
        prompt_sha256=digest(row["prompt"]),
        output=both[int(values.argmax())],
        correct=float(ties_row(rewards).is_accurate) if is_tied else best_of_n(rewards),
        expected=row["chosen"][0],
        group=row["subset"],
        num_tokens=int(lengths.sum()),
        is_empty=bool((values == values[0]).all()),  # the model made no difference at all
        is_truncated=bool((lengths > max_tokens).any()),
        extra={
            "chosen_rewards": rewards.chosen.tolist(),
            "rejected_rewards": rewards.rejected.tolist(),
        },
    )


def conversations_of(row: Row) -> list[Messages]:
    """Return the row's prompt with each of its completions, the chosen ones first."""
    prompt = user_message(row["prompt"])
    return [prompt + assistant_message(text) for text in [*row["chosen"], *row["rejected"]]]


def _split(row: Row, values: np.ndarray) -> Rewards:
    return Rewards(values[: len(row["chosen"])], values[len(row["chosen"]) :])


def _divide(values: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    return np.split(values, np.cumsum(sizes)[:-1])
