"""Writes what stands in for an artifact that no stage makes.

In: a `StandIn` config instead of the stage's own. Out: score.json (a published score, or null with
a reason), base_model.json (where an untrained model's weights are), or nothing.json. The stage's
checks pass, and say why. Cost: none; nothing is loaded.
Command: that of the stage that it stands in for; `activeuf_core.stage` turns here.
"""

from __future__ import annotations

from activeuf_core.artifacts import write_json
from activeuf_core.errors import ConfigError
from activeuf_core.evals.benchmarks import benchmark
from activeuf_core.paths import BASE_MODEL, NOTHING_MADE, SCORE
from activeuf_core.stage import StageContext
from activeuf_core.stages import stage_of
from activeuf_core.stand_ins import LEFT_OUT, NOTHING, PUBLISHED, UNTRAINED, StandIn


def run(context: StageContext) -> None:
    """Write the stand-in. Raises: ConfigError for a config that lacks what its kind needs."""
    config = context.config(StandIn)
    writers = {
        LEFT_OUT: _leave_out,
        PUBLISHED: _report,
        UNTRAINED: _refer_to_base,
        NOTHING: _say_nothing,
    }
    said = writers[config.stand_in](context, config)
    context.add_metadata(state=config.stand_in, said=said)
    for check in stage_of(context.asset).checks:
        context.check(check.name, True, f"{said} Nothing to check.", blocking=check.blocking)


def _leave_out(context: StageContext, config: StandIn) -> str:
    nothing = {"score": None, "stderr": None, "n": None, "reason": LEFT_OUT}
    write_json(context.output / SCORE, {"benchmark": config.benchmark, **nothing})
    return f"The experiment leaves {config.benchmark} out."


def _report(context: StageContext, config: StandIn) -> str:
    row = benchmark(config.benchmark or "")
    if config.score is None:
        raise ConfigError(
            f"{context.asset}[{context.partition}]: a published score has no number. Leave the "
            "benchmark out of `scores` where none was published."
        )
    record = {
        "benchmark": row.name,
        "title": row.title,
        "metric": row.metric,
        "score": config.score,
        "stderr": None,
        "n": None,
        "details": {
            "parts": {
                label: {"score": score, "stderr": None, "n": None}
                for label, score in config.parts.items()
            },
            PUBLISHED: config.source,
        },
        "data": None,
        "model_fingerprint": None,
    }
    write_json(context.output / SCORE, record)
    context.add_metadata(title=row.title, score=config.score, source=config.source)
    return f"Published, not computed here: {config.source}."


def _refer_to_base(context: StageContext, config: StandIn) -> str:
    if config.base_model is None:
        raise ConfigError(f"{context.asset}[{context.partition}]: an untrained model has no name.")
    record = {
        "name": config.base_model.name,
        "identity": config.base_model.identity,
        "location": context.locate(config.base_model),
        "seed": config.seed,
    }
    write_json(context.output / BASE_MODEL, record)
    context.add_metadata(base_model=config.base_model.name)
    head = "" if config.seed is None else f", with a new head drawn with seed {config.seed}"
    return f"The model {config.base_model.name} as it is{head}: nothing was trained."


def _say_nothing(context: StageContext, config: StandIn) -> str:
    said = "A baseline: nothing was labelled or trained."
    write_json(context.output / NOTHING_MADE, {"state": config.stand_in, "said": said})
    return said
