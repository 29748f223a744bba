"""How each benchmark's predictions are judged again, for `rescore`.

In: a score's record and its predictions. Out: the predictions with values computed anew, and their
score. Imports what a metric needs, and neither loads a model nor asks a judge.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from activeuf_core.errors import DataError
from activeuf_core.evals.metrics import QUESTION, Summary, judged, summarised
from activeuf_core.evals.outcome import Outcome, Part, Prediction, mean_of_parts, mean_part
from activeuf_core.evals.rewardbench_scores import (
    Rewards,
    best_of_n,
    group_ties,
    ties_row,
    ties_score,
    ties_stderr,
)
from activeuf_core.paths import LENGTH_CONTROL, PREDICTIONS

TIES = "Ties"
FOLDER = "folder"
"""Key of a record under which it says where it was read."""


def policy(
    record: Mapping[str, Any], predictions: Sequence[Prediction]
) -> tuple[Sequence[Prediction], Summary]:
    """Judge the outputs of a policy. Raises: DataError when predictions lack something."""
    name = record["benchmark"]
    if name == "ifeval":
        from activeuf_core.evals.instructions import require_checkable

        rows = [p.extra[QUESTION] for p in predictions if QUESTION in p.extra]
        require_checkable(rows, PREDICTIONS)
    again = [judged(name, prediction) for prediction in predictions]
    return again, summarised(name, again)


def rewardbench2(
    record: Mapping[str, Any], predictions: Sequence[Prediction]
) -> tuple[Sequence[Prediction], Summary]:
    """Compare rewards: best of n in most domains, the Ties formula in one."""
    rewards = [_rewards(prediction) for prediction in predictions]
    again = [
        dataclasses.replace(
            prediction,
            correct=float(ties_row(found).is_accurate)
            if prediction.group == TIES
            else best_of_n(found),
        )
        for prediction, found in zip(predictions, rewards, strict=True)
    ]
    domains = dict.fromkeys(prediction.group for prediction in predictions)
    parts = {
        domain: _domain(
            domain,
            [(p, r) for p, r in zip(again, rewards, strict=True) if p.group == domain],
        )
        for domain in domains
    }
    total = mean_of_parts(parts.values())
    if total.score is None:
        raise DataError(f"{record['benchmark']}: no domain has a score.")
    return again, Summary(total.score, total.stderr, parts)


def alpaca_eval(
    record: Mapping[str, Any], predictions: Sequence[Prediction]
) -> tuple[Sequence[Prediction], Outcome]:
    """Compute the win rates of the judge's preferences, which stay as they are.

    Raises: DataError when instructions' difficulties entered and are not in the artifact.
    """
    from activeuf_core.evals.alpaca import summarise
    from activeuf_core.evals.alpaca_difficulty import read_known

    if not record["settings"].get("length_control"):
        return predictions, summarise(predictions)
    path = Path(record[FOLDER]) / LENGTH_CONTROL
    if not path.is_file():
        raise DataError(
            f"{path} is missing: what was known of the instructions entered the score. It was "
            "written by an earlier version: score the policy again."
        )
    return predictions, summarise(predictions, read_known(path))


def _domain(domain: str, members: Sequence[tuple[Prediction, Rewards]]) -> Part:
    if domain != TIES:
        return mean_part([float(prediction.correct or 0.0) for prediction, _ in members])
    rows = [ties_row(rewards) for _, rewards in members]
    reference, tied = group_ties([prediction.id for prediction, _ in members], rows)
    return Part(ties_score(reference, tied), ties_stderr(reference, tied), len(members))


def _rewards(prediction: Prediction) -> Rewards:
    try:
        chosen, rejected = (prediction.extra[f"{side}_rewards"] for side in ("chosen", "rejected"))
    except KeyError as error:
        raise DataError(f"prediction {prediction.id!r} lacks {error}.") from error
    return Rewards(np.array(chosen, dtype=np.float64), np.array(rejected, dtype=np.float64))
