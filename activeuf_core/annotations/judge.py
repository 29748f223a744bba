"""The stage `annotations`: a judge rates the completions of one member of the model pool.

In: `prompts.parquet`, `completions.parquet`. Out: `annotations.parquet` (ANNOTATION), one row per
completion in their order; a histogram of overall scores. Judges: `verifiable`, `precomputed`,
`reward_model`, `llm` (`config.py`). A completion that could not be rated has a null as overall
score; one that a language model rated in some aspects only has their mean, and is counted. Of
several processes, all work with a model of their own; a judge without one, or behind a server,
needs only the first. Cost: verifiable and precomputed under a second for a thousand completions;
the models: see `reward_judge.py`, `llm_judge.py`.
Command: `python -m activeuf_core.annotations --config … --run-dir …`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import Any

from activeuf_core import paths, processes
from activeuf_core.annotations import cases as case_reader
from activeuf_core.annotations import raters, verifiable
from activeuf_core.annotations.cases import Case
from activeuf_core.annotations.config import (
    AnnotationsConfig,
    LlmJudge,
    PrecomputedJudge,
    RewardModelJudge,
)
from activeuf_core.annotations.llm_rater import identity_in_cache
from activeuf_core.annotations.scoring import (
    HIGHEST,
    LOWEST,
    Judgement,
    is_within,
    judgement,
    log_odds,
)
from activeuf_core.errors import ConfigError, DataError
from activeuf_core.figures import histogram
from activeuf_core.schemas import ANNOTATION, last_user_text, read_rows, to_text, write_rows
from activeuf_core.stage import StageContext

MAX_SHARE_MISSING = 0.01
"""`annotations_complete` fails above this."""


def run(context: StageContext) -> None:
    """Make the artifact `annotations` of one member."""
    config = context.config(AnnotationsConfig)
    is_first = processes.current().is_first
    if not (config.loads_model or is_first):
        return
    prompts = read_rows(context.input("prompts") / paths.PROMPTS)
    completions = read_rows(context.input("completions") / paths.COMPLETIONS)
    cases = case_reader.join(prompts, completions)
    judged = _judge(context, config, cases)
    if not is_first:
        return
    write_rows(context.output / paths.ANNOTATIONS, ANNOTATION, map(_row, cases, judged))
    if isinstance(config.judge, LlmJudge):
        size = len(config.judge.aspects)
        context.add_metadata(partly_rated=sum(0 < len(one.ratings) < size for one in judged))
    _report(context, cases, judged)
    _check(context, config, cases, judged)


def verify(case: Case) -> Judgement:
    """Rate by the prompt's constraints, else by its answer; without either, not at all."""
    constraints = case.constraints or _answer_constraints(case.answer)
    if not constraints:
        return Judgement()
    try:
        return judgement(verifiable.rate(constraints, case.completion))
    except ConfigError as error:
        raise DataError(f"prompt {case.prompt_id!r}: {error}") from error


def take_given(case: Case, config: PrecomputedJudge) -> Judgement:
    """Return the judgement that came with the data; no rating where there was none."""
    given = case.given_rating
    if given is None or given in config.missing_values:
        return Judgement()
    if not math.isfinite(given):
        raise DataError(
            f"prompt {case.prompt_id!r}, {case.model!r}: the given rating is {given}. Allowed: "
            "finite numbers, or none (null) where there is no rating."
        )
    try:
        score = log_odds(given, config.clip) if config.transform == "log_odds" else given
    except DataError as error:
        raise DataError(f"prompt {case.prompt_id!r}, {case.model!r}: {error}") from error
    return Judgement({"given": given}, score)


def _judge(
    context: StageContext, config: AnnotationsConfig, cases: Sequence[Case]
) -> list[Judgement]:
    judge = config.judge
    if isinstance(judge, RewardModelJudge):
        from activeuf_core.annotations import reward_judge

        return reward_judge.judge(context, judge, cases)
    if isinstance(judge, LlmJudge):
        return _ask_llm(context, judge, cases)
    if isinstance(judge, PrecomputedJudge):
        return [take_given(case, judge) for case in cases]
    return [verify(case) for case in cases]


def _ask_llm(context: StageContext, judge: LlmJudge, cases: Sequence[Case]) -> list[Judgement]:
    """Ask a language model what the cache does not know."""
    with raters.open_cache(context, identity_in_cache(judge)) as cache:
        if judge.server is not None:
            from activeuf_core.annotations import server_judge

            rater = raters.llm_rater(context, judge, cache)
            return server_judge.judge(context, rater, judge, cases)
        from activeuf_core.annotations import llm_judge

        return llm_judge.judge(context, judge, cases, cache)


def _answer_constraints(answer: str | None) -> list[dict[str, Any]]:
    """Return what a bare answer demands: its number, or else its words."""
    if not answer or not answer.strip():
        return []
    try:
        number = float(answer.replace(",", ""))
    except ValueError:
        number = math.nan
    if math.isfinite(number):  # "Nan" and "infinity" are words here
        return [{"kind": "numeric_answer", "value": number}]
    return [{"kind": "contains", "values": [answer.strip()]}]


def _row(case: Case, judged: Judgement) -> dict[str, Any]:
    return {
        "prompt_id": case.prompt_id,
        "model": case.model,
        "ratings": to_text(judged.ratings),
        "overall_score": judged.overall_score,
    }


def _report(context: StageContext, cases: Sequence[Case], judged: Sequence[Judgement]) -> None:
    scores = [found.overall_score for found in judged if found.overall_score is not None]
    if not scores:
        raise DataError(
            f"{cases[0].model if cases else context.partition}: none of the {len(cases)} "
            "completions could be rated. A verifiable judge needs prompts with constraints or "
            "answers, a precomputed one completions with a rating (rating_column), a model that "
            "gives its probability to digits."
        )
    by_aspect: defaultdict[str, list[float]] = defaultdict(list)
    for found in judged:
        for aspect, rating in found.ratings.items():
            by_aspect[aspect].append(rating)
    context.add_metadata(
        completions=len(cases),
        rated=len(scores),
        missing=len(cases) - len(scores),
        mean_score=round(fmean(scores), 4),
        deviation_of_scores=round(pstdev(scores), 4),
        **{
            f"mean_{aspect}": round(fmean(values), 4)
            for aspect, values in sorted(by_aspect.items())
        },
    )
    context.add_table(
        "preview",
        (
            {
                **_row(case, found),
                "prompt": last_user_text(case.prompt),
                "completion": case.completion,
            }
            for case, found in zip(cases, judged, strict=True)
        ),
    )
    plot = histogram(
        context.output / paths.SCORE_HISTOGRAM, scores, "Overall scores", "overall score"
    )
    context.add_plot("scores", plot)


def _scale(config: AnnotationsConfig) -> tuple[float, float] | None:
    """Return the ends of the judge's scale, None when any number will do."""
    judge = config.judge
    if isinstance(judge, RewardModelJudge):
        return None
    if isinstance(judge, PrecomputedJudge):
        return (0.0, 1.0) if judge.transform == "log_odds" else judge.scale
    return float(LOWEST), float(HIGHEST)


def _told(case: Case, judged: Judgement) -> str:
    return f"{dict(judged.ratings)} of {case.model!r} for prompt {case.prompt_id!r}"


def _check(
    context: StageContext,
    config: AnnotationsConfig,
    cases: Sequence[Case],
    judged: Sequence[Judgement],
) -> None:
    scores = [found.overall_score for found in judged if found.overall_score is not None]
    share = 1.0 - len(scores) / len(judged)
    context.check(
        "annotations_complete",
        share <= MAX_SHARE_MISSING,
        f"{len(judged) - len(scores)} of {len(judged)} completions could not be rated "
        f"({share:.1%}).",
        missing=len(judged) - len(scores),
        share_missing=share,
    )
    scale = _scale(config)
    wrong = [i for i, found in enumerate(judged) if scale and not is_within(found, scale)]
    named = f"{scale[0]:g} to {scale[1]:g}" if scale else "any number"
    context.check(
        "ratings_within_scale",
        not wrong,
        f"{len(wrong)} completions have a rating outside the judge's scale ({named})"
        + (f", first {_told(cases[wrong[0]], judged[wrong[0]])}." if wrong else "."),
        blocking=True,
        outside=len(wrong),
    )
    distinct = len(set(scores))
    context.check(
        "ratings_vary",
        distinct > 1,
        f"{len(scores)} overall scores take {distinct} different values.",
        distinct=distinct,
    )
