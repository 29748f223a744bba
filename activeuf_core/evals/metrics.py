"""From predictions to a score: what a policy's benchmark makes of them, now or years later.

A scoring and a recomputation (`rescore`) call the same functions, so they agree. No model is
needed: a prediction holds the output, the gold answer, and whatever else its metric reads.
In: predictions. Out: their values anew (`judged`), and the score with its parts (`summarised`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from activeuf_core.errors import DataError
from activeuf_core.evals import answers
from activeuf_core.evals.outcome import Part, Prediction, mean_of_parts, mean_part

INSTANCE_METRICS = ("inst_level_loose_acc", "inst_level_strict_acc")
IFEVAL_METRICS = ("prompt_level_loose_acc", "prompt_level_strict_acc", *INSTANCE_METRICS)
EXTRA_METRICS: Mapping[str, tuple[str, ...]] = {
    "minerva_math": ("exact_match_flex",),
    "ifeval": IFEVAL_METRICS[1:],
}
"""Metrics that are reported beside the score."""
QUESTION = "question"
"""Key of what IFEval's checkers need of a row, in a prediction's `extra`."""


@dataclass(frozen=True)
class Summary:
    """A score, its standard error, what lies behind it, and further figures."""

    score: float
    stderr: float | None
    parts: Mapping[str, Part]
    details: Mapping[str, Any] = field(default_factory=dict)


def judged(benchmark: str, prediction: Prediction) -> Prediction:
    """Return a prediction with its values computed anew from its output.

    Raises: DataError when it lacks what the metric reads: it is of an earlier version.
    """
    try:
        found = _JUDGES[benchmark](prediction)
    except KeyError as error:
        raise DataError(
            f"{benchmark}: prediction {prediction.id!r} lacks {error}, which the metric reads. It "
            "was written by an earlier version: score the model again."
        ) from error
    names = EXTRA_METRICS.get(benchmark, ())
    extra = {**prediction.extra, **{name: found[name] for name in names}}
    main = next(value for name, value in found.items() if name not in names)
    return dataclasses.replace(prediction, correct=float(main), extra=extra)


def summarised(benchmark: str, predictions: Sequence[Prediction]) -> Summary:
    """Return the score of predictions. Raises: DataError when there are none."""
    parts = _PARTS[benchmark](predictions)
    total = mean_part(_values(predictions))
    if benchmark == "minerva_math":
        total = mean_of_parts(parts.values())
    if total.score is None:
        raise DataError(f"{benchmark}: no sample was scored.")
    return Summary(total.score, total.stderr, parts, _extra_metrics(benchmark, predictions))


def _judge_gsm8k(prediction: Prediction) -> Mapping[str, Any]:
    return answers.score_gsm8k({"answer": prediction.expected}, [prediction.output])


def _judge_minerva_math(prediction: Prediction) -> Mapping[str, Any]:
    return answers.compare_math(prediction.output, prediction.expected)


def _judge_ifeval(prediction: Prediction) -> Mapping[str, Any]:
    found = answers.score_ifeval(prediction.extra[QUESTION], [prediction.output])
    return {name: found[name] for name in IFEVAL_METRICS}


def _judge_truthfulqa(prediction: Prediction) -> Mapping[str, Any]:
    row = {"mc2_targets": {"labels": prediction.extra["labels"]}}
    said = [(value, False) for value in prediction.extra["log_likelihoods"]]
    return answers.score_truthfulqa(row, said)


def _endings(predictions: Sequence[Prediction]) -> dict[str, Part]:
    """Return how the outputs ended."""
    outcomes = {
        "correct": _values(predictions),
        "wrong": [float(not p.correct and not p.is_truncated) for p in predictions],
        "wrong, cut at the limit": [float(not p.correct and p.is_truncated) for p in predictions],
    }
    return {label: mean_part(values) for label, values in outcomes.items()}


def _subjects(predictions: Sequence[Prediction]) -> dict[str, Part]:
    return _by_group(predictions, _values(predictions))


def _values(predictions: Sequence[Prediction]) -> list[float]:
    """Return the values of a policy's predictions: none is ever missing."""
    return [float(prediction.correct or 0.0) for prediction in predictions]


def _by_group(predictions: Sequence[Prediction], values: Sequence[float]) -> dict[str, Part]:
    grouped: dict[str, list[float]] = {}
    for prediction, value in zip(predictions, values, strict=True):
        grouped.setdefault(prediction.group, []).append(value)
    return {group: mean_part(grouped[group]) for group in sorted(grouped)}


def _ifeval_metrics(predictions: Sequence[Prediction]) -> dict[str, Part]:
    """Return the four metrics: of prompts, and of instructions over all prompts together."""
    values = {IFEVAL_METRICS[0]: _values(predictions)}
    for name in IFEVAL_METRICS[1:]:
        found = [prediction.extra[name] for prediction in predictions]
        flat = [v for value in found for v in value] if name in INSTANCE_METRICS else found
        values[name] = [float(value) for value in flat]
    return {name: mean_part(flat) for name, flat in values.items()}


def _choices(predictions: Sequence[Prediction]) -> dict[str, Part]:
    best = [float(prediction.extra["best_is_true"]) for prediction in predictions]
    return {"MC2": mean_part(_values(predictions)), "likeliest is true": mean_part(best)}


def _extra_metrics(benchmark: str, predictions: Sequence[Prediction]) -> dict[str, float | None]:
    if benchmark == "ifeval":
        parts = _ifeval_metrics(predictions)
        return {name: parts[name].score for name in EXTRA_METRICS[benchmark]}
    if benchmark == "minerva_math":  # averaged as the score is
        flexible = [float(p.extra["exact_match_flex"]) for p in predictions]
        subjects = _by_group(predictions, flexible)
        return {"exact_match_flex": mean_of_parts(subjects.values()).score}
    return {}


_JUDGES: Mapping[str, Callable[[Prediction], Mapping[str, Any]]] = {
    "gsm8k": _judge_gsm8k,
    "minerva_math": _judge_minerva_math,
    "ifeval": _judge_ifeval,
    "truthfulqa": _judge_truthfulqa,
}
_PARTS: Mapping[str, Callable[[Sequence[Prediction]], dict[str, Part]]] = {
    "gsm8k": _endings,
    "minerva_math": _subjects,
    "ifeval": _ifeval_metrics,
    "truthfulqa": _choices,
}
