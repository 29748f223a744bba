"""What a scoring ends with, and how it becomes an artifact.

In: an `Outcome`. Out: score.json, predictions.jsonl and a plot; metadata and checks. The checks are
the same four for every benchmark: score_in_range (blocking), score_covers_benchmark,
outputs_not_empty, outputs_not_truncated.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from activeuf_core.artifacts import write_json
from activeuf_core.evals.benchmarks import Benchmark
from activeuf_core.evals.config import ScoreConfig
from activeuf_core.figures import BLUE, GREY, draw
from activeuf_core.paths import PREDICTIONS, SCORE, SCORE_PLOT
from activeuf_core.stage import StageContext

RANGE_SLACK = 0.01
"""RewardBench 2's Ties score has a tie-breaking term of at most 0.01, so it can leave [0, 1] by
that much."""
TRUNCATED_SHARE = 0.1
"""From this share of cut outputs on, the length limit says more about the score than the model
does."""
PREVIEW_KEYS = ("id", "group", "correct", "expected", "output")


@dataclass(frozen=True)
class Prediction:
    """What the model did with one row.

    `correct` is the row's contribution to the score, in [0, 1]; None: it could not be found out,
    and counts neither way. `group` is its subject or domain; `extra` what a metric needs beyond the
    output (log-likelihoods, rewards).
    """

    id: str
    prompt_sha256: str
    output: str
    correct: float | None
    expected: str = ""
    group: str = ""
    num_tokens: int = 0
    is_empty: bool = False
    is_truncated: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """What lies behind a score: a subject, a domain, another metric; None when it has no rows."""

    score: float | None
    stderr: float | None
    n: int


@dataclass(frozen=True)
class Outcome:
    """The score of one model on one benchmark, with everything that explains it."""

    score: float
    stderr: float | None
    parts: Mapping[str, Part]
    predictions: Sequence[Prediction]
    details: Mapping[str, Any]
    settings: Mapping[str, Any]
    harness: Mapping[str, str]
    task_version: str

    @property
    def n(self) -> int:
        """Number of rows scored."""
        return sum(prediction.correct is not None for prediction in self.predictions)


def mean_part(contributions: Sequence[float | None]) -> Part:
    """Return mean, standard error of the mean (None below two values) and number; None is left
    out.
    """
    values = [value for value in contributions if value is not None]
    n = len(values)
    if n == 0:
        return Part(None, None, 0)
    mean = math.fsum(values) / n
    if n == 1:
        return Part(mean, None, 1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    return Part(mean, math.sqrt(variance / n), n)


def mean_of_parts(parts: Iterable[Part]) -> Part:
    """Return the plain mean of the parts that have a score; its error where each has one."""
    scored = [part for part in parts if part.score is not None]
    if not scored:
        return Part(None, None, 0)
    score = math.fsum(part.score for part in scored if part.score is not None) / len(scored)
    errors = [part.stderr for part in scored if part.stderr is not None]
    stderr = (
        math.sqrt(math.fsum(e * e for e in errors)) / len(scored)
        if len(errors) == len(scored)
        else None
    )
    return Part(score, stderr, sum(part.n for part in scored))


def digest(text: str) -> str:
    """Return the SHA-256 of a prompt as the model saw it."""
    return hashlib.sha256(text.encode()).hexdigest()


def publish(
    context: StageContext,
    benchmark: Benchmark,
    config: ScoreConfig,
    num_rows: int,
    outcome: Outcome,
) -> None:
    """Write the outcome and report it. Args: num_rows: rows that were to be scored."""
    title = benchmark.called(config.title, config.limit)
    write_json(context.output / SCORE, _record(context, benchmark, config, title, outcome))
    with (context.output / PREDICTIONS).open("w", encoding="utf-8") as handle:
        for prediction in outcome.predictions:
            handle.write(json.dumps(asdict(prediction), ensure_ascii=False) + "\n")
    context.add_metadata(title=title, score=outcome.score, n=outcome.n, metric=benchmark.metric)
    if outcome.stderr is not None:
        context.add_metadata(stderr=outcome.stderr)
    context.add_table("parts", _part_rows(outcome.parts))
    context.add_table(
        "predictions", ({k: asdict(p)[k] for k in PREVIEW_KEYS} for p in outcome.predictions)
    )
    plot_parts(context.output / SCORE_PLOT, f"{title}: {outcome.score:.3f}", outcome.parts)
    context.add_plot("plot", context.output / SCORE_PLOT)
    _report_checks(context, num_rows, outcome)


def _record(
    context: StageContext, benchmark: Benchmark, config: ScoreConfig, title: str, outcome: Outcome
) -> dict[str, Any]:
    fingerprints = list(context.unit.input_fingerprints.get(benchmark.model, {}).values())
    return {
        "benchmark": benchmark.name,
        "title": title,
        "metric": benchmark.metric,
        "score": outcome.score,
        "stderr": outcome.stderr,
        "n": outcome.n,
        "details": {"parts": {k: asdict(p) for k, p in outcome.parts.items()}, **outcome.details},
        "harness": dict(outcome.harness),
        "task_version": outcome.task_version,
        "settings": dict(outcome.settings),
        "data": {"name": config.data.name, "identity": config.data.identity},
        "model_fingerprint": fingerprints[0] if len(fingerprints) == 1 else None,
    }


def _report_checks(context: StageContext, num_rows: int, outcome: Outcome) -> None:
    in_range = math.isfinite(outcome.score) and -RANGE_SLACK <= outcome.score <= 1 + RANGE_SLACK
    empty = sum(prediction.is_empty for prediction in outcome.predictions)
    cut = sum(prediction.is_truncated for prediction in outcome.predictions)
    context.check(
        "score_in_range",
        in_range,
        f"The score {outcome.score:.4f} is a fraction.",
        blocking=True,
        score=outcome.score,
    )
    context.check(
        "score_covers_benchmark",
        outcome.n == num_rows,
        f"{outcome.n} of {num_rows} rows were scored.",
        scored=outcome.n,
        rows=num_rows,
    )
    outputs = len(outcome.predictions)
    context.check(
        "outputs_not_empty", empty == 0, f"{empty} of {outputs} outputs are empty.", empty=empty
    )
    share = cut / outputs
    context.check(
        "outputs_not_truncated",
        share <= TRUNCATED_SHARE,
        f"{cut} of {outputs} were cut at a length limit; up to {TRUNCATED_SHARE:.0%} is taken "
        "as usual.",
        truncated=cut,
        share=share,
    )


def _part_rows(parts: Mapping[str, Part]) -> list[dict[str, Any]]:
    return [{"part": label, **asdict(part)} for label, part in parts.items()]


def plot_parts(path: Path, title: str, parts: Mapping[str, Part]) -> None:
    """Draw one bar per part with its standard error; one without a score says so."""

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        labels = [f"{label} (n={part.n})" for label, part in parts.items()]
        scores = [part.score or 0.0 for part in parts.values()]
        errors = [part.stderr or 0.0 for part in parts.values()]
        axes.barh(labels, scores, xerr=errors, color=BLUE, ecolor=GREY, capsize=2, height=0.65)
        for row, part in enumerate(parts.values()):
            text = "no rows" if part.score is None else f"{part.score:.3f}"
            axes.text(
                1.02, row, text, va="center", fontsize=8, transform=axes.get_yaxis_transform()
            )
        axes.set_xlim(0, 1)
        axes.invert_yaxis()
        axes.tick_params(labelsize=8)
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)

    draw(path, paint, height=0.9 + 0.32 * len(parts))
